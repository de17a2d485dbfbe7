//! One pass over documents: each is judged, and written where it belongs.
//!
//! Documents stream through in batches; a batch is judged in parallel and written in order, so the outcome does not
//! depend on the threads. Everything that does not come out as it went in is written down:
//!
//! ```text
//! kept.*      documents that stay, in reading order, as they stay
//! dropped.*   documents that go, and records that are none, with rule, value and threshold
//! changed.*   documents that stay without some of their parts, as they were
//! ```

use std::path::Path;

use super::{Fate, Limits, Reason, StageAccount, Tally, batches::Batches};
use crate::{
    Document, Result,
    engine::Meter,
    filter::Limit,
    personal::Masked,
    read::{BadRecord, Record, Source, split::split},
    write::{Dropped, FileFormat, Value, Writer},
};

/// Characters of a dropped document that are kept for its reader.
const SAMPLE_CHARS: usize = 200;

/// Where a pass writes and what it is called.
pub(super) struct Pass<'a> {
    /// Folder of the files.
    pub(super) dir: &'a Path,
    /// Name of the file of kept documents.
    pub(super) kept: &'a str,
    /// Form of the files.
    pub(super) format: FileFormat,
    /// Name of the stage.
    pub(super) stage: &'a str,
    /// Its settings, for the account.
    pub(super) settings: serde_json::Value,
}

/// What a pass counted.
pub(super) struct Passed {
    /// Records read.
    pub(super) read: StageAccount,
    /// Documents judged.
    pub(super) stage: StageAccount,
    /// What the source's limits left unread.
    pub(super) unread: Limits,
}

impl Pass<'_> {
    /// Reads a source to its end; `judge` is given batch after batch and says what becomes of each document.
    ///
    /// # Errors
    /// A file cannot be read or written, the observer wants to stop, or judging fails.
    pub(super) fn run(
        &self,
        source: &Source,
        meter: &Meter<'_>,
        mut judge: impl FnMut(&[Document]) -> Result<Vec<Fate>>,
    ) -> Result<Passed> {
        let mut batches = Batches::open(source, meter)?;
        let mut output = Output::create(self, source)?;
        loop {
            let batch = output.read_batch(&mut batches, source)?;
            if batch.is_empty() {
                return output.finish(batches.unread());
            }
            let fates = judge(&batch)?;
            for (document, fate) in batch.into_iter().zip(fates) {
                output.push(document, fate)?;
            }
        }
    }
}

/// Cuts a document to the size that its source asks for.
pub(super) fn cut_to_size(document: Document, source: &Source) -> Vec<Document> {
    match source.split_chars {
        Some(max_chars) => split(document, max_chars),
        None => vec![document],
    }
}

/// How a record that is no document is written down.
pub(super) fn row_of_bad(bad: &BadRecord) -> Dropped {
    Dropped {
        id: bad.place.clone(),
        stage: "read".to_owned(),
        rule: bad.reason.name().to_owned(),
        value: Value::Text(bad.detail.clone()),
        relation: None,
        threshold: None,
        sample: String::new(),
    }
}

/// How a document that does not stay as it is is written down.
fn row(document: &Document, stage: &str, reason: &Reason<'_>) -> Dropped {
    Dropped {
        id: document.id.clone(),
        stage: stage.to_owned(),
        rule: reason.rule.to_owned(),
        value: reason.value.clone(),
        relation: reason.limit.map(|limit| limit.relation().to_owned()),
        threshold: reason.limit.map(Limit::value),
        sample: document.text.chars().take(SAMPLE_CHARS).collect(),
    }
}

/// The files and the accounts of a pass.
struct Output<'a> {
    pass: &'a Pass<'a>,
    kept: Writer<Document>,
    dropped: Writer<Dropped>,
    changed: Writer<Dropped>,
    read: StageAccount,
    stage: StageAccount,
}

impl<'a> Output<'a> {
    fn create(pass: &'a Pass<'a>, source: &Source) -> Result<Self> {
        Ok(Self {
            kept: Writer::create(pass.dir, pass.kept, pass.format)?,
            dropped: Writer::create(pass.dir, "dropped", pass.format)?,
            changed: Writer::create(pass.dir, "changed", pass.format)?,
            read: StageAccount::new("read", serde_json::json!(source)),
            stage: StageAccount::new(pass.stage, pass.settings.clone()),
            pass,
        })
    }

    /// The next documents, cut to size; bad records are written down. Empty at the end only.
    fn read_batch(&mut self, batches: &mut Batches<'_>, source: &Source) -> Result<Vec<Document>> {
        loop {
            let records = batches.next()?;
            let at_end = records.is_empty();
            let mut documents = Vec::with_capacity(records.len());
            for record in records {
                match record {
                    Record::Document(document) => {
                        self.read.keep(&document, Tally::of(&document));
                        documents.extend(cut_to_size(document, source));
                    }
                    Record::Bad(bad) => {
                        self.read.drop_bad(&bad, source);
                        self.dropped.push(&row_of_bad(&bad))?;
                    }
                }
            }
            if at_end || !documents.is_empty() {
                return Ok(documents);
            }
        }
    }

    fn push(&mut self, mut document: Document, fate: Fate) -> Result<()> {
        let before = Tally::of(&document);
        match fate {
            Fate::Keep => self.stage.keep(&document, before),
            Fate::Rewrite(text) => {
                document.text = text;
                self.stage.rewrite(&document, before, Tally::of(&document));
            }
            Fate::Mask(Masked { text, counts }) => {
                document.text = text;
                self.stage.mask(&counts);
                self.stage.rewrite(&document, before, Tally::of(&document));
            }
            Fate::Cut { text, rule, value } => {
                let reason = Reason { rule: &rule, value, limit: None };
                self.changed.push(&row(&document, self.pass.stage, &reason))?;
                let original = std::mem::replace(&mut document.text, text);
                self.stage.cut(&document, &original, &reason);
            }
            Fate::Drop { rule, value, limit } => {
                let reason = Reason { rule: &rule, value, limit };
                self.stage.drop(&document, before, &reason);
                return self.dropped.push(&row(&document, self.pass.stage, &reason));
            }
        }
        self.kept.push(&document)
    }

    fn finish(self, unread: Limits) -> Result<Passed> {
        self.dropped.finish()?;
        self.changed.finish()?;
        // Last, so that documents are there only when all the rest is.
        self.kept.finish()?;
        Ok(Passed { read: self.read, stage: self.stage, unread })
    }
}
