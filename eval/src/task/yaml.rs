//! Task files as PyYAML reads them: YAML 1.1 scalars, `include`, and `!function` kept as a mark.
//!
//! A `!function` is refused later, by the definition that uses it, so that a file whose hook another
//! file overrides still runs.

use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Event, MarkedEventReceiver, Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use crate::{Error, Result};

/// Key of the object that stands for a `!function`; its value is the hook's name.
pub const HOOK: &str = "!function";

/// Reads a file and everything it includes; its own keys win.
///
/// # Errors
/// A file that is missing or malformed, or that includes itself.
pub fn load(path: &Path, read: &dyn Fn(&Path) -> Result<String>) -> Result<Map<String, Value>> {
    load_once(path, read, &mut Vec::new())
}

fn load_once(
    path: &Path,
    read: &dyn Fn(&Path) -> Result<String>,
    seen: &mut Vec<PathBuf>,
) -> Result<Map<String, Value>> {
    if seen.iter().any(|seen| seen == path) {
        return Err(malformed(path, "the file includes itself"));
    }
    seen.push(path.to_owned());
    let Value::Object(mut own) =
        parse(&read(path)?).map_err(|problem| malformed(path, &problem))?
    else {
        return Err(malformed(path, "expected a mapping of keys"));
    };
    let includes = match own.shift_remove("include") {
        None => return Ok(own),
        Some(Value::Array(several)) => several,
        Some(one) => vec![one],
    };
    let mut merged = Map::new();
    for include in includes {
        let Value::String(include) = include else {
            return Err(malformed(path, "`include` names a file or a list of files"));
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut included = load_once(&folder.join(include), read, seen)?;
        included.shift_remove("task_list");
        merged.extend(included);
    }
    merged.extend(own);
    Ok(merged)
}

fn malformed(path: &Path, problem: &str) -> Error {
    let problem = problem.to_owned();
    neo_data::Error::Malformed { path: path.to_owned(), problem }.into()
}

/// Parses one document.
///
/// # Errors
/// Where and why it is no YAML.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    parser.load(&mut builder, false).map_err(|problem| problem.to_string())?;
    match builder.problem {
        Some(problem) => Err(problem),
        None => Ok(builder.root.unwrap_or(Value::Null)),
    }
}

/// What is being built around the next event.
enum Open {
    List(Vec<Value>, usize),
    Map(Map<String, Value>, Option<String>, usize),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: std::collections::HashMap<usize, Value>,
    root: Option<Value>,
    problem: Option<String>,
}

impl MarkedEventReceiver for Builder {
    fn on_event(&mut self, event: Event, mark: Marker) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_ref());
                self.finish(value, anchor, mark);
            }
            Event::SequenceStart(anchor, _) => self.open.push(Open::List(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => self.open.push(Open::Map(Map::new(), None, anchor)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, anchor)) => self.finish(Value::Array(items), anchor, mark),
                Some(Open::Map(map, _, anchor)) => self.finish(Value::Object(map), anchor, mark),
                None => {}
            },
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or(Value::Null);
                self.finish(value, 0, mark);
            }
            _ => {}
        }
    }
}

impl Builder {
    fn finish(&mut self, value: Value, anchor: usize, mark: Marker) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Map(map, key, _)) => match key.take() {
                None => *key = Some(crate::python::value::str(&value)),
                Some(name) if name == "<<" => merge(map, value),
                Some(name) => {
                    if map.insert(name.clone(), value).is_some() && self.problem.is_none() {
                        let line = mark.line();
                        self.problem = Some(format!("line {line}: the key `{name}` stands twice"));
                    }
                }
            },
        }
    }
}

/// `<<: *anchor`: keys that are not there yet.
fn merge(map: &mut Map<String, Value>, from: Value) {
    match from {
        Value::Object(entries) => {
            for (key, value) in entries {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(several) => several.into_iter().for_each(|one| merge(map, one)),
        _ => {}
    }
}

fn scalar(text: String, style: TScalarStyle, tag: Option<&Tag>) -> Value {
    match tag {
        Some(tag) if tag.suffix == "function" => {
            Value::Object(Map::from_iter([(HOOK.to_owned(), Value::String(text))]))
        }
        Some(tag) if tag.suffix == "str" => Value::String(text),
        _ if style == TScalarStyle::Plain => plain(text),
        _ => Value::String(text),
    }
}

/// The value of a plain scalar by YAML 1.1's patterns, as in PyYAML's resolver.
fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Value::String(text);
    }
    number(&text).unwrap_or(Value::String(text))
}

fn number(text: &str) -> Option<Value> {
    let matches =
        |pattern: &str| Regex::new(pattern).is_ok_and(|r| r.is_match(text).unwrap_or(false));
    let digits = text.replace('_', "");
    let (sign, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = |digits: &str, radix| {
        i64::from_str_radix(digits, radix).ok().map(|n| Value::from(sign * n))
    };
    if matches("^[-+]?(0|[1-9][0-9_]*)$") {
        return magnitude.parse::<i64>().ok().map(|n| Value::from(sign * n));
    }
    if matches("^[-+]?0[0-7_]+$") {
        return radix(magnitude, 8);
    }
    if let (true, Some(digits)) = (matches("^[-+]?0x[0-9a-fA-F_]+$"), magnitude.strip_prefix("0x"))
    {
        return radix(digits, 16);
    }
    let float = r"^[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$";
    if matches(float) {
        return digits.parse().ok().and_then(Number::from_f64).map(Value::Number);
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What PyYAML 6.0.3 gives.
    #[test]
    fn scalars_are_read_as_yaml_1_1() {
        let check =
            |text: &str, expected: Value| assert_eq!(parse(text).unwrap(), expected, "{text}");
        check("[yes, No, 'yes', on]", json!([true, false, "yes", true]));
        check("[1, 1.0, 1e3, 0x10, 010, -5, ~, ]", json!([1, 1.0, "1e3", 16, 8, -5, null]));
        check("a: |\n  x\n   y\nb: >-\n  p\n  q\n", json!({"a": "x\n y\n", "b": "p q"}));
        check("a: \"\\n\\n\"\nb: '\\n'", json!({"a": "\n\n", "b": "\\n"}));
        check("a: !function utils.f", json!({"a": {"!function": "utils.f"}}));
        check("x: &a {k: 1}\ny: {<<: *a, z: 2}", json!({"x": {"k": 1}, "y": {"k": 1, "z": 2}}));
        assert!(parse("a: [1").is_err());
        assert!(parse("a: 1\na: 2").unwrap_err().contains("stands twice"));
    }

    #[test]
    fn own_keys_win_over_included_ones() {
        let read = |path: &Path| -> Result<String> {
            Ok(match path.to_str().unwrap() {
                "tasks/a.yaml" => "include: [b.yaml]\nx: 1".into(),
                "tasks/b.yaml" => "x: 2\ny: 3\ntask_list: [q]".into(),
                "tasks/loop.yaml" => "include: loop.yaml".into(),
                other => panic!("{other}"),
            })
        };
        let loaded = load(Path::new("tasks/a.yaml"), &read).unwrap();
        assert_eq!(Value::Object(loaded), json!({"x": 1, "y": 3}));
        assert!(load(Path::new("tasks/loop.yaml"), &read).is_err());
    }
}
