//! The cleaning pass over one source: read, cut, filter, deduplicate, batch by batch.
//!
//! Batches are measured in parallel and decided in order, so the outcome does not depend on the threads.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Dedup, Event, Reason, SourceAccount, StageAccount, Tally};
use crate::{
    Document, Result,
    dedup::words::{Key, Seen},
    filter::{Limit, RuleSet, Verdict},
    read::{BadRecord, Reader, Record, Source, split::split},
    write::{Dropped, FileFormat, Value, Writer},
};

/// Documents judged at a time.
const BATCH_DOCUMENTS: usize = 512;
/// Text bytes after which a batch is judged before it is full.
const BATCH_BYTES: usize = 16 << 20;
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
        let mut stages = Stages::new(source, &self.settings);
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
            stages: stages.into_vec(self.settings.dedup),
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
                Some(Record::Bad(bad)) => {
                    account.drop_bad(&bad, source);
                    self.dropped.push(&row_of_bad(&bad))?;
                }
                Some(Record::Document(document)) => {
                    account.keep(&document, Tally::of(&document));
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
                    let reason = Reason { rule, value, limit: threshold };
                    self.leave_out(&document, before, &reason, &mut stages.filter)?;
                    continue;
                }
                Verdict::Rewrite(text) => {
                    document.text = text;
                    let after = Tally::of(&document);
                    stages.filter.rewrite(&document, before, after);
                    after
                }
                Verdict::Keep => {
                    stages.filter.keep(&document, before);
                    before
                }
            };
            let first = key.and_then(|key| self.seen.insert(key, &document.id).map(str::to_owned));
            if let Some(first) = first {
                let reason = Reason { rule: "copy_of", value: Value::Text(first), limit: None };
                self.leave_out(&document, tally, &reason, &mut stages.exact)?;
                continue;
            }
            stages.exact.keep(&document, tally);
            kept.push(document);
        }
        Ok(kept)
    }

    fn leave_out(
        &mut self,
        document: &Document,
        tally: Tally,
        reason: &Reason<'_>,
        account: &mut StageAccount,
    ) -> Result<()> {
        account.drop(document, tally, reason);
        self.dropped.push(&row(document, &account.stage, reason))
    }
}

/// The next records, until there are enough to work on; none at the end.
pub(super) fn read_records(reader: &mut Reader) -> Result<Vec<Record>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
        let Some(record) = reader.next().transpose()? else { break };
        if let Record::Document(document) = &record {
            bytes += document.text.len();
        }
        batch.push(record);
    }
    Ok(batch)
}

/// How a dropped document is written down.
pub(super) fn row(document: &Document, stage: &str, reason: &Reason<'_>) -> Dropped {
    Dropped {
        id: document.id.clone(),
        stage: stage.to_owned(),
        rule: reason.rule.to_owned(),
        value: reason.value.clone(),
        threshold: reason.limit.map(Limit::value),
        sample: document.text.chars().take(SAMPLE_CHARS).collect(),
    }
}

/// How a record that is no document is written down.
pub(super) fn row_of_bad(bad: &BadRecord) -> Dropped {
    Dropped {
        id: bad.place.clone(),
        stage: "read".to_owned(),
        rule: bad.reason.name().to_owned(),
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
    fn new(source: &Source, settings: &CleanSettings) -> Self {
        Self {
            read: StageAccount::new("read", serde_json::json!(source)),
            filter: StageAccount::new("filter", settings.rules.settings().clone()),
            exact: StageAccount::new("exact", serde_json::json!({ "dedup": settings.dedup })),
        }
    }

    /// Those that were run.
    fn into_vec(self, dedup: Dedup) -> Vec<StageAccount> {
        let mut stages = vec![self.read, self.filter];
        if dedup == Dedup::Exact {
            stages.push(self.exact);
        }
        stages
    }
}
