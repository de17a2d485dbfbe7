//! Methods of Python's strings and lists in templates, beyond those that minijinja's own
//! compatibility module has, and with Python's notion of white space.

use minijinja::value::{Rest, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use neo_data::python::{split_words, strip};

use crate::python::is_space;

/// Calls `value.method(args)`.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match (value.as_str(), value.kind()) {
        (Some(text), _) => string_method(text, method, args)?,
        (None, ValueKind::Seq) if method == "index" => Some(index(value, args)?),
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, method, args),
    }
}

/// `list.index(item)`.
fn index(list: &Value, args: &[Value]) -> Result<Value, Error> {
    let (wanted,): (&Value,) = from_args(args)?;
    let found = list.try_iter()?.position(|item| item == *wanted);
    let missing =
        || Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in the list"));
    found.map(Value::from).ok_or_else(missing)
}

/// The methods that differ from the compatibility module's or are not there.
fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let result = match (method, args) {
        ("strip", []) => Value::from(strip(text)),
        ("lstrip", []) => Value::from(text.trim_start_matches(is_space)),
        ("rstrip", []) => Value::from(text.trim_end_matches(is_space)),
        ("split", []) => split_words(text).map(Value::from).collect(),
        ("index", args) => find(text, args)?,
        ("removeprefix", args) => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        ("removesuffix", args) => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        ("partition" | "rpartition", args) => partition(text, args, method == "rpartition")?,
        ("rsplit", args) => rsplit(text, args)?,
        ("zfill", args) => {
            let (width,): (usize,) = from_args(args)?;
            Value::from(format!("{text:0>width$}"))
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// `str.index(part)`, in characters.
fn find(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (part,): (&str,) = from_args(args)?;
    let at = text.find(part).map(|at| text[..at].chars().count());
    at.map(Value::from)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))
}

fn partition(text: &str, args: &[Value], last: bool) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    let cut = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match (cut, last) {
        (Some((before, after)), _) => [before, separator, after],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// `str.rsplit(separator, most)`.
fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, Rest(most)): (&str, Rest<usize>) = from_args(args)?;
    let n = most.first().map_or(usize::MAX, |most| most.saturating_add(1));
    let mut parts: Vec<&str> = text.rsplitn(n, separator).collect();
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}
