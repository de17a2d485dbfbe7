//! neo's own network as evaluations see it: the [`LanguageModel`] of a model folder.
//!
//! `encode` turns texts into token rows as lm-evaluation-harness does, `plan` finds what rows share
//! and cuts them into batches, `generate` writes text. Batches depend on the requests alone, so a
//! continued evaluation computes the same numbers.

mod encode;
mod generate;
mod plan;

use neo_data::tokenizer::Tokenizer;
use neo_model::Transformer;
use neo_model::branch::{self, Beginning, Branch};
use neo_model::score::TokenScore;
use rayon::prelude::*;

use self::encode::Encoder;
pub use self::plan::Sharing;
use self::plan::{Batch, Plan, Row};
use crate::Result;
use crate::language_model::{Answers, LanguageModel, Pair, Prompt, WholeText};
use crate::metric::choice::LogLikelihood;
use crate::task::Generation;

/// A network with its tokenizer.
pub struct Network<'a> {
    model: &'a Transformer,
    tokenizer: &'a Tokenizer,
    /// Ids that end a text.
    stop_ids: Vec<u32>,
    sharing: Sharing,
    progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl<'a> Network<'a> {
    /// A network that ends texts at `stop_ids` and tells `progress` how many requests of how many
    /// are answered.
    pub fn new(
        model: &'a Transformer,
        tokenizer: &'a Tokenizer,
        stop_ids: Vec<u32>,
        sharing: Sharing,
        progress: &'a (dyn Fn(usize, usize) + Sync),
    ) -> Self {
        Self { model, tokenizer, stop_ids, sharing, progress }
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder { tokenizer: self.tokenizer, max_len: self.model.config.max_seq_len }
    }

    /// Scores rows batch by batch; `done` gets each row's token scores.
    fn score(
        &self,
        rows: &[Row],
        known: &dyn Fn(&[usize]) -> bool,
        done: &mut dyn FnMut(usize, &[TokenScore]) -> Result<()>,
    ) -> Result<()> {
        let plan = Plan::new(rows, self.sharing);
        let mut shared: Option<(usize, Beginning)> = None;
        let mut n_done = 0;
        for batch in &plan.batches {
            let members = batch.rows();
            n_done += members.len();
            if known(&members) {
                continue;
            }
            let root = &plan.roots[batch.root()];
            if shared.as_ref().is_none_or(|(idx, _)| *idx != batch.root()) {
                let empty = Beginning::empty(self.model);
                shared = Some((batch.root(), empty.extended(self.model, &[(0, root)])?));
            }
            let (_, beginning) = shared.as_ref().expect("made just above");
            self.score_batch(rows, batch, root.len(), beginning, done)?;
            (self.progress)(n_done, rows.len());
        }
        Ok(())
    }

    fn score_batch(
        &self,
        rows: &[Row],
        batch: &Batch,
        n_shared: usize,
        beginning: &Beginning,
        done: &mut dyn FnMut(usize, &[TokenScore]) -> Result<()>,
    ) -> Result<()> {
        let extended;
        let (beginning, groups, start) = match batch {
            Batch::Flat { groups, .. } => (beginning, groups, n_shared),
            Batch::Shared { groups, start, .. } => {
                let contexts =
                    groups.iter().map(|group| (0, &rows[group[0]].ids[n_shared..*start]));
                let contexts: Vec<(usize, &[u32])> = contexts.collect();
                extended = beginning.extended(self.model, &contexts)?;
                (&extended, groups, *start)
            }
        };
        let is_shared = matches!(batch, Batch::Shared { .. });
        for part in plan::branches(rows, groups, start, is_shared) {
            let branches: Vec<Branch<'_>> =
                part.iter().map(|branch| branch.borrowed(rows)).collect();
            let scores = branch::score(self.model, beginning, &branches)?;
            for (branch, scores) in part.iter().zip(&scores) {
                for (row, range) in &branch.members {
                    done(*row, &scores[range.clone()])?;
                }
            }
        }
        Ok(())
    }
}

/// How many pairs lose the beginning of their context to a model that sees `max_len` tokens.
///
/// # Errors
/// A continuation that is longer than that.
pub fn count_cut(tokenizer: &Tokenizer, max_len: usize, pairs: &[Pair<'_>]) -> Result<usize> {
    let encoder = Encoder { tokenizer, max_len };
    let rows: Vec<Row> = pairs.par_iter().map(|pair| encoder.pair(*pair)).collect::<Result<_>>()?;
    Ok(rows.iter().filter(|row| row.is_cut).count())
}

impl LanguageModel for Network<'_> {
    fn log_likelihoods(
        &self,
        pairs: &[Pair<'_>],
        answers: &mut Answers<'_, LogLikelihood>,
    ) -> Result<()> {
        let encoder = self.encoder();
        let rows: Vec<Row> =
            pairs.par_iter().map(|pair| encoder.pair(*pair)).collect::<Result<_>>()?;
        let answers = std::cell::RefCell::new(answers);
        let known = |members: &[usize]| answers.borrow().know_all(members.iter().copied());
        self.score(&rows, &known, &mut |row, scores| {
            let sum = scores.iter().map(|score| f64::from(score.log_prob)).sum();
            let greedy = scores.iter().all(|score| score.greedy);
            answers.borrow_mut().set(row, LogLikelihood { sum, greedy })
        })
    }

    fn rolling(&self, texts: &[&str], answers: &mut Answers<'_, f64>) -> Result<()> {
        let encoder = self.encoder();
        let windows: Vec<Vec<Row>> = texts.par_iter().map(|text| encoder.windows(text)).collect();
        let text_of: Vec<usize> =
            windows.iter().enumerate().flat_map(|(text, w)| w.iter().map(move |_| text)).collect();
        let rows: Vec<Row> = windows.iter().flatten().cloned().collect();
        let all_known = answers.know_all(0..texts.len());
        let mut sums = vec![0.0; texts.len()];
        if !all_known {
            self.score(&rows, &|_| false, &mut |row, scores| {
                sums[text_of[row]] +=
                    scores.iter().map(|score| f64::from(score.log_prob)).sum::<f64>();
                Ok(())
            })?;
        }
        sums.into_iter().enumerate().try_for_each(|(text, sum)| answers.set(text, sum))
    }

    fn mean_losses(&self, texts: &[WholeText], answers: &mut Answers<'_, f64>) -> Result<()> {
        let encoder = self.encoder();
        let rows: Vec<Row> = texts.par_iter().map(|text| encoder.whole(text)).collect();
        let answers = std::cell::RefCell::new(answers);
        let known = |members: &[usize]| answers.borrow().know_all(members.iter().copied());
        self.score(&rows, &known, &mut |row, scores| {
            let sum: f64 = scores.iter().map(|score| f64::from(score.log_prob)).sum();
            answers.borrow_mut().set(row, -sum / rows[row].ids.len() as f64)
        })
    }

    fn generate(
        &self,
        prompts: &[Prompt<'_>],
        settings: &Generation,
        answers: &mut Answers<'_, String>,
    ) -> Result<()> {
        self.write_texts(prompts, settings, answers)
    }
}
