//! The English Matrix rules against what the original Python printed (`golden/matrix/README.md`).

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neo_data::filter::{Mode, RuleSet, RuleSource, Verdict};
use neo_data::write::Value;
use neo_data::{Document, Language};
use serde::Deserialize;

/// The folder that `NEO_GOLDEN` names, or its default place; none when neither is there.
fn golden() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NEO_GOLDEN") {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "`NEO_GOLDEN` is set to `{}`, which is no folder", named.display());
        return Some(named.join("matrix"));
    }
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden");
    if !default.is_dir() {
        println!("skipped: no folder `{}`; `NEO_GOLDEN` can name another", default.display());
        return None;
    }
    Some(default.join("matrix"))
}

#[derive(Deserialize)]
struct Record {
    id: String,
    text: String,
    keep: bool,
    rule: Option<String>,
    /// A number, or the word of E24.
    value: serde_json::Value,
    values: BTreeMap<String, f64>,
}

fn records(golden: &Path) -> Vec<Record> {
    let path = golden.join("en_verdicts.jsonl.zst");
    let bytes = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let records: Vec<Record> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!records.is_empty(), "no record in `{}`", path.display());
    records
}

fn document(text: &str) -> Document {
    Document {
        id: String::new(),
        text: text.to_owned(),
        source: String::new(),
        url: None,
        language: Language::En,
        meta: serde_json::Map::new(),
        origin: None,
    }
}

/// How far a value may be off: nothing, save for entropies and fastText's single precision.
fn tolerance(rule: &str) -> f64 {
    match rule {
        "E25" => 1e-9,
        "E9" => 1e-5,
        _ => 0.0,
    }
}

fn is_close(rule: &str, found: f64, expected: f64) -> bool {
    (found - expected).abs() <= tolerance(rule)
}

/// What is wrong about the verdict.
fn verdict_difference(record: &Record, verdict: &Verdict) -> Option<String> {
    let is_equal = match verdict {
        Verdict::Keep => record.keep,
        Verdict::Rewrite(_) => false,
        Verdict::Drop { rule, value, .. } => {
            !record.keep
                && record.rule.as_deref() == Some(rule)
                && match value {
                    Value::Number(value) => record
                        .value
                        .as_f64()
                        .is_some_and(|expected| is_close(rule, *value, expected)),
                    Value::Text(word) => record.value.as_str() == Some(word),
                }
        }
    };
    let expected = (record.keep, &record.rule, &record.value);
    (!is_equal).then(|| format!("{}: {verdict:?}, expected {expected:?}", record.id))
}

/// What is wrong about the values of all rules.
fn value_differences(record: &Record, found: &[(&'static str, Value)]) -> Vec<String> {
    let of_rule = |rule: &str| found.iter().find(|(name, _)| *name == rule).map(|(_, value)| value);
    let is_equal = |rule: &str, expected| match of_rule(rule) {
        Some(Value::Number(value)) => is_close(rule, *value, expected),
        _ => false,
    };
    let unequal = record.values.iter().filter(|&(rule, &expected)| !is_equal(rule, expected));
    unequal
        .map(|(rule, expected)| {
            format!("{}: {rule} is {:?}, expected {expected:?}", record.id, of_rule(rule))
        })
        .collect()
}

#[test]
fn conformance_verdicts_and_values_equal_the_original() {
    let Some(golden) = golden() else { return };
    let assets = golden.join("data");
    let source =
        RuleSource { name: "matrix-en", mode: Some(Mode::Faithful), assets: Some(&assets) };
    let rules = RuleSet::read(source).unwrap();
    let records = records(&golden);
    let (mut differences, mut n_values) = (Vec::new(), 0);
    for record in &records {
        let document = document(&record.text);
        differences.extend(verdict_difference(record, &rules.judge(&document)));
        differences.extend(value_differences(record, &rules.measure(&document)));
        n_values += record.values.len();
    }
    println!("{} verdicts, {n_values} values, {} differences", records.len(), differences.len());
    let shown = &differences[..differences.len().min(20)];
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown.join("\n"));
}
