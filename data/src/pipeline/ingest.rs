//! The first stage: raw files to shards of documents.
//!
//! A source is one stream of records; its shards are cut where enough text has come, so they depend on the source
//! alone. A run that was killed reads again from the beginning, but writes only the shards that are missing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Limits, StageAccount, Tally, pass,
    shard::{Flow, Place, Shard, ShardRecord, empty_account},
};
use crate::{
    Document, Result,
    engine::{Fingerprint, Meter, Unit, for_each},
    read::{Reader, Record, Source, fingerprint},
    write::{Dropped, Writer},
};

/// Changes whenever readers make other documents of the same files.
const VERSION: &str = "2";
/// Folder of the stage in accounts and on disk.
pub(super) const LABEL: &str = "0-read";

/// What is noted with an ingested shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ingested {
    shard: ShardRecord,
    /// Records that the shard was made of.
    records: u64,
    /// What the source's limits left unread, in the last shard of a source.
    end: Option<Limits>,
}

/// Reads every source into shards.
///
/// # Errors
/// A source cannot be read, a shard cannot be written, or the observer wants to stop.
pub(super) fn run(place: &Place<'_>, sources: &[Source]) -> Result<Flow> {
    let read = for_each(sources, |_, source| Ingest::new(place, source)?.run())?;
    let (shards, shuffles, leavings) = Default::default();
    let accounts = sources.iter().map(empty_account).collect();
    let mut flow = Flow { shards, accounts, shuffles, leavings };
    for (source, units) in read.iter().enumerate() {
        for (number, unit) in units.iter().enumerate() {
            let name = shard_name(&sources[source], number);
            let Ingested { shard, end, .. } = unit.record();
            flow.shards.push(Shard::of(unit, source, &name, place.format, shard));
            flow.enter(source, 0, shard.account.clone());
            flow.leave(unit, LABEL, &name, &shard.account, place.format);
            flow.accounts[source].unread = end.clone().unwrap_or_default();
        }
    }
    Ok(flow)
}

fn shard_name(source: &Source, number: usize) -> String {
    format!("{}-{number:05}", source.name)
}

/// The reading of one source.
struct Ingest<'a> {
    place: &'a Place<'a>,
    source: &'a Source,
    key: Fingerprint,
    reader: Reader,
    /// The record after the last shard, read to know whether there is one.
    next: Option<Record>,
    /// Records read, that one left out.
    position: u64,
    meter: Meter<'a>,
    bytes_before: u64,
}

impl<'a> Ingest<'a> {
    fn new(place: &'a Place<'a>, source: &'a Source) -> Result<Self> {
        let reader = Reader::open(source)?;
        let settings = serde_json::json!({
            "source": source,
            "shard_bytes": place.shard_bytes,
            "format": place.format,
        });
        let files = fingerprint(source)?;
        let key = Fingerprint::of(&["read", VERSION, &settings.to_string(), files.as_str()]);
        let meter =
            place.work.observer().meter(&format!("read {}", source.name), reader.progress().1);
        let (next, position, bytes_before) = Default::default();
        Ok(Self { place, source, key, reader, next, position, meter, bytes_before })
    }

    fn run(mut self) -> Result<Vec<Unit<Ingested>>> {
        let mut units: Vec<Unit<Ingested>> = Vec::new();
        let mut records = 0;
        while units.last().is_none_or(|unit| unit.record().end.is_none()) {
            let name = shard_name(self.source, units.len());
            let key = Fingerprint::of(&[self.key.as_str(), &units.len().to_string()]);
            let work = self.place.work;
            let unit = work.unit(LABEL, &name, &key, |dir| {
                self.skip_to(records)?;
                self.write_shard(dir)
            })?;
            records += unit.record().records;
            units.push(unit);
        }
        Ok(units)
    }

    /// Passes over the records of shards that were there already.
    fn skip_to(&mut self, record: u64) -> Result<()> {
        while self.position < record && self.advance()?.is_some() {}
        Ok(())
    }

    /// The next record.
    fn advance(&mut self) -> Result<Option<Record>> {
        let record = match self.next.take() {
            Some(record) => Some(record),
            None => self.reader.next().transpose()?,
        };
        self.position += u64::from(record.is_some());
        let bytes = self.reader.progress().0;
        if bytes > self.bytes_before || record.is_none() {
            self.meter.add(bytes - self.bytes_before, 0)?;
            self.bytes_before = bytes;
        }
        Ok(record)
    }

    fn write_shard(&mut self, dir: &Path) -> Result<Ingested> {
        let begin = self.position;
        let mut output = Output::create(self.place, self.source, dir)?;
        while output.record.bytes < self.place.shard_bytes {
            let Some(record) = self.advance()? else { break };
            output.push(record, self.source, &self.meter)?;
        }
        self.next = match self.next.take() {
            Some(record) => Some(record),
            None => self.reader.next().transpose()?,
        };
        let end = self.next.is_none().then(|| self.reader.limits());
        Ok(Ingested { shard: output.finish()?, records: self.position - begin, end })
    }
}

/// The files of a shard while it is written.
struct Output {
    kept: Writer<Document>,
    dropped: Writer<Dropped>,
    record: ShardRecord,
}

impl Output {
    fn create(place: &Place<'_>, source: &Source, dir: &Path) -> Result<Self> {
        let account = StageAccount::new("read", serde_json::json!(source));
        Ok(Self {
            kept: Writer::create(dir, "kept", place.format)?,
            dropped: Writer::create(dir, "dropped", place.format)?,
            record: ShardRecord { documents: 0, bytes: 0, account },
        })
    }

    fn push(&mut self, record: Record, source: &Source, meter: &Meter<'_>) -> Result<()> {
        match record {
            Record::Bad(bad) => {
                self.record.account.drop_bad(&bad, source);
                self.dropped.push(&pass::row_of_bad(&bad))
            }
            Record::Document(document) => {
                self.record.account.keep(&document, Tally::of(&document));
                self.record.bytes += document.text.len() as u64;
                for part in pass::cut_to_size(document, source) {
                    self.record.documents += 1;
                    self.kept.push(&part)?;
                }
                meter.add(0, 1)
            }
        }
    }

    fn finish(self) -> Result<ShardRecord> {
        self.kept.finish()?;
        self.dropped.finish()?;
        Ok(self.record)
    }
}
