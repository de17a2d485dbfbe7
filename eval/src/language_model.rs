//! What an evaluation asks of a model, and answers that arrive one batch at a time.
//!
//! The tasks know nothing else of a model, so that they can be run with a stand-in. Implementations
//! plan their batches from all requests and leave out a batch only when every answer of it is known:
//! an evaluation that continues then computes exactly what the uninterrupted one computed.

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
