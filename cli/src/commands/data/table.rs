//! The tables of `neo data`: an account, a corpus, document files.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use neo_data::{
    Language,
    corpus::{CorpusManifest, Split},
    decontaminate::Report,
    pipeline::{Account, SourceAccount, Tally},
    read::{Reader, Record, Source},
};
use serde::Serialize;

/// What became of every source, then the rules by what they dropped. Columns of tokens are there where tokens are.
pub(super) fn account(account: &Account) -> String {
    let languages: Vec<String> = account.sources.iter().map(languages).collect();
    let width = languages.iter().map(|names| names.len() + 2).max().unwrap_or(0).max(6);
    let has_tokens = account.sources.iter().any(|source| n_tokens(source) > 0);
    let mut text = format!(
        "{:<14}{:<width$}{:>9}{:>10}{:>9}{:>9}{:>9}{:>8}",
        "source", "lang", "records", "documents", "dropped", "copies", "kept", "bytes%"
    );
    if has_tokens {
        // Writing into a String cannot fail.
        let _ = write!(text, "{:>12}{:>12}{:>8}", "tokens", "held out", "b/token");
    }
    text.push('\n');
    for (source, languages) in account.sources.iter().zip(languages) {
        let _ = write!(text, "{:<14}{languages:<width$}{}", source.name, counts(source));
        text += &if n_tokens(source) > 0 { tokens(source) } else { String::new() };
        text.push('\n');
    }
    text + &rules(account) + &masked(account)
}

/// How much personal data of each kind gave way to placeholders.
fn masked(account: &Account) -> String {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for stage in account.sources.iter().flat_map(|source| &source.stages) {
        for (kind, count) in &stage.masked {
            *kinds.entry(kind).or_default() += count;
        }
    }
    let lines = kinds.iter().map(|(kind, count)| format!("  {kind:<32}{count:>9} times\n"));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\nmasked\n{lines}") }
}

/// The languages of a source's documents.
fn languages(source: &SourceAccount) -> String {
    source.languages().into_iter().map(Language::name).collect::<Vec<_>>().join(",")
}

fn n_tokens(source: &SourceAccount) -> u64 {
    source.train.tokens + source.held_out.tokens
}

/// Records, documents, and where they went.
fn counts(source: &SourceAccount) -> String {
    let dropped_by = |is_meant: &dyn Fn(&str) -> bool| -> u64 {
        let stages = source.stages.iter().filter(|account| is_meant(&account.stage));
        stages.map(|account| account.dropped.documents).sum()
    };
    let is_judging = |stage: &str| ["filter", "decontaminate", "mask"].contains(&stage);
    // The other stage after reading is deduplication by whatever method.
    let copies = dropped_by(&|stage| stage != "read" && !is_judging(stage));
    let dropped = dropped_by(&is_judging);
    let (records, kept) = (source.input().documents, source.kept().documents);
    let documents = kept + dropped + copies;
    let share = 100.0 * source.kept().bytes as f64 / source.input().bytes.max(1) as f64;
    format!("{records:>9}{documents:>10}{dropped:>9}{copies:>9}{kept:>9}{share:>8.1}")
}

fn tokens(source: &SourceAccount) -> String {
    let bytes_per_token =
        (source.train.bytes + source.held_out.bytes) as f64 / n_tokens(source) as f64;
    format!("{:>12}{:>12}{bytes_per_token:>8.2}", source.train.tokens, source.held_out.tokens)
}

/// The rules that dropped something, the most active first.
fn rules(account: &Account) -> String {
    let mut rules: BTreeMap<String, Tally> = BTreeMap::new();
    for stage in account.sources.iter().flat_map(|source| &source.stages) {
        for (rule, &tally) in &stage.rules {
            *rules.entry(format!("{}.{rule}", stage.stage)).or_default() += tally;
        }
    }
    let mut rules: Vec<(String, Tally)> = rules.into_iter().collect();
    rules.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.documents));
    let mut text = String::new();
    for (idx, (rule, tally)) in rules.iter().enumerate() {
        let title = if idx == 0 { "\ndropped by\n" } else { "" };
        let _ = writeln!(
            text,
            "{title}  {rule:<32}{:>9} documents{:>13} bytes",
            tally.documents, tally.bytes
        );
    }
    text
}

/// The shards of a corpus.
pub(super) fn corpus(manifest: &CorpusManifest) -> String {
    let mut text = format!(
        "{:<14}{:<6}{:<10}{:>10}{:>14}{:>14}{:>8}\n",
        "source", "lang", "split", "documents", "tokens", "bytes", "b/token"
    );
    for entry in &manifest.sources {
        let split = match entry.split {
            Split::Train => "train",
            Split::HeldOut => "held-out",
        };
        let bytes_per_token = entry.utf8_bytes as f64 / entry.tokens.max(1) as f64;
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<14}{:<6}{split:<10}{:>10}{:>14}{:>14}{bytes_per_token:>8.2}",
            entry.name, entry.language, entry.documents, entry.tokens, entry.utf8_bytes
        );
    }
    text
}

/// What was looked for of every benchmark, and in how many documents it was found.
pub(super) fn contamination(report: &Report) -> String {
    let mut text = format!(
        "\n{:<28}{:>8}{:>11}{:>9}{:>8}{:>14}{:>11}\n",
        "benchmark", "rows", "by n-gram", "by exact", "no key", "found n-gram", "exact"
    );
    for benchmark in &report.benchmarks {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<28}{:>8}{:>11}{:>9}{:>8}{:>14}{:>11}",
            benchmark.name,
            benchmark.rows,
            benchmark.rows_by_ngram,
            benchmark.rows_by_exact,
            benchmark.rows_without_key,
            benchmark.documents_by_ngram,
            benchmark.documents_by_exact
        );
    }
    text
}

/// What document files hold of one source and language.
#[derive(Debug, Serialize)]
pub(super) struct Count {
    source: String,
    language: Language,
    documents: u64,
    held_out: u64,
    bytes: u64,
    chars: u64,
    median_chars: u64,
    longest_chars: u64,
    bad_records: u64,
}

/// Counts documents by source and language.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn count(source: &Source) -> Result<Vec<Count>> {
    let mut lengths: BTreeMap<(String, Language), (Count, Vec<u64>)> = BTreeMap::new();
    for record in Reader::open(source)? {
        let (name, language) = match &record {
            Ok(Record::Document(document)) => (document.source.clone(), document.language),
            _ => (source.name.clone(), source.language),
        };
        let (count, lengths) = lengths
            .entry((name.clone(), language))
            .or_insert_with(|| (Count::new(name, language), Vec::new()));
        match record? {
            Record::Bad(_) => count.bad_records += 1,
            Record::Document(document) => {
                let n_chars = document.n_chars();
                count.documents += 1;
                count.held_out += u64::from(document.is_held_out());
                count.bytes += document.text.len() as u64;
                count.chars += n_chars;
                lengths.push(n_chars);
            }
        }
    }
    let finished = lengths.into_values().map(|(mut count, mut lengths)| {
        lengths.sort_unstable();
        count.median_chars = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
        count.longest_chars = lengths.last().copied().unwrap_or(0);
        count
    });
    Ok(finished.collect())
}

impl Count {
    fn new(source: String, language: Language) -> Self {
        Self {
            source,
            language,
            documents: 0,
            held_out: 0,
            bytes: 0,
            chars: 0,
            median_chars: 0,
            longest_chars: 0,
            bad_records: 0,
        }
    }
}

/// Document files by source and language.
pub(super) fn documents(counts: &[Count]) -> String {
    let mut text = format!(
        "{:<14}{:<6}{:>10}{:>9}{:>13}{:>13}{:>9}{:>9}{:>6}\n",
        "source", "lang", "documents", "held out", "bytes", "chars", "median", "longest", "bad"
    );
    for count in counts {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{:<14}{:<6}{:>10}{:>9}{:>13}{:>13}{:>9}{:>9}{:>6}",
            count.source,
            count.language,
            count.documents,
            count.held_out,
            count.bytes,
            count.chars,
            count.median_chars,
            count.longest_chars,
            count.bad_records
        );
    }
    text
}
