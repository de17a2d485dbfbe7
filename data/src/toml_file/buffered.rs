//! Where an error lies in a table whose kind a key of it tells.
//!
//! serde reads such a table into a buffer before its kind is known, and what it says of the buffer has no place: only
//! the list or the table around is named. So the place is found by trying: lists are shortened, values are changed,
//! and what serde then says of the document shows whether the error was there.

use toml::de::{DeArray, DeTable, DeValue};

use super::Node;

/// What serde says of a document; `None` when it fits.
pub(super) type Verdict<'t, 'a> = &'t dyn Fn(&Node<'a>) -> Option<String>;

/// The keys and indices that lead on from `path` to the value of which `message` was said.
pub(super) fn way_on<'a>(
    root: &Node<'a>,
    path: &[String],
    message: &str,
    verdict: Verdict<'_, 'a>,
) -> Vec<String> {
    let mut whole = path.to_vec();
    while let Some(segment) = next_segment(root, &whole, message, verdict) {
        whole.push(segment);
    }
    whole.split_off(path.len())
}

fn next_segment<'a>(
    root: &Node<'a>,
    path: &[String],
    message: &str,
    verdict: Verdict<'_, 'a>,
) -> Option<String> {
    let says = |change: &dyn Fn(&mut Node<'a>)| {
        let mut changed = root.clone();
        change(at(&mut changed, path)?);
        verdict(&changed)
    };
    match at(&mut root.clone(), path)?.get_ref() {
        DeValue::Array(list) => {
            let says_so = |n| says(&|list| shorten(list, n)).as_deref() == Some(message);
            // What is said of the empty list is said of the list itself.
            let is_in_it = !says_so(0);
            (0..list.len()).find(|&n| is_in_it && says_so(n + 1)).map(|n| n.to_string())
        }
        DeValue::Table(table) => {
            let is_there = |key: &&String| {
                let changed = says(&|table| change(table, key, message));
                changed
                    .is_some_and(|changed| changed != message && frame(&changed) == frame(message))
            };
            let told: Vec<String> = (table.iter())
                .filter(|(_, value)| may_be_told(message, value.get_ref()))
                .map(|(key, _)| key.get_ref().to_string())
                .collect();
            told.iter().find(is_there).cloned()
        }
        _ => None,
    }
}

/// What a message says but for the value: `invalid type` or `unknown variant`, and what is expected.
fn frame(message: &str) -> (Vec<&str>, Option<&str>) {
    let words = message.split([' ', ':']).take(2).collect();
    (words, message.split_once(", expected ").map(|(_, expected)| expected))
}

/// Whether a message can be of a value, or of one in it.
fn may_be_told(message: &str, value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => {
            message.contains(&format!("{text:?}")) || message.contains(&format!("`{text}`"))
        }
        DeValue::Integer(_) => message.contains("integer `"),
        DeValue::Float(_) => message.contains("floating point `"),
        DeValue::Boolean(_) => message.contains("boolean `"),
        DeValue::Datetime(_) => false,
        DeValue::Array(_) | DeValue::Table(_) => true,
    }
}

/// The value that keys and indices lead to.
fn at<'n, 'a>(root: &'n mut Node<'a>, path: &[String]) -> Option<&'n mut Node<'a>> {
    path.iter().try_fold(root, |node, segment| match node.get_mut() {
        DeValue::Table(table) => table.get_mut(segment.as_str()),
        DeValue::Array(list) => list.get_mut(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

fn shorten(list: &mut Node<'_>, length: usize) {
    if let DeValue::Array(list) = list.get_mut() {
        *list = list.iter().take(length).cloned().collect::<DeArray<'_>>();
    }
}

/// Gives the value under a key another content of the same kind; a list or table of which the message speaks gives way
/// to a flag.
fn change(table: &mut Node<'_>, key: &str, message: &str) {
    let DeValue::Table(table) = table.get_mut() else { return };
    let Some(value) = table.get_mut(key) else { return };
    let is_told = match value.get_ref() {
        DeValue::Array(_) => message.starts_with("invalid type: sequence"),
        DeValue::Table(_) => message.starts_with("invalid type: map"),
        _ => false,
    };
    match is_told {
        true => *value.get_mut() = DeValue::Boolean(true),
        false => alter(value),
    }
}

fn alter(node: &mut Node<'_>) {
    match node.get_mut() {
        DeValue::String(text) => text.to_mut().push('~'),
        DeValue::Boolean(flag) => *flag = !*flag,
        DeValue::Array(list) => list.iter_mut().for_each(alter),
        DeValue::Table(table) => alter_all(table),
        DeValue::Integer(number) if number.as_str().starts_with('-') => {
            replace(node, "-98765432109")
        }
        DeValue::Integer(_) => replace(node, "98765432109"),
        DeValue::Float(_) => replace(node, "98765.4321"),
        DeValue::Datetime(_) => {}
    }
}

fn replace(node: &mut Node<'_>, number: &'static str) {
    if let Ok(number) = DeValue::parse(number) {
        *node.get_mut() = number.into_inner();
    }
}

fn alter_all(table: &mut DeTable<'_>) {
    for (_, value) in table.iter_mut() {
        alter(value);
    }
}
