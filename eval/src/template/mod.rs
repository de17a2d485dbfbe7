//! Jinja templates that print what Jinja2 prints under lm-evaluation-harness.
//!
//! Its environment is Jinja2's default with strict undefined values, the last newline kept, and one
//! filter more, `regex_replace`. The engine here is minijinja; this module adds Python's way of
//! printing values and the methods of Python's strings and lists (`methods.rs`). Chat templates have
//! another environment, that of `transformers` (`chat/`).

pub mod chat;
mod json;
mod methods;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior, Value};

use crate::python::{regex::Pattern, value};

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    env: Environment<'static>,
    source: String,
}

/// Name of the one template of an environment.
const NAME: &str = "template";

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it, in the engine's words.
    pub fn new(source: &str) -> Result<Self, String> {
        let mut env = environment();
        env.add_template_owned(NAME, source.to_owned())
            .map_err(|error| format!("template `{source}` cannot be read: {}", message(&error)))?;
        Ok(Self { env, source: source.to_owned() })
    }

    /// The text as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders with the fields of `document`.
    ///
    /// # Errors
    /// A field that the document lacks, by its name, or what else the engine could not do.
    pub fn render(&self, document: &Value) -> Result<String, String> {
        let template = self.env.get_template(NAME).expect("added when compiled");
        template.render(document).map_err(|error| match error.kind() {
            ErrorKind::UndefinedError => self.unknown_field(document, &error),
            _ => format!("template `{}` cannot be rendered: {}", self.source, message(&error)),
        })
    }

    fn unknown_field(&self, document: &Value, error: &minijinja::Error) -> String {
        let template = self.env.get_template(NAME).expect("added when compiled");
        let has = |name: &str| document.get_attr(name).is_ok_and(|found| !found.is_undefined());
        let names = template.undeclared_variables(false);
        let mut missing: Vec<&String> = names.iter().filter(|name| !has(name)).collect();
        missing.sort();
        let Some(first) = missing.first() else {
            return format!("template `{}` cannot be rendered: {}", self.source, message(error));
        };
        let fields: Vec<String> = match document.try_iter() {
            Ok(keys) => keys.map(|key| format!("`{key}`")).collect(),
            Err(_) => Vec::new(),
        };
        let fields = fields.join(", ");
        format!("template `{}` names the field `{first}`; documents have {fields}", self.source)
    }
}

/// The engine's message with its detail, without the template's invented name.
fn message(error: &minijinja::Error) -> String {
    match (error.detail(), error.line()) {
        (Some(detail), Some(line)) if line > 1 => {
            format!("{}: {detail} (line {line})", error.kind())
        }
        (Some(detail), _) => format!("{}: {detail}", error.kind()),
        (None, _) => error.kind().to_string(),
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.expect("the usual delimiters"));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(print);
    env.set_unknown_method_callback(methods::call);
    env.add_filter("regex_replace", regex_replace);
    env.add_filter("string", |value: &Value| printed(value));
    env.add_filter("join", join);
    env.add_filter("count", |value: &Value| value.len());
    env.add_filter("wordcount", |text: &str| neo_data::python::split_words(text).count());
    env
}

/// `str(value)` of Python.
fn printed(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_value(value).map_or_else(|_| value.to_string(), |v| value::str(&v)),
    }
}

fn print(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    Ok(out.write_str(&printed(value))?)
}

fn join(items: &Value, separator: Option<&str>) -> Result<String, minijinja::Error> {
    let items: Vec<String> = items.try_iter()?.map(|item| printed(&item)).collect();
    Ok(items.join(separator.unwrap_or_default()))
}

fn regex_replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    count: Option<usize>,
) -> Result<String, minijinja::Error> {
    Pattern::new(pattern)
        .and_then(|pattern| pattern.replace(text, replacement, count.unwrap_or(0)))
        .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use serde_json::json;

    use super::*;

    fn render(source: &str, document: serde_json::Value) -> Result<String, String> {
        Template::new(source).and_then(|t| t.render(&Value::from(Serde(document))))
    }

    #[test]
    fn templates_print_what_jinja2_prints() {
        let check = |source: &str, expected: &str| {
            let document = json!({
                "q": " What? \n", "n": 3, "f": 2.0, "yes": true, "none": null,
                "choices": ["a", "b's"], "d": {"text": ["x", "y"], "label": ["A", "B"]}, "key": "B",
            });
            assert_eq!(render(source, document).unwrap(), expected, "{source}");
        };
        check("{{q.strip()}}\nA. {{choices[0]}}\n", "What?\nA. a\n");
        check("{{n}} {{f}} {{yes}} {{none}} {{choices}}", "3 2.0 True None ['a', \"b's\"]");
        check("{{d.text}} {{d.label.index(key)}}", "['x', 'y'] 1");
        check("{% if yes %}  y{% endif %}\n", "  y\n");
        check("a\n{%- if yes -%} y {%- endif %}\n b", "ay\n b");
        check("{{q | trim}}|{{ q|regex_replace('[?]\\s*', '!') }}", "What?| What!");
        check("{{ 'ABCD'[n] }}{{ 'ABCD'[-1] }}{{ 'ABCD'[:2] }}", "DDAB");
        check("{{ q.split()[0].upper() }} {{ key in d.label }}", "WHAT? True");
        check("{{ choices|join(', ') }} {{ choices|length }}", "a, b's 2");
        check("{% for c in choices %}{{loop.index}}{{c}} {% endfor %}", "1a 2b's ");
        check("{{ {'a': 1}['a'] }} {{ (1, 2)[1] }} {{ n // 2 }} {{ n / 2 }}", "1 2 1 1.5");
        check("{{ 'x' if n > 2 else 'y' }}{# note #}", "x");
        check("{{ q.replace('What', 'Who').lstrip() }}", "Who? \n");
        check("{% set a = ['p', 'q'] %}{{ a[n - 2] }}", "q");
        check("{{ q.removeprefix(' ').rstrip().endswith('?') }}", "True");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let problem = render("{{queston}}", json!({"question": 1, "answer": 2})).unwrap_err();
        let expected =
            "template `{{queston}}` names the field `queston`; documents have `question`, `answer`";
        assert_eq!(problem, expected);
        assert!(render("{{a", json!({})).unwrap_err().contains("cannot be read"));
    }
}
