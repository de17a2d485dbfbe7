//! What the model reached beside what counting reaches and what the generator allows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use neo_data::{
    Language,
    corpus::{Corpus, Split},
};
use neo_eval::{
    HeldOut,
    held_out::{self, HeldOutDocument},
    ngram::NgramModel,
    perplexity,
};
use neo_model::Transformer;
use neo_train::{checkpoint, recipe::Recipe};

use crate::report::{Comparison, ComparisonRow, RowKind};

/// Orders of the n-gram models, with their names.
const NGRAMS: [(usize, &str); 3] = [(1, "unigram"), (2, "bigram"), (5, "5-gram")];

/// Sums of one predictor by language.
type Sums = BTreeMap<Language, HeldOut>;

/// Measures n-gram models of the training tokens, the checkpoint at the end of each phase, and the
/// generator's own entropy, all on the same held-out documents.
///
/// # Errors
/// A corpus or checkpoint that cannot be read, or a device that fails.
pub(super) fn compare(
    corpus: &Corpus,
    recipe: &Recipe,
    run: &Path,
    load: impl Fn(&Path) -> neo_model::Result<Transformer>,
) -> Result<Comparison> {
    let held_out = held_out::languages(corpus)
        .into_iter()
        .map(|language| Ok((language, held_out::documents(corpus, language, 0)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for (order, name) in NGRAMS {
        let model = NgramModel::fit_corpus(order, corpus, &recipe.phases[0].mixture)?;
        let sums = measure(&held_out, |documents| Ok(model.score_documents(documents)))?;
        rows.push(row(name, RowKind::Baseline, &sums));
    }
    let (mut steps, mut measured) = (0, Sums::new());
    for phase in &recipe.phases {
        steps += phase.steps;
        let model = load(&checkpoint_after(run, steps)?)?;
        let sums = measure(&held_out, |documents| {
            Ok(perplexity::held_out(&model, documents, recipe.batch.seq_len)?)
        })?;
        rows.push(row(&format!("neo after `{}`", phase.name), RowKind::Model, &sums));
        measured = sums;
    }
    let entropy = generator_entropy(corpus, &measured);
    rows.extend(entropy.map(|sums| row("generator's entropy", RowKind::Floor, &sums)));
    let held_out_tokens = corpus.sources(Split::HeldOut).map(|source| source.tokens).sum();
    Ok(Comparison { held_out_tokens, rows })
}

/// The checkpoint that a run wrote after so many steps.
///
/// # Errors
/// There is none.
pub(super) fn checkpoint_after(run: &Path, steps: u64) -> Result<PathBuf> {
    let name = format!("step-{steps:08}");
    let checkpoints = checkpoint::list(run)?;
    let found = checkpoints.into_iter().find(|path| path.ends_with(&name));
    found.with_context(|| format!("`{}` has no checkpoint `{name}`", run.display()))
}

fn measure(
    held_out: &[(Language, Vec<HeldOutDocument>)],
    score: impl Fn(&[HeldOutDocument]) -> Result<HeldOut>,
) -> Result<Sums> {
    held_out.iter().map(|(language, documents)| Ok((*language, score(documents)?))).collect()
}

/// The generator's nats in place of a predictor's, over the same tokens and bytes.
///
/// Its documents end with a sentence that only ends documents, so the EOD costs it nothing. `None`
/// where a held-out document does not state its entropy.
fn generator_entropy(corpus: &Corpus, sums: &Sums) -> Option<Sums> {
    let of_language = |(&language, measured): (&Language, &HeldOut)| {
        let sources = corpus.held_out(language);
        let nats = sources.iter().map(|source| source.meta_nats).sum::<Option<f64>>()?;
        Some((language, HeldOut { nats, eod_nats: 0.0, ..*measured }))
    };
    sums.iter().map(of_language).collect()
}

fn row(name: &str, kind: RowKind, sums: &Sums) -> ComparisonRow {
    let mut all = HeldOut::default();
    sums.values().for_each(|of_language| all.add(of_language));
    let bits_per_byte =
        sums.iter().map(|(language, sums)| (language.to_string(), sums.bits_per_byte()));
    ComparisonRow {
        name: name.to_owned(),
        kind,
        nats_per_token: all.loss(),
        bits_per_byte: bits_per_byte.collect(),
    }
}
