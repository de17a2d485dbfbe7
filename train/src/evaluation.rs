//! What a run measures of its model while it trains: held-out text, and the questions of benchmarks if
//! the recipe names some.
//!
//! Nothing of it touches weights, data order or optimizer, so a run is the same with and without. It
//! costs time, which is counted here.

use std::collections::BTreeMap;
use std::time::Duration;

use neo_data::{Language, corpus::Corpus, tokenizer::Tokenizer};
use neo_eval::{
    held_out::{self, HeldOutDocument},
    in_loop::Questions,
    perplexity,
    task::library::Library,
};
use neo_model::Transformer;

use crate::{
    Error, Result,
    recipe::{QuestionSettings, Recipe},
};

/// Share of a run's time beyond which a run that asks questions is told how to ask fewer.
const TOO_LARGE_A_SHARE: f64 = 0.05;

/// Everything that is measured, ready.
pub(crate) struct Evaluation {
    seq_len: usize,
    held_out: Vec<(Language, Vec<HeldOutDocument>)>,
    questions: Option<Questions>,
    spent: Duration,
    has_warned: bool,
}

impl Evaluation {
    /// Reads held-out documents and benchmarks; whatever is wrong with them shows here.
    pub(crate) fn open(recipe: &Recipe, corpus: &Corpus) -> Result<Self> {
        let of_language = |language: Language| {
            let documents = held_out::documents(corpus, language, recipe.eval.max_tokens)?;
            Ok((language, documents))
        };
        let questions = recipe.eval.questions();
        Ok(Self {
            seq_len: recipe.batch.seq_len,
            held_out: held_out::languages(corpus)
                .into_iter()
                .map(of_language)
                .collect::<Result<_>>()?,
            questions: questions.map(|settings| open(&settings, recipe, corpus)).transpose()?,
            spent: Duration::ZERO,
            has_warned: false,
        })
    }

    /// All figures by name.
    pub(crate) fn measure(&self, model: &Transformer) -> Result<BTreeMap<String, f64>> {
        let mut figures = match &self.questions {
            Some(questions) => questions.ask(model)?,
            None => BTreeMap::new(),
        };
        for (language, documents) in &self.held_out {
            let sums = perplexity::held_out(model, documents, self.seq_len)?;
            figures.insert(format!("bpb_{language}"), sums.bits_per_byte());
            figures.insert(format!("loss_{language}"), sums.loss());
        }
        Ok(figures)
    }

    /// Time spent so far.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    /// Counts the time of one evaluation in a run that took `total` so far; says once when a run that
    /// asks questions evaluates too much.
    pub(crate) fn count(&mut self, elapsed: Duration, total: Duration) {
        self.spent += elapsed;
        let share = self.spent.as_secs_f64() / total.as_secs_f64();
        if self.questions.is_some() && share > TOO_LARGE_A_SHARE && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                "evaluating took {:.0} % of the run's time so far; raise `eval.interval_steps`, or \
                 lower `eval.max_docs` or `eval.max_tokens`",
                100.0 * share
            );
        }
    }
}

fn open(settings: &QuestionSettings<'_>, recipe: &Recipe, corpus: &Corpus) -> Result<Questions> {
    let tokenizer = tokenizer(corpus)?;
    let library = Library::built_in()?;
    let selection = library.select_with_paths(settings.tasks, settings.data, None)?;
    let max_len = recipe.model.max_seq_len;
    Ok(Questions::new(selection, tokenizer, settings.max_docs, max_len)?)
}

fn tokenizer(corpus: &Corpus) -> Result<Tokenizer> {
    let dir = corpus.dir();
    if ["tokenizer.model", "tokenizer.json"].iter().any(|name| dir.join(name).exists()) {
        return Ok(Tokenizer::from_path(dir)?);
    }
    Err(Error::Setting(format!(
        "corpus `{}` has no tokenizer.model and no tokenizer.json, which `eval.tasks` needs",
        dir.display()
    )))
}
