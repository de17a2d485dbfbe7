//! A stage over shards: each shard of documents to another, whatever the others hold.

use rayon::prelude::*;

use super::{
    Fate, Judge,
    pass::Pass,
    shard::{Flow, Place, Shard, ShardRecord},
};
use crate::{
    Document, Result,
    engine::{Fingerprint, Meter, for_each},
};

/// Changes whenever the files of a shard get another form.
const VERSION: &str = "2";

/// A stage at its place in a recipe.
pub(super) struct Step<'a> {
    /// Its number and name, by which its units are found.
    pub(super) label: &'a str,
    /// Its place among the stages of an account.
    pub(super) number: usize,
    /// Its name.
    pub(super) name: &'static str,
    /// Its settings, for the account.
    pub(super) settings: &'a serde_json::Value,
}

/// Sends every document past a judge.
///
/// # Errors
/// A shard cannot be read or written, or the observer wants to stop.
pub(super) fn judge(
    place: &Place<'_>,
    step: &Step<'_>,
    stage: &Fingerprint,
    judge: &dyn Judge,
    flow: &mut Flow,
) -> Result<()> {
    let key = |_: usize, shard: &Shard| Fingerprint::of(&[stage.as_str(), shard.content.as_str()]);
    map(place, step, flow, key, |_, _| {
        Ok(|batch: &[Document]| {
            Ok(batch.par_iter().map(|document| judge.judge(document)).collect())
        })
    })
}

/// Makes every shard of a stage that is not there yet; `judge` gives what judges the batches of one.
///
/// # Errors
/// As [`judge`].
pub(super) fn map<J: FnMut(&[Document]) -> Result<Vec<Fate>>>(
    place: &Place<'_>,
    step: &Step<'_>,
    flow: &mut Flow,
    key: impl Fn(usize, &Shard) -> Fingerprint + Sync,
    judge: impl Fn(usize, &Shard) -> Result<J> + Sync,
) -> Result<()> {
    let meter = place.work.observer().meter(step.label, flow.file_bytes());
    let units = for_each(&flow.shards, |index, shard| {
        let form = place.format.extension();
        let key = Fingerprint::of(&["shard", VERSION, form, key(index, shard).as_str()]);
        let unit = place.work.unit(step.label, &shard.name, &key, |dir| {
            let pass = Pass {
                dir,
                kept: "kept",
                format: place.format,
                stage: step.name,
                settings: step.settings.clone(),
            };
            write_shard(&pass, shard, &meter, judge(index, shard)?)
        })?;
        Ok(unit)
    })?;
    let before = std::mem::take(&mut flow.shards);
    if !place.keeps_intermediates {
        before.iter().try_for_each(Shard::spend)?;
    }
    for (shard, unit) in before.iter().zip(&units) {
        let record = unit.record();
        flow.shards.push(Shard::of(unit, shard.source, &shard.name, place.format, record));
        flow.enter(shard.source, step.number, record.account.clone());
        flow.leave(unit, step.label, &shard.name, &record.account, place.format);
    }
    Ok(())
}

fn write_shard(
    pass: &Pass<'_>,
    shard: &Shard,
    meter: &Meter<'_>,
    judge: impl FnMut(&[Document]) -> Result<Vec<Fate>>,
) -> Result<ShardRecord> {
    let passed = pass.run(shard.input()?, meter, judge)?;
    let kept = passed.stage.kept;
    Ok(ShardRecord { documents: kept.documents, bytes: kept.bytes, account: passed.stage })
}
