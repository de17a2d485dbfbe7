//! Chat templates: a conversation as the text that a model was trained to read.
//!
//! The template lies in the tokenizer's folder (`folder.rs`), and `transformers` says what it may
//! use: Jinja2 with trimmed blocks, loop controls, `tojson`, `raise_exception`, `strftime_now`, the
//! named special tokens, and the tags `generation` and `endgeneration`, which print their body.

mod folder;

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json, json};

use super::{json as json_filter, message, methods, printed};
use crate::python::rstrip;
use crate::{Error, Result};
use neo_data::python::strip;

/// Name of the template that is taken unless another is asked for.
pub const DEFAULT: &str = "default";
/// What marks the end of a message that is to be continued; its space tells whether the template
/// trims messages.
const CONTINUE_TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";
/// Name of the one template of an environment.
const NAME: &str = "chat_template";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever sets the rules.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// How the text of a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Where an answer of the model begins.
    Answer,
    /// Inside the last message, which the model goes on with.
    Continued,
}

/// A compiled chat template with the special tokens of its folder.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    folder: PathBuf,
    source: String,
    specials: Map<String, Json>,
}

impl ChatTemplate {
    /// Reads the template of this name from a tokenizer's folder.
    ///
    /// # Errors
    /// A folder without that template, a file that cannot be read, or a template that cannot.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let (source, specials) = folder::read(folder, name)?;
        Self::new(folder, source, specials)
    }

    fn new(folder: &Path, source: String, specials: Map<String, Json>) -> Result<Self> {
        let mut env = environment();
        env.add_template_owned(NAME, without_generation_tags(&source)).map_err(|error| {
            Error::Chat { folder: folder.into(), problem: message(&error), hint: None }
        })?;
        Ok(Self { env, folder: folder.to_owned(), source, specials })
    }

    /// The template as it stands in its file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation. A template that refuses a system message gets the conversation
    /// without it, as in lm-evaluation-harness.
    ///
    /// # Errors
    /// What the template refuses or cannot do.
    pub fn render(&self, messages: &[Message], ending: Ending) -> Result<String> {
        let failed = match self.render_once(messages, ending) {
            Ok(text) => return Ok(text),
            Err(problem) => problem,
        };
        let others: Vec<Message> =
            messages.iter().filter(|m| m.role != Role::System).cloned().collect();
        if others.len() < messages.len()
            && let Ok(text) = self.render_once(&others, ending)
        {
            tracing::warn!(problem = failed, "the chat template gets no system message");
            return Ok(text);
        }
        Err(Error::Chat { folder: self.folder.clone(), problem: failed, hint: None })
    }

    fn render_once(&self, messages: &[Message], ending: Ending) -> Result<String, String> {
        let tag = if ending == Ending::Continued { CONTINUE_TAG } else { "" };
        let last = messages.len().saturating_sub(1);
        let dictionary = |(i, message): (usize, &Message)| {
            let tag = if i == last { tag } else { "" };
            json!({"role": message.role.name(), "content": format!("{}{tag}", message.content)})
        };
        let mut context = self.specials.clone();
        context.insert("messages".into(), messages.iter().enumerate().map(dictionary).collect());
        context.insert("tools".into(), Json::Null);
        context.insert("documents".into(), Json::Null);
        context.insert("add_generation_prompt".into(), json!(ending == Ending::Answer));
        let template = self.env.get_template(NAME).expect("added when compiled");
        let text = template.render(Serde(context)).map_err(|error| message(&error))?;
        match (ending, messages.last()) {
            (Ending::Continued, Some(last)) => cut_at_tag(&text, &last.content),
            _ => Ok(text),
        }
    }
}

/// The text up to the end of the message that is continued.
fn cut_at_tag(text: &str, last: &str) -> Result<String, String> {
    let bare = CONTINUE_TAG.trim_end();
    let found = text.rfind(bare).filter(|_| text.contains(strip(last)));
    let at = found.ok_or("it leaves out the message that is to be continued")?;
    let is_trimmed = !text[at..].starts_with(CONTINUE_TAG);
    Ok(if is_trimmed { rstrip(&text[..at]) } else { &text[..at] }.to_owned())
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.expect("the usual delimiters"));
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(|out, _, value: &Value| match value.is_undefined() {
        true => Ok(()),
        false => Ok(out.write_str(&printed(value))?),
    });
    env.set_unknown_method_callback(methods::call);
    env.add_filter("tojson", json_filter::filter);
    env.add_filter("string", |value: &Value| printed(value));
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", strftime_now);
    env
}

fn raise_exception(problem: &str) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, problem.to_owned()))
}

/// The date in Python's notation. A prompt with it is another one tomorrow; that is the template's
/// will.
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    use std::fmt::Write as _;
    let mut text = String::new();
    // An unknown directive is an error of `fmt`, and `to_string` would panic.
    write!(text, "{}", chrono::Local::now().format(format)).map_err(|_| {
        let problem = format!("strftime_now cannot read the format `{format}`");
        minijinja::Error::new(ErrorKind::InvalidOperation, problem)
    })?;
    Ok(text)
}

/// The template with `generation` blocks, which only mark what a model said, as blocks that print.
fn without_generation_tags(source: &str) -> String {
    let tag = |pattern: &str| fancy_regex::Regex::new(pattern).expect("a valid pattern");
    let opened =
        tag(r"\{%([-+]?)\s*generation\s*([-+]?)%\}").replace_all(source, "{%$1 if true $2%}");
    let closed = tag(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}");
    closed.replace_all(&opened, "{%$1 endif $2%}").into_owned()
}

#[cfg(test)]
mod tests {
    use super::folder::{CONFIG_FILE, TEMPLATE_FILE};
    use super::*;

    fn talk() -> Vec<Message> {
        [(Role::System, "be brief"), (Role::User, " hi "), (Role::Assistant, "yes ")]
            .map(|(role, content)| Message { role, content: content.into() })
            .to_vec()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        folder
    }

    fn check(source: &str, ending: Ending, expected: &str) {
        let config = json!({"chat_template": source, "bos_token": {"content": "<s>"}}).to_string();
        let folder = folder(&[(CONFIG_FILE, &config)]);
        let template = ChatTemplate::read(folder.path(), DEFAULT).unwrap();
        assert_eq!(template.render(&talk(), ending).unwrap(), expected, "{source}");
    }

    #[test]
    fn templates_see_what_transformers_gives_them() {
        let loop_of = |body: &str| {
            format!("{{{{ bos_token }}}}{{% for m in messages %}}\n  {body}\n{{% endfor %}}\n")
        };
        let chatml = loop_of("{{ '[' + m['role'] + ']' + m.content | trim }}");
        check(&chatml, Ending::Answer, "<s>  [system]be brief\n  [user]hi\n  [assistant]yes\n");
        check(
            "{% for m in messages %}{% if loop.index0 == 1 %}{% continue %}{% endif %}{{ m.role }};{% endfor %}\
             {% if add_generation_prompt %}A{% endif %}{% if tools %}T{% endif %}{{ nothing }}",
            Ending::Answer,
            "system;assistant;A",
        );
        check(
            "{{ messages[1] | tojson }}",
            Ending::Answer,
            r#"{"role": "user", "content": " hi "}"#,
        );
        check(
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}\
             {%- generation -%} x {%- endgeneration -%}{% endfor %}{{ ns.n }}",
            Ending::Answer,
            "xxx3",
        );
        check("{{ strftime_now('%Y') | length }}", Ending::Answer, "4");
    }

    #[test]
    fn the_last_message_is_continued_where_it_ends() {
        let body =
            |content: &str| format!("{{% for m in messages %}}<{{{{ {content} }}}}>{{% endfor %}}");
        check(&body("m.content"), Ending::Continued, "<be brief>< hi ><yes ");
        check(&body("m.content | trim"), Ending::Continued, "<be brief><hi><yes");
    }

    #[test]
    fn a_system_message_that_is_refused_is_left_out() {
        check(
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}\
             {% endif %}{{ m.content }}{% endfor %}",
            Ending::Answer,
            " hi yes ",
        );
    }

    #[test]
    fn templates_are_found_by_name() {
        let named = r#"{"chat_template": [{"name": "default", "template": "D"}, {"name": "other", "template": "O"}]}"#;
        let of_config = folder(&[(CONFIG_FILE, named)]);
        let read = |folder: &tempfile::TempDir, name| ChatTemplate::read(folder.path(), name);
        assert_eq!(read(&of_config, "other").unwrap().source(), "O");
        let problem = read(&of_config, "third").unwrap_err();
        assert_eq!(problem.hint().unwrap(), "the folder has `default`, `other`");
        assert!(problem.is_input());
        let of_files = folder(&[
            (CONFIG_FILE, named),
            (TEMPLATE_FILE, "F"),
            ("additional_chat_templates/tool.jinja", "T"),
        ]);
        assert_eq!(read(&of_files, DEFAULT).unwrap().source(), "F");
        assert_eq!(read(&of_files, "tool").unwrap().source(), "T");
        let problem = read(&folder(&[]), DEFAULT).unwrap_err().to_string();
        assert!(problem.contains("the folder has none"), "{problem}");
        let broken = read(&folder(&[(TEMPLATE_FILE, "{% if %}")]), DEFAULT).unwrap_err();
        assert!(broken.is_input() && broken.to_string().contains("syntax error"), "{broken}");
        let refusing = read(&folder(&[(TEMPLATE_FILE, "{{ raise_exception('never') }}")]), DEFAULT);
        let problem = refusing.unwrap().render(&talk(), Ending::Answer).unwrap_err().to_string();
        assert!(problem.contains("never"), "{problem}");
    }
}
