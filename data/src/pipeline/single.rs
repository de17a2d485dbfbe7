//! One stage on one source, without shards: what the verbs of `neo data` do.
//!
//! The same judges and comparisons as in a recipe, on the raw files themselves: nothing is copied before it is judged,
//! and the results are single files. Only what a comparison must note has a work folder, `comparison`, which goes when
//! it is done.

use std::path::Path;

use rayon::prelude::*;

use super::{
    Fate, Kind, SourceAccount, StageAccount,
    batches::Batches,
    deduplicate::Comparison,
    map::Step,
    pass::{Pass, Passed},
    shard::{Place, Shard, empty_account},
    stage::Stage,
};
use crate::{
    Document, Error, Result,
    engine::{Observer, Work},
    read::{Reader, Source, fingerprint},
    write::FileFormat,
};

/// What to do with a source, and where results go.
pub struct Single<'a> {
    /// Folder of the results.
    pub out: &'a Path,
    /// Name of the file of kept documents.
    pub kept: &'a str,
    /// Form of the files.
    pub format: FileFormat,
    /// Memory for comparing documents; more spills to disk.
    pub memory_bytes: usize,
    /// Documents kept by earlier runs, where a method can take them into account.
    pub index: Option<&'a Path>,
}

/// Reads a source, does what a stage says, writes the kept documents, `dropped.*` and `changed.*`.
///
/// # Errors
/// A file of the source cannot be used or changed between readings, writing failed, or the observer wants to stop.
pub fn run_single(
    single: &Single<'_>,
    stage: Option<&Stage>,
    source: &Source,
    observer: Observer<'_>,
) -> Result<SourceAccount> {
    let Some(stage) = stage.map(Stage::ready).transpose()? else {
        let settings = serde_json::json!({});
        return single
            .pass("split", settings, source, observer, |batch| Ok(vec![Fate::Keep; batch.len()]));
    };
    match &stage.work {
        Kind::Judge(judge) => {
            let settings = stage.settings.clone();
            let account = single.pass(stage.name, settings, source, observer, |batch| {
                Ok(batch.par_iter().map(|document| judge.judge(document)).collect())
            })?;
            let languages = account.stages.last().into_iter().flat_map(StageAccount::languages);
            languages.filter_map(|l| judge.caveat(l)).for_each(|caveat| observer.warn(&caveat));
            Ok(account)
        }
        Kind::Compare(method) => {
            let shards = [whole(source, observer)?];
            let work = Work::open(&single.out.join("comparison"), observer)?;
            let place = Place {
                work: &work,
                shard_bytes: u64::MAX,
                memory_bytes: single.memory_bytes,
                keeps_intermediates: true,
                format: single.format,
            };
            let (label, settings) = (stage.name, &stage.settings);
            let step = Step { label, number: 1, name: stage.name, settings };
            let (key, method) = (&stage.key, method.as_ref());
            let comparison = Comparison::new(&place, &step, key, method, &shards, single.index)?;
            let verdicts = comparison.decide()?;
            let settings = stage.settings.clone();
            let judge = verdicts.judge(0)?;
            let account = single.pass(stage.name, settings, source, observer, judge)?;
            // Not before the results are there: what it knows is not given out again.
            if let Some(index) = single.index {
                comparison.write_index(index, &verdicts)?;
            }
            work.remove()?;
            Ok(account)
        }
    }
}

impl Single<'_> {
    /// One pass in which `judge` says what becomes of the documents of each batch.
    pub(super) fn pass(
        &self,
        stage: &str,
        settings: serde_json::Value,
        source: &Source,
        observer: Observer<'_>,
        judge: impl FnMut(&[Document]) -> Result<Vec<Fate>>,
    ) -> Result<SourceAccount> {
        let pass = Pass { dir: self.out, kept: self.kept, format: self.format, stage, settings };
        let meter = observer.meter(stage, Reader::open(source)?.progress().1);
        let Passed { read, stage, unread } = pass.run(source, &meter, judge)?;
        if stage.kept.documents == 0 {
            // What looks like a result is one.
            let path = self.out.join(format!("{}.{}", self.kept, self.format.extension()));
            fs_err::remove_file(&path).map_err(Error::io(&path))?;
        }
        Ok(SourceAccount { unread, stages: vec![read, stage], ..empty_account(source) })
    }
}

/// A source as one shard.
fn whole(source: &Source, observer: Observer<'_>) -> Result<Shard> {
    let file_bytes = Reader::open(source)?.progress().1;
    let meter = observer.meter("count", file_bytes);
    let mut batches = Batches::open(source, &meter)?;
    let (mut documents, mut bytes) = (0, 0);
    loop {
        let batch = batches.next_good()?;
        if batch.is_empty() {
            break;
        }
        documents += batch.len() as u64;
        bytes += batch.iter().map(|document| document.text.len() as u64).sum::<u64>();
    }
    let mut shard = Shard::whole(source.clone(), fingerprint(source)?, file_bytes);
    (shard.documents, shard.bytes) = (documents, bytes);
    Ok(shard)
}
