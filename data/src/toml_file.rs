//! Strict TOML: recipes of every kind are read here, so that all of them explain themselves alike.
//!
//! A key that nobody knows, a wrong type or a missing key is an error that names the file, the
//! line, the whole key path and what was expected. Command-line overrides (`--set a.b=v`) are laid
//! over the file before its types are checked, so they pass the same checks. What the values mean
//! is left to the owner of the type. The messages are made in `toml_file/explain.rs`;
//! `toml_file/buffered.rs` finds what serde loses the place of.

mod buffered;
mod explain;

use std::{borrow::Cow, ops::Range, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, ValueDeserializer},
};

use self::explain::{Source, found, join};
use crate::{Error, Result};

/// Reads a TOML file into its type and into the table that the type was made from.
///
/// `overrides` are `key.sub=value` texts, applied in order. The value is read as TOML and, failing
/// that, as a string; a number in the key counts list entries from 0 (`phase.0.steps=5`).
///
/// # Errors
/// The file cannot be read, is not UTF-8 or not TOML; an override has no `=` or leads through a
/// plain value; the content does not fit `T`, whose tables should carry
/// `#[serde(deny_unknown_fields)]`.
pub fn read<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<(T, toml::Table)> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let text = String::from_utf8(bytes).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        problem: format!("expected UTF-8 text, {}", error.utf8_error()),
    })?;
    parse(path, &text, overrides)
}

/// Does what [`read`] does with a text that is already in memory; `path` is for the messages.
///
/// # Errors
/// As [`read`], save for those of the file system.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    overrides: &[String],
) -> Result<(T, toml::Table)> {
    let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
    let source = Source { text, overrides };
    let document =
        DeTable::parse(text).map_err(|error| malformed(source.explain_syntax(&error)))?;
    let mut root = Spanned::new(document.span(), DeValue::Table(document.into_inner()));
    for (idx, item) in overrides.iter().enumerate() {
        apply(&mut root, item, source.override_span(idx))
            .map_err(|problem| malformed(format!("override `{item}`: {problem}")))?;
    }
    let explained = |error| malformed(source.explain(&root, &error, &|node| complaint::<T>(node)));
    let value = T::deserialize(ValueDeserializer::from(root.clone())).map_err(explained)?;
    let table =
        toml::Table::deserialize(ValueDeserializer::from(root.clone())).map_err(explained)?;
    Ok((value, table))
}

/// What serde says of a document that does not fit a type.
fn complaint<T: DeserializeOwned>(node: &Node<'_>) -> Option<String> {
    let error = T::deserialize(ValueDeserializer::from(node.clone())).err()?;
    Some(error.message().to_owned())
}

/// Writes a value as TOML, for the resolved copy of a recipe that a run keeps.
///
/// # Errors
/// The value has no TOML form, such as a whole number beyond 63 bits.
pub fn to_string<T: Serialize>(value: &T) -> Result<String> {
    toml::to_string(value).map_err(|error| {
        Error::Setting(format!("cannot write as TOML: {}", error.to_string().trim()))
    })
}

/// The known name that is the fewest edits away from `name`; `None` when none is half like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let edits = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let found = known.into_iter().min_by_key(|candidate| edits(candidate))?;
    let length = name.chars().count().max(found.chars().count());
    (2 * edits(found) <= length).then_some(found)
}

type Node<'a> = Spanned<DeValue<'a>>;

/// Lays one `key=value` over the document; what it brings carries `span`.
fn apply<'a>(
    root: &mut Node<'a>,
    item: &'a str,
    span: Range<usize>,
) -> std::result::Result<(), String> {
    let (key, value) = item.split_once('=').ok_or("expected the form `key=value`")?;
    let mut slot = root;
    let mut walked = String::new();
    for segment in key_segments(key)? {
        slot = match slot.get_mut() {
            DeValue::Table(table) => table
                .entry(Spanned::new(span.clone(), Cow::Owned(segment.clone())))
                .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new()))),
            DeValue::Array(array) => entry_of(array, &segment, &walked)?,
            other => return Err(format!("`{walked}` is {}, not a table", found(other))),
        };
        walked = join(&walked, &segment);
    }
    let value = match DeValue::parse(value.trim()) {
        Ok(parsed) => parsed.into_inner(),
        Err(_) => DeValue::String(Cow::Borrowed(value.trim())),
    };
    *slot = with_span(value, &span);
    Ok(())
}

/// Splits `a."b c".0` into its segments by the TOML grammar.
fn key_segments(key: &str) -> std::result::Result<Vec<String>, String> {
    let document = format!("{key} = 0");
    let parsed = DeTable::parse(&document)
        .map_err(|_| format!("`{key}` is not a key such as `optimizer.beta1`"))?;
    let mut segments = Vec::new();
    let mut table = parsed.get_ref();
    while let Some((name, value)) = table.iter().next() {
        segments.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    Ok(segments)
}

fn entry_of<'t, 'a>(
    array: &'t mut DeArray<'a>,
    segment: &str,
    walked: &str,
) -> std::result::Result<&'t mut Node<'a>, String> {
    let n_entries = array.len();
    let idx: usize = segment.parse().map_err(|_| {
        format!("`{walked}` is a list, expected an index such as `{walked}.0`, found `{segment}`")
    })?;
    array.get_mut(idx).ok_or_else(|| {
        format!("`{walked}` has {n_entries} entries counted from 0, index {idx} is out of range")
    })
}

/// Gives a value and everything in it one span.
fn with_span<'a>(value: DeValue<'a>, span: &Range<usize>) -> Node<'a> {
    let value = match value {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, inner)| {
                    (
                        Spanned::new(span.clone(), key.into_inner()),
                        with_span(inner.into_inner(), span),
                    )
                })
                .collect(),
        ),
        DeValue::Array(array) => {
            let mut marked = DeArray::new();
            for inner in array {
                marked.push(with_span(inner.into_inner(), span));
            }
            DeValue::Array(marked)
        }
        plain => plain,
    };
    Spanned::new(span.clone(), value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Toy {
        name: String,
        mode: Mode,
        optimizer: Optimizer,
        phase: Vec<Phase>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Row,
        Document,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Optimizer {
        beta1: f64,
        weight_decay: f64,
        nesterov: bool,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Phase {
        steps: u64,
        batch: u16,
        mixture: BTreeMap<String, f64>,
        schedule: Schedule,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
    enum Schedule {
        Constant { lr: f64 },
        Cosine { peak_lr: f64 },
    }

    const TOY: &str = r#"name = "toy"
mode = "row"
[optimizer]
beta1 = 0.9
weight_decay = 0.1
nesterov = false
[[phase]]
steps = 3
batch = 4
mixture = { en = 1.0, zh = 2 }
schedule = { kind = "constant", lr = 1e-3 }
[[phase]]
steps = 5
batch = 4
[phase.mixture]
en = 0.5
[phase.schedule]
kind = "cosine"
peak_lr = 1e-3
"#;

    fn parse_with(text: &str, overrides: &[&str]) -> Result<(Toy, toml::Table)> {
        let overrides: Vec<String> = overrides.iter().map(|&item| item.to_owned()).collect();
        parse(Path::new("toy.toml"), text, &overrides)
    }

    /// The message after one line of the file is replaced by another.
    fn check_line(line: &str, replacement: &str, expected: &str) {
        assert!(TOY.contains(line), "{line}");
        let error = parse_with(&TOY.replacen(line, replacement, 1), &[]).expect_err(replacement);
        assert_eq!(error.to_string(), format!("`toy.toml`: {expected}"));
        assert!(error.is_input());
    }

    fn check_override(item: &str, expected: &str) {
        let error = parse_with(TOY, &[item]).expect_err(item);
        assert_eq!(error.to_string(), format!("`toy.toml`: override `{item}`: {expected}"));
    }

    #[test]
    fn reads_and_writes_back_the_same() {
        let (toy, table) = parse_with(TOY, &[]).unwrap();
        assert_eq!(toy.phase[1].steps, 5);
        assert_eq!(toy.phase[0].mixture["zh"], 2.0);
        assert_eq!(table["phase"][1]["mixture"]["en"].as_float(), Some(0.5));
        let written = to_string(&toy).unwrap();
        assert_eq!(parse_with(&written, &[]).unwrap().0, toy);
    }

    #[test]
    fn an_unknown_key_names_line_path_and_nearest() {
        check_line(
            "beta1 = 0.9",
            "beta1 = 0.9\nweigth_decay = 1",
            "line 5: unknown key `optimizer.weigth_decay`, nearest known key is `weight_decay` \
             (known: `beta1`, `weight_decay`, `nesterov`)",
        );
        check_line(
            "steps = 5",
            "setps = 5",
            "line 13: unknown key `phase.1.setps`, nearest known key is `steps` \
             (known: `steps`, `batch`, `mixture`, `schedule`)",
        );
        check_line(
            "[optimizer]",
            "[optimiser]",
            "line 3: unknown key `optimiser`, nearest known key is `optimizer` \
             (known: `name`, `mode`, `optimizer`, `phase`)",
        );
        check_line(
            "peak_lr = 1e-3",
            "peek_lr = 1e-3",
            "line 19: unknown key `phase.1.schedule.peek_lr`, nearest known key is `peak_lr` \
             (known: `peak_lr`)",
        );
    }

    #[test]
    fn a_wrong_type_names_line_path_expected_and_found() {
        check_line(
            "beta1 = 0.9",
            "beta1 = \"high\"",
            "line 4: `optimizer.beta1` is the string `high`, expected a number",
        );
        check_line(
            "steps = 5",
            "steps = 5.5",
            "line 13: `phase.1.steps` is the number `5.5`, expected a whole number, 0 or more",
        );
        check_line(
            "steps = 3",
            "steps = -3",
            "line 8: `phase.0.steps` is the whole number `-3`, expected a whole number, 0 or more",
        );
        check_line(
            "batch = 4",
            "batch = 65536",
            "line 9: `phase.0.batch` is the whole number `65536`, \
             expected a whole number from 0 to 65535",
        );
        check_line(
            "nesterov = false",
            "nesterov = 0",
            "line 6: `optimizer.nesterov` is the whole number `0`, expected `true` or `false`",
        );
        check_line(
            "mixture = { en = 1.0, zh = 2 }",
            "mixture = [1]",
            "line 10: `phase.0.mixture` is a list, expected a table",
        );
        check_line(
            "mixture = { en = 1.0, zh = 2 }",
            "mixture = { en = 1.0, zh = true }",
            "line 10: `phase.0.mixture.zh` is `true`, expected a number",
        );
        check_line(
            "mode = \"row\"",
            "mode = 3",
            "line 2: `mode` is the whole number `3`, expected a string",
        );
    }

    #[test]
    fn a_wrong_word_names_the_nearest() {
        check_line(
            "mode = \"row\"",
            "mode = \"documents\"",
            "line 2: `mode` is `documents`, nearest known value is `document` \
             (known: `row`, `document`)",
        );
        check_line(
            "kind = \"cosine\"",
            "kind = \"cosinus\"",
            "line 18: `phase.1.schedule.kind` is `cosinus`, nearest known value is `cosine` \
             (known: `constant`, `cosine`)",
        );
    }

    #[test]
    fn a_missing_key_names_its_path() {
        check_line("name = \"toy\"", "", "missing key `name`");
        check_line("beta1 = 0.9", "", "line 3: missing key `optimizer.beta1`");
        check_line("steps = 5", "", "line 12: missing key `phase.1.steps`");
    }

    #[test]
    fn what_is_not_toml_names_the_line() {
        let error = parse_with("name = \"toy\"\nmode = \n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("`toy.toml`: line 2: not TOML: "), "{error}");
        let error = parse_with("name = 1\nname = 2\n", &[]).unwrap_err().to_string();
        assert!(error.starts_with("`toy.toml`: line 2: not TOML: duplicate key"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent.toml");
        let error = read::<Toy>(&path, &[]).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("absent.toml"), "{error}");
        let path = folder.path().join("latin.toml");
        std::fs::write(&path, b"name = \"\xe9\"").unwrap();
        let error = read::<Toy>(&path, &[]).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("expected UTF-8 text"), "{error}");
        let path = folder.path().join("good.toml");
        std::fs::write(&path, TOY).unwrap();
        assert_eq!(read::<Toy>(&path, &[]).unwrap().0, parse_with(TOY, &[]).unwrap().0);
    }

    #[test]
    fn overrides_replace_and_add() {
        let items = [
            "name=out/toy",
            "mode = \"document\"",
            "phase.1.steps=7",
            "phase.0.mixture.\"a.b\"=3",
            "phase.1.mixture={ zh = 2.5 }",
            "optimizer.beta1=0.5",
            "optimizer.beta1=0.25",
        ];
        let (toy, table) = parse_with(TOY, &items).unwrap();
        assert_eq!((toy.name.as_str(), toy.mode), ("out/toy", Mode::Document));
        assert_eq!((toy.phase[1].steps, toy.optimizer.beta1), (7, 0.25));
        assert_eq!(toy.phase[0].mixture["a.b"], 3.0);
        assert_eq!(toy.phase[1].mixture, BTreeMap::from([("zh".to_owned(), 2.5)]));
        assert_eq!(table["phase"][1]["steps"].as_integer(), Some(7));
    }

    #[test]
    fn overrides_explain_themselves() {
        check_override("name", "expected the form `key=value`");
        check_override("a..b=1", "`a..b` is not a key such as `optimizer.beta1`");
        check_override("name.first=1", "`name` is the string `toy`, not a table");
        check_override(
            "phase.2.steps=1",
            "`phase` has 2 entries counted from 0, index 2 is out of range",
        );
        check_override(
            "phase.steps=1",
            "`phase` is a list, expected an index such as `phase.0`, found `steps`",
        );
        check_override(
            "optimizer.beat1=1",
            "unknown key `optimizer.beat1`, nearest known key is `beta1` \
             (known: `beta1`, `weight_decay`, `nesterov`)",
        );
        check_override(
            "optimiser.beta1=1",
            "unknown key `optimiser`, nearest known key is `optimizer` \
             (known: `name`, `mode`, `optimizer`, `phase`)",
        );
        check_override(
            "phase.1.steps=many",
            "`phase.1.steps` is the string `many`, expected a whole number, 0 or more",
        );
    }
}
