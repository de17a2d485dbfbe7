//! Before the shuffle: shards of documents to tables of ids and keys.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Comparison;
use crate::{
    Document, Error, Result,
    dedup::{Compares, Key, Sieve},
    engine::{Fingerprint, Meter, Unit, for_each},
    pipeline::{batches::Batches, shard::Shard},
    shuffle::{
        Effort,
        table::{DOCUMENT_KEYS, IDS, PART_KEYS, RANKS, TableReader, TableWriter},
    },
};

/// Name of the file of a unit that holds one table.
pub(super) const TABLE: &str = "table.arrow";
/// Name of the file of keys beside one of ids.
pub(super) const KEYS: &str = "keys.arrow";

impl Comparison<'_, '_> {
    /// The ids of every shard; where whole documents are compared, their keys too, so that texts are read once.
    pub(super) fn ids(&self) -> Result<Vec<Unit<()>>> {
        let wants_keys = matches!(self.method.compares(), Compares::Documents(_));
        let meter = self.meter("ids");
        for_each(self.shards, |index, shard| {
            let key = self.shard_key("ids", index, shard);
            self.place.work.unit(&self.label("ids"), &shard.name, &key, |dir| {
                let mut ids = TableWriter::create(&dir.join(TABLE), IDS)?;
                let mut keys = match wants_keys {
                    true => Some(TableWriter::create(&dir.join(KEYS), DOCUMENT_KEYS)?),
                    false => None,
                };
                self.for_each_batch(index, shard, &meter, |number, batch| {
                    for (number, document) in (number..).zip(batch) {
                        ids.push_with_id([number], &document.id)?;
                    }
                    let Some(keys) = &mut keys else { return Ok(()) };
                    let found: Vec<_> =
                        batch.par_iter().map(|document| self.method.keys(document)).collect();
                    for (number, found) in (number..).zip(found) {
                        found
                            .into_iter()
                            .try_for_each(|(_, Key(hi, lo))| keys.push([hi, lo, number]))?;
                    }
                    Ok(())
                })?;
                ids.finish()?;
                keys.map_or(Ok(()), TableWriter::finish)
            })
        })
    }

    /// The place of every document in the order of ids, by document; known ones come first.
    pub(super) fn ranks(&self, ids: &[Unit<()>]) -> Result<(Vec<u32>, Effort)> {
        let key = Fingerprint::of_all(&ids.iter().map(Unit::fingerprint).collect::<Vec<_>>());
        let n_known = self.starts[0];
        let unit = self.place.work.unit(&self.label("ranks"), "all", &key, |dir| {
            let mut ranks: Vec<u32> = (0..self.n_documents() as u32).collect();
            let mut next = n_known as u32;
            let effort = self.ask(self.shuffle.in_order_of_ids(tables(ids)), |[document]| {
                ranks[document as usize] = next;
                next += 1;
                Ok(())
            })?;
            let mut table = TableWriter::create(&dir.join(TABLE), RANKS)?;
            ranks.into_iter().try_for_each(|rank| table.push([rank.into()]))?;
            table.finish().map(|()| effort)
        })?;
        let mut table = TableReader::open(&unit.path(TABLE), RANKS)?;
        let mut ranks = Vec::with_capacity(self.n_documents() as usize);
        while let Some([rank]) = table.next()? {
            ranks.push(rank as u32);
        }
        Ok((ranks, *unit.record()))
    }

    /// The keys of the parts of every document.
    pub(super) fn part_keys(&self, ranks: &[u32]) -> Result<Vec<Unit<()>>> {
        let label = self.label("keys");
        let all = Fingerprint::of_all(self.shards.iter().map(|shard| &shard.content));
        let n_marks = self.n_marks().map_or_else(String::new, |n_marks| n_marks.to_string());
        let keys: Vec<Fingerprint> = (self.shards.iter().enumerate())
            .map(|(index, shard)| {
                let key = self.shard_key("keys", index, shard);
                Fingerprint::of(&[key.as_str(), all.as_str(), &n_marks])
            })
            .collect();
        let is_there = |(shard, key): (&Shard, &Fingerprint)| {
            self.place.work.find::<()>(&label, &shard.name, key).is_some()
        };
        let sieve = match self.shards.iter().zip(&keys).all(is_there) {
            true => None,
            false => self.sieve()?,
        };
        let meter = self.meter("keys");
        for_each(self.shards, |index, shard| {
            self.place.work.unit(&label, &shard.name, &keys[index], |dir| {
                self.write_part_keys(index, shard, ranks, sieve.as_ref(), &meter, dir)
            })
        })
    }

    fn write_part_keys(
        &self,
        index: usize,
        shard: &Shard,
        ranks: &[u32],
        sieve: Option<&Sieve>,
        meter: &Meter<'_>,
        dir: &Path,
    ) -> Result<()> {
        let mut table = TableWriter::create(&dir.join(TABLE), PART_KEYS)?;
        self.for_each_batch(index, shard, meter, |number, batch| {
            let keys_of = |document: &Document| match sieve {
                Some(sieve) => self.method.sifted_keys(document, sieve),
                None => self.method.keys(document),
            };
            let found: Vec<_> = batch.par_iter().map(keys_of).collect();
            for (number, found) in (number..).zip(found) {
                let rank = u64::from(ranks[number as usize]) << 32;
                for (position, Key(hi, lo)) in found {
                    table.push([hi, lo, rank | u64::from(position), number])?;
                }
            }
            Ok(())
        })?;
        table.finish()
    }

    /// What the marks of all documents were noted in, where the method has many keys.
    fn sieve(&self) -> Result<Option<Sieve>> {
        let Some(n_marks) = self.n_marks() else { return Ok(None) };
        let (sieve, meter) = (Sieve::new(n_marks), self.meter("sieve"));
        for_each(self.shards, |index, shard| {
            self.for_each_batch(index, shard, &meter, |_, batch| {
                batch.par_iter().for_each(|document| {
                    self.method.marks(document).into_iter().for_each(|mark| sieve.note(mark));
                });
                Ok(())
            })
        })?;
        Ok(Some(sieve))
    }

    /// Marks that a sieve has room for, in no more than half of the memory.
    fn n_marks(&self) -> Option<u64> {
        let n_marks = self.method.n_marks(self.shards.iter().map(|shard| shard.bytes).sum())?;
        Some(n_marks.min(self.place.memory_bytes as u64 / 2 / Sieve::BYTES_PER_KEY))
    }

    /// Identity of a table of a shard: documents are numbered through all shards.
    fn shard_key(&self, what: &str, index: usize, shard: &Shard) -> Fingerprint {
        let start = self.starts[index].to_string();
        Fingerprint::of(&[what, self.stage.as_str(), &start, shard.content.as_str()])
    }

    fn meter(&self, what: &str) -> Meter<'_> {
        let bytes = self.shards.iter().map(|shard| shard.file_bytes).sum();
        self.place.work.observer().meter(&format!("{}: {what}", self.step.label), bytes)
    }

    /// Goes through the documents of a shard; each batch comes with the number of its first.
    fn for_each_batch(
        &self,
        index: usize,
        shard: &Shard,
        meter: &Meter<'_>,
        mut handle: impl FnMut(u64, &[Document]) -> Result<()>,
    ) -> Result<()> {
        let mut batches = Batches::open(shard.input()?, meter)?;
        let mut number = self.starts[index];
        loop {
            let batch = batches.next_good()?;
            if batch.is_empty() {
                break;
            }
            handle(number, &batch)?;
            number += batch.len() as u64;
        }
        let expected = self.starts[index + 1];
        match number == expected {
            true => Ok(()),
            false => {
                let problem = format!("the files of `{}` changed while they were read", shard.name);
                Err(Error::Setting(problem))
            }
        }
    }
}

/// The tables of units that hold one.
pub(super) fn tables<T>(units: &[Unit<T>]) -> Vec<PathBuf> {
    units.iter().map(|unit| unit.path(TABLE)).collect()
}

/// The keys of units that hold ids and keys.
pub(super) fn document_keys<T>(units: &[Unit<T>]) -> Vec<PathBuf> {
    units.iter().map(|unit| unit.path(KEYS)).collect()
}
