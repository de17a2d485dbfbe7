//! Every row of every evaluation file, planted into clean documents, is found; clean documents are not.
//!
//! The files are those of `NEO_DATA/eval`; rows are planted as a dump of a benchmark would hold them, all strings of
//! a record one after another, and once more in capitals and broken into lines. Run with `--nocapture` for the table.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test panics and says what it skipped"
)]

use std::path::{Path, PathBuf};

use neo_data::{
    Language,
    decontaminate::{Decontaminator, Settings},
    read::{Format, Reader, Record, Source, split::split},
};
use rayon::prelude::*;
use serde_json::Value;

/// The shared data folder, or `None` with a word about it.
fn shared() -> Option<PathBuf> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a workspace");
    let data = std::env::var_os("NEO_DATA");
    let path = data.as_ref().map_or_else(|| root.join("../shared/data"), PathBuf::from);
    if path.join("eval").is_dir() {
        return Some(path);
    }
    assert!(data.is_none(), "NEO_DATA is set but holds no `eval`");
    println!("skipped: no `{}`", path.join("eval").display());
    None
}

fn decontaminator(shared: &Path) -> Decontaminator {
    Decontaminator::open(Settings::new(&shared.join("eval"))).unwrap()
}

/// Strings and numbers of a record, in its order.
fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Number(number) => into.push(number.to_string()),
        Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| gather(value, into)),
        Value::Null | Value::Bool(_) => (),
    }
}

/// The records of an evaluation file, each as one text.
fn rows(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let is_packed = path.extension().is_some_and(|extension| extension == "zst");
    let bytes = if is_packed { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let text = |line: &[u8]| {
        let mut texts = Vec::new();
        gather(&serde_json::from_slice(line).unwrap(), &mut texts);
        texts.join("\n")
    };
    lines.map(text).collect()
}

/// Documents of the corpus, in pieces of a web page's length.
fn corpus(shared: &Path, names: &[&str]) -> Vec<neo_data::Document> {
    let input = names.iter().map(|name| shared.join("corpus").join(name));
    let input = input.map(|path| path.to_string_lossy().into_owned()).collect();
    let source = Source::new("clean", Language::Other, input, Format::Jsonl);
    let documents = Reader::open(&source).unwrap().filter_map(|record| match record.unwrap() {
        Record::Document(document) => Some(split(document, 2000)),
        Record::Bad(_) => None,
    });
    documents.flatten().collect()
}

/// A row in the middle of a document.
fn plant(document: &str, row: &str) -> String {
    let middle = document.char_indices().nth(document.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = document.split_at(middle);
    format!("{before}\n{row}\n{after}")
}

fn shouted(row: &str) -> String {
    row.to_ascii_uppercase().replace(' ', "\n  ")
}

#[test]
fn every_planted_row_is_found_conformance() {
    let Some(shared) = shared() else { return };
    let decontaminator = decontaminator(&shared);
    let clean = corpus(&shared, &["en_c4_sample.jsonl.zst", "zh_docs.jsonl.zst"]);
    println!(
        "{:<26}{:>7}{:>9}{:>7}{:>8}{:>8}",
        "benchmark", "rows", "n-gram", "exact", "no key", "found"
    );
    assert!(!decontaminator.benchmarks().is_empty());
    for (idx, benchmark) in decontaminator.benchmarks().iter().enumerate() {
        let path =
            ["jsonl.zst", "jsonl"].map(|end| shared.join(format!("eval/{}.{end}", benchmark.name)));
        let rows = rows(path.iter().find(|path| path.exists()).unwrap());
        assert_eq!(rows.len() as u64, benchmark.rows);
        let is_found = |(i, row): (usize, &String)| {
            let host = &clean[i % clean.len()].text;
            let finds =
                |text: &str| decontaminator.find(text).iter().any(|hit| hit.benchmark == idx);
            finds(&plant(host, row)) && finds(&plant(host, &shouted(row)))
        };
        let lost: Vec<&String> = rows
            .par_iter()
            .enumerate()
            .filter(|(i, row)| !is_found((*i, row)))
            .map(|(_, row)| row)
            .collect();
        let n_found = rows.len() - lost.len();
        println!(
            "{:<26}{:>7}{:>9}{:>7}{:>8}{n_found:>8}",
            benchmark.name,
            benchmark.rows,
            benchmark.rows_by_ngram,
            benchmark.rows_by_exact,
            benchmark.rows_without_key
        );
        assert!(
            lost.len() as u64 <= benchmark.rows_without_key,
            "{}: {:?}",
            benchmark.name,
            lost[0]
        );
    }
}

/// A false alarm is a hit on text that is no quotation: in web pages, articles and documentation, which quote none
/// of the benchmarks. Classics and novels hold passages that the questions quote, and are looked at by eye.
#[test]
fn clean_documents_are_not_hit_conformance() {
    let Some(shared) = shared() else { return };
    let decontaminator = decontaminator(&shared);
    for name in ["en_c4_sample.jsonl.zst", "zh_docs.jsonl.zst", "zh_poetry.jsonl.zst"] {
        let clean = corpus(&shared, &[name]);
        let hits = |document: &neo_data::Document| decontaminator.find(&document.text).len();
        let n_hit = clean.par_iter().filter(|document| hits(document) > 0).count();
        println!("{name}: {n_hit} of {} documents", clean.len());
        assert!(1000 * n_hit <= clean.len(), "{n_hit} of {} in {name}", clean.len());
    }
}
