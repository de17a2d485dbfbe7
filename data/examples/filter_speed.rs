//! How fast a rule set judges documents in memory, after one pass to warm up: the values of every rule, and verdicts
//! alone, which ask every rule of a document that passes but not always for its value:
//! `cargo run --release --example filter_speed -- THREADS RULES ASSETS FILE..`
//!
//! The files are JSONL with a field `text`; rules without assets take any folder.

use std::{
    io::{Write, stdout},
    path::Path,
    time::Instant,
};

use neo_data::{
    Document, Error, Language, Result,
    filter::{Mode, RuleSet, RuleSource},
    read::{Format, Reader, Record, Source},
};
use rayon::prelude::*;

/// Passes over the documents; the fastest counts.
const N_PASSES: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [n_threads, rules, assets, files @ ..] = &arguments[..] else {
        return Err(Error::Setting("expected arguments: THREADS RULES ASSETS FILE..".to_owned()));
    };
    let n_threads = n_threads.parse().map_err(|_| Error::Setting("THREADS is no number".into()))?;
    let source =
        RuleSource { name: rules, mode: Some(Mode::Faithful), assets: Some(Path::new(assets)) };
    let rules = RuleSet::read(source)?;
    let documents = documents(files)?;
    let n_bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
    let pool = pool.map_err(|error| Error::Setting(error.to_string()))?;
    let time = |work: &(dyn Fn(&Document) + Sync)| {
        let pass = |_| {
            let start = Instant::now();
            pool.install(|| documents.par_iter().for_each(work));
            start.elapsed().as_secs_f64()
        };
        (0..N_PASSES).map(pass).fold(f64::INFINITY, f64::min)
    };
    let measured = time(&|document| drop(rules.measure(document)));
    let judged = time(&|document| drop(rules.judge(document)));
    let rate = |seconds: f64| n_bytes as f64 / 1e6 / seconds;
    drop(writeln!(
        stdout(),
        "{} documents, {:.1} MB, {n_threads} threads: values {:.1} MB/s, verdicts {:.1} MB/s",
        documents.len(),
        n_bytes as f64 / 1e6,
        rate(measured),
        rate(judged)
    ));
    Ok(())
}

fn documents(files: &[String]) -> Result<Vec<Document>> {
    let source = Source::new("input", Language::En, files.to_vec(), Format::Jsonl);
    let mut documents = Vec::new();
    for record in Reader::open(&source)? {
        if let Record::Document(document) = record? {
            documents.push(document);
        }
    }
    Ok(documents)
}
