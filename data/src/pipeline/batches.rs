//! Documents of a source, some at a time: few enough for memory, enough for all threads.

use super::Limits;
use crate::{
    Document, Error, Result,
    engine::Meter,
    read::{Reader, Record, Source},
};

/// Documents worked on at a time.
const BATCH_DOCUMENTS: usize = 512;
/// Text bytes after which a batch is worked on before it is full.
const BATCH_BYTES: usize = 4 << 20;

/// Reads a source in batches and tells how far it is.
pub(super) struct Batches<'a> {
    reader: Reader,
    meter: &'a Meter<'a>,
    bytes_before: u64,
    n_before: u64,
}

impl<'a> Batches<'a> {
    pub(super) fn open(source: &Source, meter: &'a Meter<'a>) -> Result<Self> {
        Ok(Self { reader: Reader::open(source)?, meter, bytes_before: 0, n_before: 0 })
    }

    /// The next records; none at the end. What was given before counts as done.
    pub(super) fn next(&mut self) -> Result<Vec<Record>> {
        let bytes = self.reader.progress().0;
        self.meter.add(bytes.saturating_sub(self.bytes_before), self.n_before)?;
        self.bytes_before = bytes;
        let (mut batch, mut n_bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_DOCUMENTS && n_bytes < BATCH_BYTES {
            let Some(record) = self.reader.next().transpose()? else { break };
            if let Record::Document(document) = &record {
                n_bytes += document.text.len();
            }
            batch.push(record);
        }
        self.n_before = batch.len() as u64;
        Ok(batch)
    }

    /// The next documents of a file that holds nothing else; none at the end.
    pub(super) fn next_documents(&mut self) -> Result<Vec<Document>> {
        let document = |record| match record {
            Record::Document(document) => Ok(document),
            Record::Bad(bad) => {
                Err(Error::Setting(format!("{} is no document: {}", bad.place, bad.detail)))
            }
        };
        self.next()?.into_iter().map(document).collect()
    }

    /// The next documents, other records left out; none at the end.
    pub(super) fn next_good(&mut self) -> Result<Vec<Document>> {
        loop {
            let records = self.next()?;
            let at_end = records.is_empty();
            let documents = records.into_iter().filter_map(|record| match record {
                Record::Document(document) => Some(document),
                Record::Bad(_) => None,
            });
            let documents: Vec<Document> = documents.collect();
            if at_end || !documents.is_empty() {
                return Ok(documents);
            }
        }
    }

    /// What the source's limits left unread so far.
    pub(super) fn unread(&self) -> Limits {
        self.reader.limits()
    }
}
