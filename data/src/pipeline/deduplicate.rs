//! A stage that compares documents: texts go by for their keys, a shuffle settles which are repeats, and the texts go
//! by once more to be kept, cut or dropped.
//!
//! Every step is made of units, so a killed run goes on where it was:
//!
//! ```text
//! N-METHOD.ids/SHARD        the id of every document, with its number in reading order
//! N-METHOD.ranks/all        the place of every document in the order of ids
//! N-METHOD.keys/SHARD       the keys of every document or of its parts
//! N-METHOD.verdicts/all     for each shard, which documents or parts are repeats
//! N-METHOD/SHARD            the documents without them
//! ```
//!
//! In memory are a number of 4 bytes for every document, and one more where whole documents are compared; keys and
//! verdicts lie on disk, sorted within the memory that the recipe allows.

mod keys;
mod known;
mod verdicts;

use std::path::Path;

use rayon::prelude::*;

use self::{
    known::Known,
    verdicts::{Slice, Verdict},
};
use super::{
    Fate, Shuffled,
    map::{Step, map},
    shard::{Flow, Place, Shard},
    stage::dedup::fate,
};
use crate::{
    Document, Error, Result,
    dedup::{Compares, Method},
    engine::{Fingerprint, Unit},
    shuffle::{Effort, Shuffle},
    write::Value,
};

/// Removes what a method finds repeated among all documents.
///
/// # Errors
/// A unit cannot be made, a plan fails, or the observer wants to stop.
pub(super) fn run(
    place: &Place<'_>,
    step: &Step<'_>,
    stage: &Fingerprint,
    method: &dyn Method,
    flow: &mut Flow,
) -> Result<()> {
    let verdicts = Comparison::new(place, step, stage, method, &flow.shards, None)?.decide()?;
    flow.shuffles.push(Shuffled { stage: step.label.to_owned(), effort: verdicts.effort });
    let key = |index: usize, shard: &Shard| {
        let verdicts = verdicts.of_shard(index);
        Fingerprint::of(&[stage.as_str(), verdicts.as_str(), shard.content.as_str()])
    };
    map(place, step, flow, key, |index, _| verdicts.judge(index))
}

/// What goes, shard by shard.
pub(super) struct Verdicts<'a> {
    method: &'a dyn Method,
    ids: Vec<Unit<()>>,
    unit: Unit<Effort>,
    effort: Effort,
}

impl Verdicts<'_> {
    /// Identity of what is said of a shard.
    fn of_shard(&self, index: usize) -> Fingerprint {
        self.unit.checksum(&verdicts::file_name(index))
    }

    /// Judges the documents of a shard, which must come in order.
    ///
    /// # Errors
    /// The verdicts cannot be read.
    pub(super) fn judge(
        &self,
        index: usize,
    ) -> Result<impl FnMut(&[Document]) -> Result<Vec<Fate>>> {
        let path = self.unit.path(&verdicts::file_name(index));
        let mut slice = Slice::open(&path, self.method.compares())?;
        Ok(move |batch: &[Document]| apply(self.method, &mut slice, batch))
    }
}

/// What becomes of the next documents of a shard.
fn apply(method: &dyn Method, slice: &mut Slice, batch: &[Document]) -> Result<Vec<Fate>> {
    let verdicts = slice.next(batch.len())?;
    let judge = |(document, verdict): (&Document, Verdict)| match verdict {
        Verdict::CopyOf(first) => {
            Fate::Drop { rule: "copy_of".into(), value: Value::Text(first), limit: None }
        }
        Verdict::Without(parts) => fate(method, &document.text, &parts),
    };
    Ok(batch.par_iter().zip(verdicts).map(judge).collect())
}

/// A method, the documents that it compares, and the engine that does.
pub(super) struct Comparison<'a, 'm> {
    place: &'a Place<'a>,
    step: &'a Step<'a>,
    stage: &'a Fingerprint,
    method: &'m dyn Method,
    shards: &'a [Shard],
    /// Documents of earlier runs, which have the first numbers.
    known: Option<Known>,
    /// The number of the first document of each shard, then the number of all.
    starts: Vec<u64>,
    shuffle: Shuffle,
}

impl<'a, 'm> Comparison<'a, 'm> {
    /// Prepares to compare the documents of shards.
    ///
    /// Documents that an index knows count as read before and kept: copies of them go too. A file that does not exist
    /// yet knows none.
    ///
    /// # Errors
    /// The index cannot be used, or there are too many documents.
    pub(super) fn new(
        place: &'a Place<'a>,
        step: &'a Step<'a>,
        stage: &'a Fingerprint,
        method: &'m dyn Method,
        shards: &'a [Shard],
        index: Option<&Path>,
    ) -> Result<Self> {
        index.map_or(Ok(()), |_| known::check(method))?;
        let known = index.filter(|index| index.exists());
        let known =
            known.map(|index| Known::read(index, method, &place.work.spill())).transpose()?;
        let mut n_documents = known.as_ref().map_or(0, |known| known.documents);
        let mut starts = vec![n_documents];
        for shard in shards {
            n_documents += shard.documents;
            starts.push(n_documents);
        }
        if n_documents > u64::from(u32::MAX) {
            let problem = format!("{n_documents} documents to compare, expected fewer than 2^32");
            return Err(Error::Setting(problem));
        }
        let shuffle = Shuffle::new(place.memory_bytes, &place.work.spill())?;
        Ok(Self { place, step, stage, method, shards, known, starts, shuffle })
    }

    /// Finds what is repeated.
    ///
    /// # Errors
    /// A unit cannot be made, a plan fails, or the observer wants to stop.
    pub(super) fn decide(&self) -> Result<Verdicts<'m>> {
        let ids = self.ids()?;
        let (unit, mut effort) = match self.method.compares() {
            Compares::Documents(order) => self.copies(&ids, order)?,
            Compares::Parts | Compares::Nothing => self.repeats(&ids)?,
        };
        effort += *unit.record();
        Ok(Verdicts { method: self.method, ids, unit, effort })
    }

    /// Folder of the units of a step.
    fn label(&self, what: &str) -> String {
        format!("{}.{what}", self.step.label)
    }

    /// Number of documents.
    fn n_documents(&self) -> u64 {
        self.starts[self.shards.len()]
    }
}
