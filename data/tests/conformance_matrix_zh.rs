//! The Chinese rules of Matrix against what the original code says (`golden/matrix/README.md`).

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neo_data::filter::matrix_zh::{BadLine, JudgedLine, MatrixZh};
use neo_data::filter::{Mode, Verdict};
use neo_data::write::Value as Measured;
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// How far logarithms and the probabilities of fastText may differ, by the README of the golden values. All other
/// values are equal.
const TOLERANCES: [(&str, f64); 2] = [("C13", 1e-9), ("C14", 1e-5)];

/// The folder named by `NEO_GOLDEN`, or its default place; none when neither is there.
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

fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let records: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!records.is_empty(), "no record in `{}`", path.display());
    records
}

fn filter(golden: &Path) -> MatrixZh {
    MatrixZh::own(Mode::Faithful, &golden.join("data")).unwrap()
}

#[derive(Deserialize)]
struct Record {
    id: String,
    raw_content: Value,
    url: Option<Value>,
    rule: Option<String>,
    reason: Option<String>,
    value: Value,
    /// None where the text does not change.
    output: Option<String>,
}

/// What of a record is not as the original has it.
fn difference(filter: &MatrixZh, record: &Record) -> Option<String> {
    let url = record.url.as_ref().and_then(Value::as_str);
    let verdict = filter.judge(record.raw_content.as_str(), url);
    let is_equal = match (&verdict, &record.rule, &record.output) {
        (Verdict::Keep, None, None) => true,
        (Verdict::Rewrite(text), None, Some(output)) => text == output,
        (Verdict::Drop { rule, value, .. }, Some(expected), None) => {
            rule == expected && is_same_value(rule, value, &record.value)
        }
        _ => false,
    };
    let expected = (&record.rule, &record.value, &record.output);
    (!is_equal).then(|| format!("`{}`: {verdict:?}, expected {expected:?}", record.id))
}

/// Where the original raises an exception it logs no value.
fn is_same_value(rule: &str, found: &Measured, expected: &Value) -> bool {
    match (found, expected) {
        (Measured::Text(_), Value::Null) => rule.starts_with("exception:"),
        (Measured::Text(found), Value::String(expected)) => found == expected,
        (Measured::Number(found), Value::Number(expected)) => {
            let tolerance = TOLERANCES.iter().find(|(name, _)| *name == rule);
            (found - expected.as_f64().unwrap()).abs() <= tolerance.map_or(0.0, |&(_, by)| by)
        }
        _ => false,
    }
}

#[test]
fn conformance_every_verdict_and_text_is_the_original_s() {
    let Some(golden) = golden() else { return };
    let filter = filter(&golden);
    let records: Vec<Record> = read_jsonl(&golden.join("zh_verdicts.jsonl.zst"));
    let differences: Vec<String> =
        records.par_iter().filter_map(|record| difference(&filter, record)).collect();
    println!("{} of {} records differ", differences.len(), records.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[derive(Deserialize)]
struct FileCase {
    case: String,
    input_lines: Vec<String>,
    output_lines: Vec<String>,
    log: Vec<LogEntry>,
    /// The exception that left the function, as Python prints it.
    raised: Option<String>,
    success_marker: bool,
}

/// An entry on a bad line, or on a text that was left out.
#[derive(Deserialize)]
#[serde(untagged)]
enum LogEntry {
    Bad { index: usize },
    Dropped { original_index: usize, except: Option<String>, flag: Option<Map<String, Value>> },
}

/// The rule that a log entry is about, and its value. Logs name rules by their reasons.
fn rule_and_value(
    except: &Option<String>,
    flag: &Option<Map<String, Value>>,
    rules: &BTreeMap<String, String>,
) -> (String, Value) {
    if let Some(step) = except {
        return (format!("exception:{step}"), Value::Null);
    }
    let (reason, value) = flag.as_ref().unwrap().iter().next().unwrap();
    (rules[reason].clone(), value.clone())
}

fn check_dropped(
    case: &str,
    lines: &[JudgedLine],
    log: &[LogEntry],
    rules: &BTreeMap<String, String>,
) {
    let mut dropped = lines.iter().filter_map(|line| match &line.verdict {
        Verdict::Drop { rule, value, .. } => Some((line.idx, *rule, value)),
        _ => None,
    });
    for entry in log {
        let LogEntry::Dropped { original_index, except, flag } = entry else { continue };
        let (idx, found, measured) = dropped.next().unwrap();
        let (rule, value) = rule_and_value(except, flag, rules);
        assert_eq!((idx, found), (*original_index, &*rule), "{case}");
        assert!(is_same_value(found, measured, &value), "{case}: {measured:?}, {value}");
    }
    assert_eq!(dropped.next(), None, "{case}");
}

fn check_case(filter: &MatrixZh, case: &FileCase, rules: &BTreeMap<String, String>) {
    let name = &case.case;
    let lines: Vec<&str> = case.input_lines.iter().map(String::as_str).collect();
    let file = filter.judge_file(&lines);
    let kept = file.lines.iter().filter(|line| !matches!(line.verdict, Verdict::Drop { .. }));
    let kept: Vec<Value> = kept.map(|line| Value::Object(line.record.clone())).collect();
    let expected = case.output_lines.iter().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(kept, expected.collect::<Vec<Value>>(), "{name}");
    check_dropped(name, &file.lines, &case.log, rules);
    let logged = file.bad_lines.iter().filter(|(_, bad)| bad.is_logged()).map(|&(idx, _)| idx);
    let expected = case.log.iter().filter_map(|entry| match entry {
        LogEntry::Bad { index } => Some(*index),
        LogEntry::Dropped { .. } => None,
    });
    assert!(logged.eq(expected), "{name}: {:?}", file.bad_lines);
    let raised = file.bad_lines.iter().find_map(|(_, bad)| match bad {
        BadLine::NotJson => None,
        BadLine::NotAnObject => Some("TypeError"),
        BadLine::NoText => Some("KeyError"),
    });
    let expected = case.raised.as_ref().and_then(|raised| raised.split('(').next());
    assert_eq!(raised, expected, "{name}");
    assert_eq!(file.is_marked_done(), case.success_marker, "{name}");
}

#[test]
fn conformance_files_end_where_the_original_s_end() {
    let Some(golden) = golden() else { return };
    let filter = filter(&golden);
    let records: Vec<Record> = read_jsonl(&golden.join("zh_verdicts.jsonl.zst"));
    let named = records.into_iter().filter_map(|record| Some((record.reason?, record.rule?)));
    let rules: BTreeMap<String, String> = named.collect();
    let cases: Vec<FileCase> = read_jsonl(&golden.join("zh_file_cases.jsonl.zst"));
    for case in &cases {
        check_case(&filter, case, &rules);
    }
    println!("{} files equal", cases.len());
}
