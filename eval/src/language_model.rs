//! What an evaluation asks of a model, and answers that arrive one batch at a time.
//!
//! The tasks know nothing else of a model, so that they can be run with a stand-in. Implementations
//! plan their batches from all requests and leave out a batch only when every answer of it is known:
//! an evaluation that continues then computes exactly what the uninterrupted one computed.

use std::sync::Arc;

use crate::Result;
use crate::metric::choice::LogLikelihood;
use crate::task::Generation;

/// A question for a log-likelihood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// What stands before; may be empty.
    pub context: &'a str,
    /// What is scored.
    pub continuation: &'a str,
}

/// A question for a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompt<'a> {
    /// What stands before.
    pub context: &'a str,
    /// Which of several repeats this is; sampling depends on it.
    pub repeat: usize,
}

/// A prompt that is judged whole: shots that may be dropped where room is short, and a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeText {
    /// Shots with their answers; the last ones go first.
    pub shots: Arc<Vec<String>>,
    /// Question and answer.
    pub question: String,
}

impl WholeText {
    /// Shots and question, one newline between them.
    pub fn joined(&self) -> String {
        self.with_shots(self.shots.len())
    }

    /// The same with the first `n` shots only.
    pub fn with_shots(&self, n: usize) -> String {
        let parts = self.shots.iter().take(n).chain([&self.question]);
        parts.map(String::as_str).collect::<Vec<&str>>().join("\n")
    }
}

/// Answers to the requests of one kind, some of which may be known.
pub struct Answers<'a, T> {
    slots: Vec<Option<T>>,
    arrived: &'a mut dyn FnMut(usize, &T) -> Result<()>,
}

impl<'a, T> Answers<'a, T> {
    /// Answers known so far by request; `arrived` is told each new one.
    pub fn new(known: Vec<Option<T>>, arrived: &'a mut dyn FnMut(usize, &T) -> Result<()>) -> Self {
        Self { slots: known, arrived }
    }

    /// Whether every request of a batch has its answer.
    pub fn know_all(&self, batch: impl IntoIterator<Item = usize>) -> bool {
        batch.into_iter().all(|request| self.slots[request].is_some())
    }

    /// Sets the answer to a request, unless it is known.
    ///
    /// # Errors
    /// When the answer cannot be kept.
    pub fn set(&mut self, request: usize, answer: T) -> Result<()> {
        if self.slots[request].is_none() {
            (self.arrived)(request, &answer)?;
            self.slots[request] = Some(answer);
        }
        Ok(())
    }

    /// All answers, in the order of the requests.
    ///
    /// # Errors
    /// A request without an answer, which is a mistake of the model's side.
    pub fn into_vec(self) -> Result<Vec<T>> {
        let all: Option<Vec<T>> = self.slots.into_iter().collect();
        all.ok_or_else(|| {
            crate::Error::Setting("the model left a request without an answer".into())
        })
    }
}

/// A model as evaluations see it.
pub trait LanguageModel {
    /// Log-likelihood of each continuation after its context.
    ///
    /// # Errors
    /// A device that fails, or an answer that cannot be kept.
    fn log_likelihoods(
        &self,
        pairs: &[Pair<'_>],
        answers: &mut Answers<'_, LogLikelihood>,
    ) -> Result<()>;

    /// Log-likelihood of each text from its beginning.
    ///
    /// # Errors
    /// A device that fails, or an answer that cannot be kept.
    fn rolling(&self, texts: &[&str], answers: &mut Answers<'_, f64>) -> Result<()>;

    /// Mean loss of each whole text over all its tokens, the first included though it has none.
    ///
    /// # Errors
    /// A device that fails, or an answer that cannot be kept.
    fn mean_losses(&self, texts: &[WholeText], answers: &mut Answers<'_, f64>) -> Result<()>;

    /// A continuation of each context, cut before the first stop string.
    ///
    /// # Errors
    /// A device that fails, or an answer that cannot be kept.
    fn generate(
        &self,
        prompts: &[Prompt<'_>],
        settings: &Generation,
        answers: &mut Answers<'_, String>,
    ) -> Result<()>;
}
