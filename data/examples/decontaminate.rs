//! Looks for evaluation rows in document files and shows every hit, to be judged by eye; prints the speed.
//!
//! ```sh
//! cargo run --release --example decontaminate -- EVAL_DIR CHARACTERS FILE.. [--quiet]
//! ```
//! `CHARACTERS` is the length of an n-gram of Chinese. Documents are cut to 2,000 characters, as web pages are long.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{path::Path, time::Instant};

use neo_data::{
    Language,
    decontaminate::{Decontaminator, Settings},
    read::{Format, Reader, Record, Source, split::split},
};

fn main() -> neo_data::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_quiet = arguments.iter().any(|argument| argument == "--quiet");
    let [eval, characters, files @ ..] = &arguments[..] else {
        let expected = "expected EVAL_DIR CHARACTERS FILE.. [--quiet]";
        return Err(neo_data::Error::Setting(expected.to_owned()));
    };
    let characters = characters.parse().unwrap_or(16);
    let started = Instant::now();
    let decontaminator =
        Decontaminator::open(Settings { characters, ..Settings::new(Path::new(eval)) })?;
    println!("{} benchmarks read in {:.1} s", decontaminator.benchmarks().len(), seconds(started));
    for path in files.iter().filter(|path| !path.starts_with("--")) {
        let format = if path.contains(".txt") { Format::Paragraphs } else { Format::Jsonl };
        let source = Source::new("s", Language::Other, vec![path.clone()], format);
        let mut documents = Vec::new();
        for record in Reader::open(&source)? {
            if let Record::Document(document) = record? {
                documents.extend(split(document, 2000));
            }
        }
        let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
        let started = Instant::now();
        let hits: Vec<_> =
            documents.iter().map(|document| decontaminator.find(&document.text)).collect();
        let speed = bytes as f64 / 1e6 / seconds(started);
        let n_hit = hits.iter().filter(|hits| !hits.is_empty()).count();
        println!("{path}: {} documents, {n_hit} hit, {speed:.0} MB/s", documents.len());
        for (document, hits) in documents.iter().zip(hits).filter(|_| !is_quiet) {
            for hit in hits {
                let text = document.text[hit.bytes.clone()].replace('\n', " ");
                println!("  {} {} {}: {text}", document.id, decontaminator.rule(&hit), hit.row);
            }
        }
    }
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
