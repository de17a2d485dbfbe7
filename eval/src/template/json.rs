//! `json.dumps` of CPython, which is what chat templates mean by `tojson`.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

use crate::python::value::float_repr;

/// `value | tojson(ensure_ascii=.., indent=.., separators=.., sort_keys=..)`.
pub(super) fn filter(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<(String, String)> = match options.get::<Option<Value>>("separators")? {
        Some(pair) => Some((text(&pair, 0)?, text(&pair, 1)?)),
        None => None,
    };
    let usual = || (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned());
    let (between, behind_key) = separators.unwrap_or_else(usual);
    let style = Style {
        indent,
        between,
        behind_key,
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(out)
}

fn text(pair: &Value, idx: usize) -> Result<String, Error> {
    let item = pair.get_item(&Value::from(idx))?;
    let wrong = || Error::new(ErrorKind::InvalidOperation, "`separators` must be two texts");
    item.as_str().map(str::to_owned).ok_or_else(wrong)
}

/// How a value is laid out.
struct Style {
    indent: Option<usize>,
    between: String,
    behind_key: String,
    ensure_ascii: bool,
    sort_keys: bool,
}

impl Style {
    fn write(&self, value: &Json, depth: usize, out: &mut String) {
        match value {
            Json::Number(number) if number.is_f64() => {
                out.push_str(&float_repr(number.as_f64().unwrap_or(f64::NAN)));
            }
            Json::String(text) => self.write_text(text, out),
            Json::Array(items) => {
                let each = items.iter().map(|item| (None, item)).collect();
                self.write_all(['[', ']'], each, depth, out);
            }
            Json::Object(entries) => {
                let mut each: Vec<(Option<&str>, &Json)> =
                    entries.iter().map(|(key, item)| (Some(key.as_str()), item)).collect();
                if self.sort_keys {
                    each.sort_by_key(|(key, _)| *key);
                }
                self.write_all(['{', '}'], each, depth, out);
            }
            plain => out.push_str(&plain.to_string()),
        }
    }

    fn write_all(
        &self,
        [open, close]: [char; 2],
        items: Vec<(Option<&str>, &Json)>,
        depth: usize,
        out: &mut String,
    ) {
        out.push(open);
        for (i, (key, item)) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.between);
            }
            self.begin_line(depth + 1, out);
            if let Some(key) = key {
                self.write_text(key, out);
                out.push_str(&self.behind_key);
            }
            self.write(item, depth + 1, out);
        }
        if !items.is_empty() {
            self.begin_line(depth, out);
        }
        out.push(close);
    }

    fn begin_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_text(&self, text: &str, out: &mut String) {
        let quoted = Json::String(text.to_owned()).to_string();
        if !self.ensure_ascii {
            out.push_str(&quoted);
            return;
        }
        for unit in quoted.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
                _ => out.push_str(&format!("\\u{unit:04x}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use minijinja::Environment;

    use super::*;

    #[test]
    fn values_are_dumped_as_cpython_dumps_them() {
        let mut env = Environment::new();
        env.add_filter("tojson", filter);
        let check = |source: &str, expected: &str| {
            let x = serde_json::json!({"b": [1, 2.0, "é\"<"], "a": {}, "n": null});
            let context = minijinja::context! { x => minijinja::value::Serde(x) };
            assert_eq!(env.render_str(source, context).unwrap(), expected, "{source}");
        };
        check("{{ x | tojson }}", r#"{"b": [1, 2.0, "é\"<"], "a": {}, "n": null}"#);
        check(
            "{{ x | tojson(sort_keys=true, separators=(',', ':')) }}",
            r#"{"a":{},"b":[1,2.0,"é\"<"],"n":null}"#,
        );
        check("{{ x.b | tojson(indent=2) }}", "[\n  1,\n  2.0,\n  \"é\\\"<\"\n]");
        check("{{ 'é😀' | tojson(ensure_ascii=true) }}", "\"\\u00e9\\ud83d\\ude00\"");
        assert!(env.render_str("{{ 1 | tojson(what=1) }}", ()).is_err());
    }
}
