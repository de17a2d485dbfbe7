//! Deduplication of files: the texts go by once for their keys and once more to be kept, cut or dropped.
//!
//! In memory are the keys, the ids and one batch of documents. Batches are worked on in parallel and handled in
//! order, so the outcome does not depend on the threads. Written are, below the folder of the results:
//!
//! ```text
//! kept.*      documents that stay, in reading order, their texts without the repeated parts
//! dropped.*   documents that go: which document they copy, or how short they became
//! changed.*   documents that stay with parts taken out, and how many
//! ```

use std::path::Path;

use rayon::prelude::*;

use super::{Event, Reason, SourceAccount, StageAccount, Tally, clean};
use crate::{
    Document, Error, Result,
    dedup::{Finder, Index, MIN_CHARS, Method, Outcome, Sieve, Verdicts},
    filter::Limit,
    read::{Reader, Record, Source},
    write::{Dropped, FileFormat, Value, Writer},
};

/// Removes from a source what a method finds repeated; writes `kept.*`, `dropped.*` and `changed.*` to `out`.
///
/// With an index file, documents that it knows count as kept before: copies of them go too, and at the end the
/// documents that stay are added to it. A file that does not exist yet is begun.
///
/// # Errors
/// A file of the source or the index cannot be used or changed between the readings, or writing failed.
pub fn deduplicate(
    method: &dyn Method,
    source: &Source,
    index: Option<&Path>,
    out: &Path,
    format: FileFormat,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<SourceAccount> {
    let finder = finder(method, source, index, on_event)?;
    let (verdicts, new_index) = match index {
        Some(_) => {
            let (verdicts, index) = finder.decide_and_index();
            (verdicts, Some(index))
        }
        None => (finder.decide(), None),
    };
    let account = apply(method, &verdicts, source, out, format, on_event)?;
    if let (Some(path), Some(index)) = (index, new_index) {
        index.write(path)?;
    }
    Ok(account)
}

/// The first pass or two: whatever must be known of all documents before one is judged.
fn finder<'a>(
    method: &'a dyn Method,
    source: &Source,
    index: Option<&Path>,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Finder<'a>> {
    let mut finder = Finder::new(method);
    if let Some(path) = index.filter(|path| path.exists()) {
        finder = finder.with_index(Index::read(path, &method.name_with_settings())?);
    }
    if method.wants_sieve() {
        let sieve = Sieve::new(Reader::open(source)?.progress().1);
        for_each_batch("sieve", source, on_event, |documents| {
            documents.par_iter().for_each(|document| {
                method.keys(document).into_iter().for_each(|(_, key)| sieve.note(key));
            });
        })?;
        finder = finder.with_sieve(sieve);
    }
    if method.compares_documents() {
        for_each_batch("keys", source, on_event, |documents| {
            let keys: Vec<_> = documents.par_iter().map(|document| finder.keys(document)).collect();
            for (document, keys) in documents.iter().zip(keys) {
                finder.add(&document.id, keys);
            }
        })?;
    }
    Ok(finder)
}

/// Reads a source once, bad records left out.
fn for_each_batch(
    stage: &'static str,
    source: &Source,
    on_event: &mut dyn FnMut(Event<'_>),
    mut handle: impl FnMut(&[Document]),
) -> Result<()> {
    let mut reader = Reader::open(source)?;
    let mut n_documents = 0;
    loop {
        let batch = clean::read_records(&mut reader)?;
        if batch.is_empty() {
            return Ok(());
        }
        let documents = batch.into_iter().filter_map(|record| match record {
            Record::Document(document) => Some(document),
            Record::Bad(_) => None,
        });
        let documents: Vec<Document> = documents.collect();
        n_documents += documents.len() as u32;
        handle(&documents);
        report(stage, source, &reader, n_documents, on_event);
    }
}

/// The last pass: every document is kept, cut or dropped.
fn apply(
    method: &dyn Method,
    verdicts: &Verdicts,
    source: &Source,
    out: &Path,
    format: FileFormat,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<SourceAccount> {
    let mut output = Output::create(method, source, out, format)?;
    let mut reader = Reader::open(source)?;
    let mut number = verdicts.n_known();
    loop {
        let batch = clean::read_records(&mut reader)?;
        if batch.is_empty() {
            break;
        }
        let documents = output.take_bad(batch)?;
        let numbered: Vec<(u32, Document)> = (number..).zip(documents).collect();
        number += numbered.len() as u32;
        let outcomes = numbered
            .par_iter()
            .map(|(number, document)| outcome(method, verdicts, *number, document))
            .collect::<Option<Vec<Outcome>>>()
            .ok_or_else(|| changed(source))?;
        for ((_, document), outcome) in numbered.into_iter().zip(outcomes) {
            output.push(document, outcome, verdicts)?;
        }
        report(method.name(), source, &reader, number - verdicts.n_known(), on_event);
    }
    if method.compares_documents() && verdicts.ids().len() != number as usize {
        return Err(changed(source));
    }
    output.finish(&reader)
}

/// What becomes of a document; `None` when it is not the one that had this number before.
fn outcome(
    method: &dyn Method,
    verdicts: &Verdicts,
    number: u32,
    document: &Document,
) -> Option<Outcome> {
    if !method.compares_documents() {
        return Some(method.apply(&document.text, &[]));
    }
    let is_known = (number as usize) < verdicts.ids().len();
    let is_same = is_known && verdicts.ids().get(number) == document.id;
    is_same.then(|| method.apply(&document.text, verdicts.of(number)))
}

fn changed(source: &Source) -> Error {
    Error::Setting(format!("the files of source `{}` changed while they were read", source.name))
}

fn report(
    stage: &'static str,
    source: &Source,
    reader: &Reader,
    n_documents: u32,
    on_event: &mut dyn FnMut(Event<'_>),
) {
    let (done_bytes, total_bytes) = reader.progress();
    let (source, documents) = (source.name.as_str(), u64::from(n_documents));
    on_event(Event::Progress { stage, source, done_bytes, total_bytes, documents });
}

/// The files and the account of the last pass.
struct Output<'a> {
    source: &'a Source,
    part: &'static str,
    kept: Writer<Document>,
    dropped: Writer<Dropped>,
    changed: Writer<Dropped>,
    read: StageAccount,
    stage: StageAccount,
}

impl<'a> Output<'a> {
    fn create(
        method: &dyn Method,
        source: &'a Source,
        out: &Path,
        format: FileFormat,
    ) -> Result<Self> {
        Ok(Self {
            source,
            part: method.part(),
            kept: Writer::create(out, "kept", format)?,
            dropped: Writer::create(out, "dropped", format)?,
            changed: Writer::create(out, "changed", format)?,
            read: StageAccount::new("read", serde_json::json!(source)),
            stage: StageAccount::new(method.name(), method.settings()),
        })
    }

    /// Writes down the records that are no documents; returns the others.
    fn take_bad(&mut self, batch: Vec<Record>) -> Result<Vec<Document>> {
        let mut documents = Vec::with_capacity(batch.len());
        for record in batch {
            match record {
                Record::Document(document) => {
                    self.read.keep(&document, Tally::of(&document));
                    documents.push(document);
                }
                Record::Bad(bad) => {
                    self.read.drop_bad(&bad, self.source);
                    self.dropped.push(&clean::row_of_bad(&bad))?;
                }
            }
        }
        Ok(documents)
    }

    fn push(
        &mut self,
        mut document: Document,
        outcome: Outcome,
        verdicts: &Verdicts,
    ) -> Result<()> {
        match outcome {
            Outcome::Keep => {
                self.stage.keep(&document, Tally::of(&document));
                self.kept.push(&document)
            }
            Outcome::Cut { text, n_parts } => {
                let value = Value::Number(n_parts as f64);
                let reason = Reason { rule: self.part, value, limit: None };
                self.changed.push(&clean::row(&document, &self.stage.stage, &reason))?;
                let original = std::mem::replace(&mut document.text, text);
                self.stage.cut(&document, &original, &reason);
                self.kept.push(&document)
            }
            Outcome::CopyOf(first) => {
                let value = Value::Text(verdicts.ids().get(first).to_owned());
                self.leave_out(&document, &Reason { rule: "copy_of", value, limit: None })
            }
            Outcome::TooShort(n_chars) => {
                let (value, least) = (Value::Number(n_chars as f64), Limit::Min(MIN_CHARS as f64));
                self.leave_out(&document, &Reason { rule: "n_chars", value, limit: Some(least) })
            }
        }
    }

    fn leave_out(&mut self, document: &Document, reason: &Reason<'_>) -> Result<()> {
        self.stage.drop(document, Tally::of(document), reason);
        self.dropped.push(&clean::row(document, &self.stage.stage, reason))
    }

    fn finish(self, reader: &Reader) -> Result<SourceAccount> {
        self.dropped.finish()?;
        self.changed.finish()?;
        // Last, and not at all without a document: what looks finished is.
        if self.stage.kept.documents > 0 {
            self.kept.finish()?;
        }
        Ok(SourceAccount {
            name: self.source.name.clone(),
            language: self.source.language,
            unread: reader.limits(),
            stages: vec![self.read, self.stage],
            train: Default::default(),
            held_out: Default::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Language,
        dedup::{
            Mode,
            exact::Exact,
            lines::Lines,
            minhash::{MinHash, Normalise, Scheme},
            paragraph::Paragraph,
            substring::Substring,
        },
        read::Format,
    };

    fn methods() -> Vec<Box<dyn Method>> {
        let mode = Mode::Faithful;
        vec![
            Box::new(Exact),
            Box::new(MinHash::new(Scheme::Fast, Normalise::ByLanguage, mode)),
            Box::new(Paragraph { mode }),
            Box::new(Substring { mode }),
            Box::new(Lines { proportion: 0.1 }),
        ]
    }

    /// Records with copies, repeated parts, and one that is no document, in a fixed order.
    fn records() -> Vec<String> {
        let record = |i: usize| {
            let common = "A sentence that many of the documents have in common, word for word. ";
            let own = format!("Number {} and only {} is told of here.", i / 2, i / 2);
            let text = format!("{own}\\n{}{}", common.repeat(i % 3), own.repeat(i % 2));
            format!("{{\"id\":\"d{i:02}\",\"text\":\"{text}\"}}")
        };
        let mut records: Vec<String> = (0..40).map(record).collect();
        records.push("{\"id\":\"bad\"}".to_owned());
        records.extend((0..10).map(|i| record(i).replace("\"d", "\"copy")));
        records
    }

    /// Kept texts by id and the account, of records laid down in so many files.
    fn run(
        method: &dyn Method,
        records: &[String],
        n_files: usize,
    ) -> (Vec<(String, String)>, SourceAccount) {
        let dir = tempfile::tempdir().unwrap();
        for (i, part) in records.chunks(records.len().div_ceil(n_files)).enumerate() {
            std::fs::write(dir.path().join(format!("{i}.jsonl")), part.join("\n")).unwrap();
        }
        let input = vec![dir.path().to_string_lossy().into_owned()];
        let source = Source::new("s", Language::En, input, Format::Jsonl);
        let out = dir.path().join("out");
        let account =
            deduplicate(method, &source, None, &out, FileFormat::Parquet, &mut |_| ()).unwrap();
        let kept = vec![out.join("kept.parquet").to_string_lossy().into_owned()];
        let kept = Source::new("k", Language::En, kept, Format::Parquet);
        let mut kept: Vec<(String, String)> = Reader::open(&kept)
            .unwrap()
            .map(|record| match record.unwrap() {
                Record::Document(document) => (document.id, document.text),
                Record::Bad(bad) => panic!("{bad:?}"),
            })
            .collect();
        kept.sort();
        (kept, account)
    }

    #[test]
    fn what_comes_in_is_kept_or_dropped() {
        for method in methods() {
            let (kept, account) = run(method.as_ref(), &records(), 1);
            let [read, stage] = &account.stages[..] else { panic!("two stages") };
            assert_eq!((read.input.documents, read.dropped.documents), (51, 1));
            assert_eq!((read.kept, stage.stage.as_str()), (stage.input, method.name()));
            let (mut out, mut by_rule) = (stage.kept, Tally::default());
            out += stage.dropped;
            stage.rules.values().for_each(|&tally| by_rule += tally);
            assert_eq!((stage.input, stage.dropped), (out, by_rule), "{}", stage.stage);
            assert!(stage.dropped.bytes > 0, "{} finds nothing", stage.stage);
            assert_eq!(stage.kept.documents, kept.len() as u64);
            let bytes: usize = kept.iter().map(|(_, text)| text.len()).sum();
            assert_eq!(stage.kept.bytes, bytes as u64, "{}", stage.stage);
        }
    }

    #[test]
    fn neither_files_nor_order_matter() {
        let mut turned = records();
        turned.reverse();
        for method in methods() {
            let (kept, account) = run(method.as_ref(), &records(), 1);
            for (records, n_files) in [(&records(), 5), (&turned, 1), (&turned, 3)] {
                let (again, account_again) = run(method.as_ref(), records, n_files);
                assert_eq!(again, kept, "{}", method.name());
                let [read, stage] = &account.stages[..] else { panic!("two stages") };
                let [read_again, stage_again] = &account_again.stages[..] else { panic!("two") };
                assert_eq!(stage_again, stage);
                assert_eq!((read_again.kept, read_again.dropped), (read.kept, read.dropped));
                assert_eq!(read_again.kept_samples, read.kept_samples);
            }
        }
    }
}
