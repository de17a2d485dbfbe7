//! From what the TOML parser and serde say to a message with position, key path, expected, found.

use std::ops::Range;

use toml::de::DeValue;

use super::{
    Node,
    buffered::{Verdict, way_on},
    nearest,
};

/// Where the document's parts came from. Spans past the end of the text stand for overrides.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) overrides: &'a [String],
}

/// One value of the document with its key path, with and without list indices.
struct Place<'t, 'a> {
    path: Vec<String>,
    keys: String,
    key_span: Range<usize>,
    parent_span: Range<usize>,
    node: &'t Node<'a>,
}

impl Source<'_> {
    pub(super) fn override_span(&self, idx: usize) -> Range<usize> {
        let start = self.text.len() + 1 + idx;
        start..start
    }

    fn position(&self, span: &Range<usize>) -> String {
        match span.start.checked_sub(self.text.len() + 1) {
            Some(idx) if idx < self.overrides.len() => {
                format!("override `{}`", self.overrides[idx])
            }
            _ => {
                let end = span.start.min(self.text.len());
                let newlines = self.text.as_bytes()[..end].iter().filter(|&&b| b == b'\n').count();
                format!("line {}", newlines + 1)
            }
        }
    }

    pub(super) fn explain_syntax(&self, error: &toml::de::Error) -> String {
        let span = error.span().unwrap_or(0..0);
        format!("{}: not TOML: {}", self.position(&span), error.message())
    }

    /// Turns serde's message into one with the position, the key path, expected and found. `verdict` is what serde
    /// says of a changed document.
    pub(super) fn explain<'a>(
        &self,
        root: &Node<'a>,
        error: &toml::de::Error,
        verdict: Verdict<'_, 'a>,
    ) -> String {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let keys = keys_of(error);
        let mut places = Vec::new();
        collect(root, &[], String::new(), root.span(), root.span(), &mut places);
        if let Some(name) = quoted_after(message, "unknown field ") {
            let around = around(&places, &keys, &span);
            let way = way_on(root, &around.path, message, verdict);
            let way = [&around.path[..], &way].concat();
            return self.explain_unknown_key(&places, &way, name, &keys, &span, message);
        }
        let place = around(&places, &keys, &span);
        let way = way_on(root, &place.path, message, verdict);
        let whole = [&place.path[..], &way].concat();
        let inner = places.iter().filter(|_| !way.is_empty()).find(|place| place.path == whole);
        let (place, span) = inner.map_or((place, span), |inner| (inner, inner.node.span()));
        self.explain_value(place, &span, message)
    }

    /// What is wrong with a value, or missing in it.
    fn explain_value(&self, place: &Place<'_, '_>, span: &Range<usize>, message: &str) -> String {
        let position = self.position(span);
        let path = place.path.join(".");
        if let Some(name) = quoted_after(message, "missing field ") {
            return match path.as_str() {
                "" => format!("missing key `{name}`"),
                _ => format!("{position}: missing key `{}`", join(&path, name)),
            };
        }
        if let Some(name) = quoted_after(message, "unknown variant ") {
            let known = expected_names(message);
            return format!("{position}: `{path}` is `{name}`, {}", advice(name, &known, "value"));
        }
        let expected = match (message, message.split_once(", expected ")) {
            ("wanted string or table", _) => Some("a string".to_owned()),
            (_, Some((start, expected))) if start.starts_with("invalid ") => {
                Some(expected_kind(expected))
            }
            _ => None,
        };
        match expected {
            Some(expected) => {
                let found = found(place.node.get_ref());
                format!("{position}: `{path}` is {found}, expected {expected}")
            }
            None if path.is_empty() => message.to_owned(),
            None => format!("{position}: `{path}`: {message}"),
        }
    }

    /// `around` leads to the table in which the key is, as far as can be told.
    fn explain_unknown_key(
        &self,
        places: &[Place<'_, '_>],
        around: &[String],
        name: &str,
        keys: &str,
        span: &Range<usize>,
        message: &str,
    ) -> String {
        let keys = join(keys, name);
        let place = places
            .iter()
            .find(|place| place.keys == keys && place.key_span == *span)
            .or_else(|| places.iter().find(|p| p.keys == keys && p.parent_span == *span))
            // A table whose kind a key of it tells keeps no spans; the name alone finds the key.
            .or_else(|| places.iter().find(|p| p.keys == keys && p.path.starts_with(around)))
            .or_else(|| places.iter().find(|place| place.keys == keys));
        let (position, path) = match place {
            Some(place) => (self.position(&place.key_span), place.path.join(".")),
            None => (self.position(span), keys),
        };
        let known = expected_names(message);
        format!("{position}: unknown key `{path}`, {}", advice(name, &known, "key"))
    }
}

/// The place that serde named.
fn around<'p, 't, 'a>(
    places: &'p [Place<'t, 'a>],
    keys: &str,
    span: &Range<usize>,
) -> &'p Place<'t, 'a> {
    places
        .iter()
        .find(|place| place.node.span() == *span && place.keys == keys)
        .or_else(|| places.iter().find(|place| place.keys == keys))
        .unwrap_or(&places[0])
}

/// Lists the document's values, parents before children.
fn collect<'t, 'a>(
    node: &'t Node<'a>,
    path: &[String],
    keys: String,
    key_span: Range<usize>,
    parent_span: Range<usize>,
    places: &mut Vec<Place<'t, 'a>>,
) {
    let (of_place, of_inner) =
        (path.to_vec(), |segment: &str| [path, &[segment.to_owned()]].concat());
    places.push(Place { path: of_place, keys: keys.clone(), key_span, parent_span, node });
    match node.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table.iter() {
                let name = key.get_ref();
                let keys = join(&keys, name);
                collect(value, &of_inner(name), keys, key.span(), node.span(), places);
            }
        }
        DeValue::Array(array) => {
            for (idx, value) in array.iter().enumerate() {
                let path = of_inner(&idx.to_string());
                collect(value, &path, keys.clone(), value.span(), node.span(), places);
            }
        }
        _ => {}
    }
}

/// The key path that the deserializer kept (list indices are not in it); only its text shows it.
fn keys_of(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let keys = text.trim_end().rsplit_once("\nin `").map(|(_, keys)| keys.trim_end_matches('`'));
    keys.unwrap_or_default().to_owned()
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn quoted_after<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(start)?.strip_prefix('`')?;
    let end = rest.find("`, expected ").or_else(|| rest.find("`, there are ")).or(rest.rfind('`'));
    end.map(|end| &rest[..end])
}

/// The names between backticks in the last "expected .." of a serde message.
fn expected_names(message: &str) -> Vec<&str> {
    let list = message.rsplit_once("`, expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

fn advice(name: &str, known: &[&str], noun: &str) -> String {
    match nearest(name, known.iter().copied()) {
        None if known.is_empty() => format!("no {noun} is known here"),
        None => format!("known: `{}`", known.join("`, `")),
        Some(near) => {
            format!("nearest known {noun} is `{near}` (known: `{}`)", known.join("`, `"))
        }
    }
}

pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string `{text}`"),
        DeValue::Integer(number) => format!("the whole number `{number}`"),
        DeValue::Float(number) => format!("the number `{number}`"),
        DeValue::Boolean(flag) => format!("`{flag}`"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Says in a reader's words what serde names by Rust's types.
fn expected_kind(expected: &str) -> String {
    match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "string or map" => "a string".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}
