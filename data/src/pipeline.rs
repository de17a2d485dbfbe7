//! From a data recipe to a corpus folder: read, every stage of the recipe, hold out, tokenize, everything counted.
//!
//! [`run`] calls the stages in order. Documents go from stage to stage in shards; a shard is a unit of the engine's
//! work folder, so that a run that was killed goes on where it was, a changed setting is felt from its stage on, and a
//! second run finds nothing to do. Text streams through; neither threads nor the size of shards nor memory change the
//! result. What a stage decides is in its own module; this file knows their order and where results lie:
//!
//! ```text
//! out/data_recipe.toml            the recipe as used
//! out/account.json                what went in, what was kept, what was dropped by which rule
//! out/documents/SOURCE-00000.*    kept documents
//! out/dropped/STAGE/SOURCE-00000.*  every dropped document with rule, value, threshold and sample
//! out/changed/STAGE/SOURCE-00000.*  documents that stay without some of their parts
//! out/corpus/                     token shards, corpus.json, tokenizer
//! out/work/                       the engine's; the results above are links into it
//! ```

mod account;
mod batches;
mod decontaminate;
mod deduplicate;
mod ingest;
mod map;
mod milestone;
mod pass;
mod recipe;
mod shard;
mod single;
mod stage;
mod tokenize;

use std::{collections::BTreeSet, path::Path};

pub use self::account::{
    Account, KeptAndDropped, Lengths, Reason, Reservoir, Rewritten, SAMPLE_CHARS, SAMPLE_DOCUMENTS,
    Sample, Shuffled, SourceAccount, StageAccount, Tally, TokenTally,
};
pub use self::decontaminate::decontaminate;
pub use self::recipe::{EngineSettings, Output, Recipe, TokenizerSource};
pub use self::single::{Single, run_single};
pub use self::stage::{Dedup, Fate, Filter, Judge, Kind, Ready, Stage};
pub use self::tokenize::tokenize;
use self::{
    map::Step,
    milestone::Milestone,
    recipe::ReadyTokenizer,
    shard::{Flow, Place},
};
use crate::{
    Error, Language, Result,
    corpus::CorpusManifest,
    engine::{Observer, Publication, Unit, Work, publish},
    read::Limits,
    toml_file,
    write::write_file,
};

/// What a run found and did.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What became of every document.
    pub account: Account,
    /// Units of work that this run did; what earlier runs did is left out. 0: nothing was left to do.
    pub n_made: u64,
}

/// Makes a corpus folder from a recipe, below `out`, and tells what became of every document.
///
/// # Errors
/// A recipe that makes no sense, input that cannot be read, a failed write, that another run is at work in `out`, that
/// the observer wants to stop, or that no document is left; the account on disk then tells where they went.
pub fn run(recipe: &Recipe, out: &Path, observer: Observer<'_>) -> Result<Done> {
    recipe.validate()?;
    // A tokenizer or a word list that cannot be read should not be found out after hours of reading.
    let tokenizer = recipe.tokenizer.ready()?;
    let stages = recipe.stage.iter().enumerate();
    let ready = |(index, stage): (usize, &Stage)| stage.ready().map_err(|e| e.in_stage(index));
    let stages = stages.map(ready).collect::<Result<Vec<Ready>>>()?;
    let work = Work::open(&out.join("work"), observer)?;
    write_file(&out.join("data_recipe.toml"), toml_file::to_string(recipe)?.as_bytes())?;
    let place = Place {
        work: &work,
        shard_bytes: recipe.engine.shard_bytes,
        memory_bytes: recipe.engine.memory_bytes as usize,
        keeps_intermediates: recipe.engine.keep_intermediates,
        format: recipe.output.format,
    };
    let plan = Plan { recipe, stages: &stages, tokenizer: &tokenizer, out };
    let made = match plan.make(&place) {
        // A stage was changed whose documents are gone: they are made once more.
        Err(Error::Spent { .. }) => {
            work.want_all();
            plan.make(&place)
        }
        made => made,
    };
    let (account, n_published) = made?;
    work.sweep()?;
    warn_of_gaps(&account, &observer);
    Ok(Done { account, n_made: work.n_made() + n_published as u64 })
}

/// A recipe that is ready to run, and where its results go.
struct Plan<'a> {
    recipe: &'a Recipe,
    stages: &'a [Ready],
    tokenizer: &'a ReadyTokenizer<'a>,
    out: &'a Path,
}

impl Plan<'_> {
    /// Does everything that is not there yet; returns the account and how many results got or lost their names.
    fn make(&self, place: &Place<'_>) -> Result<(Account, usize)> {
        let flow = clean(place, self.recipe, self.stages)?;
        let mut account = account(self.recipe, &flow);
        account.write(self.out)?;
        if account.is_empty() {
            return Err(Error::Setting(account.where_everything_went()));
        }
        let trained;
        let tokenizer = match self.tokenizer {
            ReadyTokenizer::Loaded(tokenizer) => tokenizer.as_ref(),
            ReadyTokenizer::ToTrain(settings) => {
                let milestone = Milestone::begin(place.work, "train tokenizer");
                trained = tokenize::train(place, settings, &flow)?;
                milestone.pass(&flow);
                &trained
            }
        };
        let milestone = Milestone::begin(place.work, "tokenize");
        let corpus = tokenize::corpus(place, tokenizer, &flow)?;
        milestone.pass(&flow);
        account.add_tokens(corpus.record());
        account.write(self.out)?;
        // What is published must be there, also where a shorter recipe makes another stage the last.
        flow.shards.iter().try_for_each(|shard| shard.input().map(drop))?;
        let n_published = publish(place.work, self.out, &results(&flow, &corpus))?;
        Ok((account, n_published))
    }
}

/// Reads the sources and sends them through the stages.
fn clean(place: &Place<'_>, recipe: &Recipe, stages: &[Ready]) -> Result<Flow> {
    let milestone = Milestone::begin(place.work, ingest::LABEL);
    let mut flow = ingest::run(place, &recipe.source)?;
    milestone.reach(&flow, 0);
    for (number, stage) in (1..).zip(stages) {
        let label = format!("{number}-{}", stage.name);
        let step = Step { label: &label, number, name: stage.name, settings: &stage.settings };
        let milestone = Milestone::begin(place.work, &label);
        match &stage.work {
            Kind::Judge(judge) => {
                map::judge(place, &step, &stage.key, judge.as_ref(), &mut flow)?;
                warn_of_languages(place, judge.as_ref(), &flow, number);
            }
            Kind::Compare(method) => {
                deduplicate::run(place, &step, &stage.key, method.as_ref(), &mut flow)?;
            }
        }
        milestone.reach(&flow, number);
    }
    Ok(flow)
}

/// Tells once what a judge has to say of a language that came to it.
fn warn_of_languages(place: &Place<'_>, judge: &dyn Judge, flow: &Flow, number: usize) {
    let stages = flow.accounts.iter().filter_map(|source| source.stages.get(number));
    let languages: BTreeSet<Language> = stages.flat_map(StageAccount::languages).collect();
    for caveat in languages.into_iter().filter_map(|language| judge.caveat(language)) {
        place.work.observer().warn(&caveat);
    }
}

fn account(recipe: &Recipe, flow: &Flow) -> Account {
    Account {
        recipe: recipe.name.clone(),
        sources: flow.accounts.clone(),
        shuffles: flow.shuffles.clone(),
    }
}

/// The files that a user looks for; the corpus counts with its `corpus.json`, which comes last.
fn results(flow: &Flow, corpus: &Unit<CorpusManifest>) -> Vec<Publication> {
    let mut results = flow.leavings.clone();
    results.extend(flow.shards.iter().filter_map(|shard| shard.publication.clone()));
    results.extend(Publication::of_all(corpus, "corpus", "corpus.json"));
    results
}

fn warn_of_gaps(account: &Account, observer: &Observer<'_>) {
    for source in account.sources.iter().filter(|source| source.kept().documents == 0) {
        observer.warn(&format!("source `{}` has no document left", source.name));
    }
    for language in Language::ALL {
        let of_language = || account.sources.iter().filter(|source| source.language == language);
        let trained: u64 = of_language().map(|source| source.train.documents).sum();
        let held_out: u64 = of_language().map(|source| source.held_out.documents).sum();
        if trained > 0 && held_out == 0 {
            let what = format!(
                "no document of language `{language}` is held out, so it has no held-out figures"
            );
            observer.warn(&what);
        }
    }
}

#[cfg(test)]
mod tests;
