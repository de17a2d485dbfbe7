//! Marks that the authors of BIG-Bench Hard and GSM8K gave to real outputs of models, through the
//! filters and metrics of neo's own task files.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neo_eval::filter::Pipeline;
use neo_eval::metric::Metric;
use neo_eval::metric::text::exact_match;
use neo_eval::task::Document;
use neo_eval::task::source::read_documents;
use serde_json::{Value, json};

/// The evaluation folder, or `None`, said aloud, where there is none.
fn folder() -> Option<PathBuf> {
    let set = std::env::var_os("NEO_DATA").map(PathBuf::from);
    let is_set = set.is_some();
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = set.unwrap_or(default).join("eval");
    let is_there = folder.join("scored_bbh_codex.jsonl.zst").is_file();
    assert!(
        is_there || !is_set,
        "NEO_DATA is set, but `{}` has no scored outputs",
        folder.display()
    );
    if !is_there {
        println!("skipped: no scored outputs in `{}`", folder.display());
    }
    is_there.then_some(folder)
}

fn rows(folder: &Path, name: &str) -> Vec<Document> {
    let rows = read_documents(&folder.join(name), &BTreeMap::new()).unwrap();
    assert!(!rows.is_empty(), "{name} has no rows");
    rows
}

fn text<'a>(document: &'a Document, field: &str) -> &'a str {
    document.fields[field].as_str().unwrap_or_default()
}

/// Whether an answer passes through the filters to what an exact match takes for the target.
fn is_right(pipeline: &Pipeline, metric: &Metric, target: &str, answer: &str) -> bool {
    let nothing = Document::new(serde_json::Map::new());
    let Value::String(found) = pipeline.apply(vec![answer.into()], &nothing).unwrap() else {
        panic!("the filters end in one text");
    };
    exact_match(&metric.settings, target, &found).unwrap()
}

#[test]
fn conformance_every_published_accuracy_of_codex_on_bbh() {
    let Some(folder) = folder() else { return };
    let read = |pattern: &str| {
        let steps =
            json!([{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}]);
        Pipeline::new(&json!({"name": "get-answer", "filter": steps})).unwrap()
    };
    // What follows "the answer is " without a closing full stop; without worked examples, all of it.
    let cot = read(r"(?s)(?<=the answer is )(.*?)\.?\Z");
    let direct = read(r"(?s)^(.*)$");
    let metric = Metric::new(&json!({"metric": "exact_match"})).unwrap();
    let mut right: BTreeMap<(String, String), [usize; 2]> = BTreeMap::new();
    let mut published: BTreeMap<(String, String), f64> = BTreeMap::new();
    for row in rows(&folder, "scored_bbh_codex.jsonl.zst") {
        let key = (text(&row, "task").to_owned(), text(&row, "mode").to_owned());
        if let Some(accuracy) = row.fields["metrics"]["accuracy"].as_f64() {
            published.insert(key, accuracy);
            continue;
        }
        let pipeline = if key.1 == "cot" { &cot } else { &direct };
        let mark = is_right(pipeline, &metric, text(&row, "target"), text(&row, "prediction"));
        let counts = right.entry(key).or_default();
        counts[0] += usize::from(mark);
        counts[1] += 1;
    }
    assert!(!published.is_empty(), "no published accuracy");
    for (key, accuracy) in &published {
        let [right, all] = right[key];
        let found = 100.0 * right as f64 / all as f64;
        assert!((found - accuracy).abs() < 1e-9, "{key:?}: {found}, published {accuracy}");
    }
    println!("{} accuracies equal", published.len());
}

#[test]
fn conformance_every_mark_of_gsm8k_solutions() {
    let Some(folder) = folder() else { return };
    let steps = json!([
        {"function": "regex", "group_select": -1, "regex_pattern": "A: (\\-?[0-9\\.\\,]+)"},
        {"function": "take_first"}
    ]);
    let pipeline = Pipeline::new(&json!({"name": "last", "filter": steps})).unwrap();
    let ignored = json!({"metric": "exact_match", "regexes_to_ignore": [",", "(?s).*A: "]});
    let metric = Metric::new(&ignored).unwrap();
    let mut n = 0;
    for row in rows(&folder, "scored_gsm8k_solutions.jsonl.zst") {
        for (model, answer) in row.fields.iter().filter(|(_, value)| value.is_object()) {
            let solution = answer["solution"].as_str().unwrap();
            let mark = is_right(&pipeline, &metric, text(&row, "ground_truth"), solution);
            assert_eq!(json!(mark), answer["is_correct"], "{model}: {}", text(&row, "question"));
            n += 1;
        }
    }
    println!("{n} marks equal");
}
