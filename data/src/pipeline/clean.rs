//! The cleaning pass over one source: read, cut, filter, deduplicate, batch by batch.
//!
//! Batches are measured in parallel and decided in order, so the outcome does not depend on the threads.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Dedup, Event, SourceAccount, StageAccount, Tally};
use crate::{
    Document, Result,
    dedup::words::{Key, Seen},
    filter::{RuleSet, Verdict},
    read::{BadRecord, Reader, Record, Source, split::split},
    write::{Dropped, FileFormat, Value, Writer},
};

/// Documents judged at a time.
pub(super) const BATCH_DOCUMENTS: usize = 512;
/// Text bytes after which a batch is judged before it is full.
pub(super) const BATCH_BYTES: usize = 16 << 20;
/// Characters of a dropped document that are kept for its reader.
const SAMPLE_CHARS: usize = 200;

/// What a cleaning pass does.
#[derive(Clone, Debug)]
pub struct CleanSettings {
    /// Rules that documents must pass.
    pub rules: RuleSet,
    /// Which copies are removed.
    pub dedup: Dedup,
    /// Form of the file of dropped documents.
    pub format: FileFormat,
}

/// Cleans sources one after another; copies are found across all of them.
pub struct Cleaner {
    settings: CleanSettings,
    seen: Seen,
    dropped: Writer<Dropped>,
}

impl Cleaner {
    /// Begins; dropped documents go to `out/dropped.*`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(settings: CleanSettings, out: &Path) -> Result<Self> {
        let dropped = Writer::create(out, "dropped", settings.format)?;
        Ok(Self { settings, seen: Seen::default(), dropped })
    }

    /// Reads a source, writes what is kept of it, in order.
    ///
    /// # Errors
    /// A file of the source cannot be used, or writing failed.
    pub fn clean(
        &mut self,
        source: &Source,
        kept: &mut Writer<Document>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<SourceAccount> {
        let mut reader = Reader::open(source)?;
        let mut stages = Stages::new();
        let mut at_end = false;
        while !at_end {
            let batch = self.read_batch(&mut reader, source, &mut stages.read)?;
            at_end = batch.is_empty();
            for document in self.judge_batch(batch, &mut stages)? {
                kept.push(&document)?;
            }
            let (done_bytes, total_bytes) = reader.progress();
            let documents = stages.filter.input.documents;
            let source = &source.name;
            on_event(Event::Progress {
                stage: "clean",
                source,
                done_bytes,
                total_bytes,
                documents,
            });
        }
        Ok(SourceAccount {
            name: source.name.clone(),
            language: source.language,
            unread: reader.limits(),
            stages: stages.run(self.settings.dedup),
            train: Default::default(),
            held_out: Default::default(),
        })
    }

    /// Makes the file of dropped documents appear; returns its path.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(self) -> Result<PathBuf> {
        self.dropped.finish()
    }

    /// The next documents, cut to size; empty at the end.
    fn read_batch(
        &mut self,
        reader: &mut Reader,
        source: &Source,
        account: &mut StageAccount,
    ) -> Result<Vec<Document>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
            match reader.next().transpose()? {
                None => break,
                Some(Record::Bad(bad)) => self.drop_bad(&bad, account)?,
                Some(Record::Document(document)) => {
                    account.keep(Tally::of(&document));
                    bytes += document.text.len();
                    match source.split_chars {
                        Some(max_chars) => batch.extend(split(document, max_chars)),
                        None => batch.push(document),
                    }
                }
            }
        }
        Ok(batch)
    }

    fn drop_bad(&mut self, bad: &BadRecord, account: &mut StageAccount) -> Result<()> {
        self.dropped.push(&row_of_bad(bad, account))
    }

    /// Applies rules and deduplication; returns what is kept, in order.
    fn judge_batch(&mut self, batch: Vec<Document>, stages: &mut Stages) -> Result<Vec<Document>> {
        let rules = &self.settings.rules;
        let wants_key = self.settings.dedup == Dedup::Exact;
        let measured: Vec<(Tally, Verdict, Option<Key>)> = batch
            .par_iter()
            .map(|document| {
                let verdict = rules.judge(document);
                let kept = match &verdict {
                    Verdict::Keep => Some(&document.text),
                    Verdict::Rewrite(text) => Some(text),
                    Verdict::Drop { .. } => None,
                };
                let key = kept.filter(|_| wants_key).map(|text| Key::of(text));
                (Tally::of(document), verdict, key)
            })
            .collect();
        let mut kept = Vec::with_capacity(batch.len());
        for (mut document, (before, verdict, key)) in batch.into_iter().zip(measured) {
            let tally = match verdict {
                Verdict::Drop { rule, value, threshold } => {
                    stages.filter.drop(rule, before);
                    self.drop_document(&document, "filter", rule, value, threshold)?;
                    continue;
                }
                Verdict::Rewrite(text) => {
                    document.text = text;
                    Tally::of(&document)
                }
                Verdict::Keep => before,
            };
            stages.filter.rewrite(before, tally);
            let first = key.and_then(|key| self.seen.insert(key, &document.id).map(str::to_owned));
            if let Some(first) = first {
                stages.exact.drop("copy_of", tally);
                self.drop_document(&document, "exact", "copy_of", Value::Text(first), None)?;
                continue;
            }
            stages.exact.keep(tally);
            kept.push(document);
        }
        Ok(kept)
    }

    fn drop_document(
        &mut self,
        document: &Document,
        stage: &str,
        rule: &str,
        value: Value,
        threshold: Option<f64>,
    ) -> Result<()> {
        self.dropped.push(&row(document, stage, rule, value, threshold))
    }
}

/// How a dropped document is written down.
pub(super) fn row(
    document: &Document,
    stage: &str,
    rule: &str,
    value: Value,
    threshold: Option<f64>,
) -> Dropped {
    Dropped {
        id: document.id.clone(),
        stage: stage.to_owned(),
        rule: rule.to_owned(),
        value,
        threshold,
        sample: document.text.chars().take(SAMPLE_CHARS).collect(),
    }
}

/// How a record that is no document is written down; it is entered in the account too.
pub(super) fn row_of_bad(bad: &BadRecord, account: &mut StageAccount) -> Dropped {
    let rule = bad.reason.name();
    account.drop(rule, Tally { documents: 1, bytes: bad.bytes, chars: 0 });
    Dropped {
        id: bad.place.clone(),
        stage: account.stage.to_owned(),
        rule: rule.to_owned(),
        value: Value::Text(bad.detail.clone()),
        threshold: None,
        sample: String::new(),
    }
}

/// The accounts of the stages of a cleaning pass.
struct Stages {
    read: StageAccount,
    filter: StageAccount,
    exact: StageAccount,
}

impl Stages {
    fn new() -> Self {
        Self {
            read: StageAccount::new("read"),
            filter: StageAccount::new("filter"),
            exact: StageAccount::new("exact"),
        }
    }

    /// The accounts of the stages that were asked for.
    fn run(self, dedup: Dedup) -> Vec<StageAccount> {
        let exact = (dedup == Dedup::Exact).then_some(self.exact);
        [self.read, self.filter].into_iter().chain(exact).collect()
    }
}
