//! What the model is asked for each document, and the hashes that pin it.

use sha2::{Digest, Sha256};

use serde_json::Value;

use super::prompt::Context;
use super::source::hex;
use super::{Output, Task};
use crate::Result;
use crate::python::is_space;

/// One question to the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Log-likelihood of a continuation.
    LogLikelihood {
        /// What stands before.
        context: String,
        /// What is scored.
        continuation: String,
    },
    /// Log-likelihood of a whole text.
    Rolling {
        /// The text.
        text: String,
    },
    /// A text that continues the context.
    Generate {
        /// What stands before.
        context: String,
    },
}

/// The requests of one document, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Index of the document in its split.
    pub doc_id: usize,
    /// Choices first, then their unconditional forms where a metric needs them.
    pub requests: Vec<Request>,
}

impl Request {
    /// The context and the continuation, which is empty for texts and generation.
    pub fn parts(&self) -> (&str, &str) {
        match self {
            Self::LogLikelihood { context, continuation } => (context, continuation),
            Self::Rolling { text } => (text, ""),
            Self::Generate { context } => (context, ""),
        }
    }
}

impl Task {
    /// Requests of the first `limit` documents, or of all.
    ///
    /// # Errors
    /// A template that does not fit a document.
    pub fn requests(&self, limit: Option<usize>) -> Result<Vec<Asked>> {
        let mut drawer = self.sampler.drawer();
        let documents = self.documents.iter().take(limit.unwrap_or(usize::MAX)).enumerate();
        let asked = documents.map(|(doc_id, document)| {
            let context = self.context(document, &mut drawer)?;
            Ok(Asked { doc_id, requests: self.of_document(document, context)? })
        });
        asked.collect()
    }

    fn of_document(&self, document: &super::Document, context: Context) -> Result<Vec<Request>> {
        let one = |context: Context| match context {
            Context::One(text) => Ok(text),
            Context::Each(_) => Err(self.definition.error("several contexts need choices")),
        };
        Ok(match self.definition.output {
            Output::LogLikelihood => {
                let continuation = self.target_text(document)?;
                vec![Request::LogLikelihood { context: one(context)?, continuation }]
            }
            Output::Rolling => vec![Request::Rolling { text: self.target_text(document)? }],
            Output::Generate => vec![Request::Generate { context: one(context)? }],
            Output::Choice => self.choice_requests(document, context)?,
        })
    }

    fn target_text(&self, document: &super::Document) -> Result<String> {
        match self.target(document)? {
            Value::String(text) => Ok(text),
            other => Err(self
                .definition
                .error(format!("`doc_to_target` gives {other}, expected a text"))),
        }
    }

    /// What stands between the context and a choice: nothing where a chat template ends the context,
    /// unless the answer was begun and its beginning ends in no white space.
    fn choice_delimiter(&self) -> &str {
        let begun = self.definition.prefix.as_ref().map_or("", |prefix| prefix.source());
        let is_open = begun.chars().last().is_some_and(|c| !is_space(c));
        match self.conversation.chat.is_none() || is_open {
            true => &self.definition.target_delimiter,
            false => "",
        }
    }

    fn choice_requests(
        &self,
        document: &super::Document,
        context: Context,
    ) -> Result<Vec<Request>> {
        let choices = self.choices(document)?;
        let delimiter = self.choice_delimiter();
        let mut requests: Vec<Request> = match context {
            Context::Each(contexts) => {
                let target = super::as_text(&self.target(document)?);
                let continuation = format!("{delimiter}{target}");
                let ask = |context| Request::LogLikelihood {
                    context,
                    continuation: continuation.clone(),
                };
                contexts.into_iter().map(ask).collect()
            }
            Context::One(context) => choices
                .iter()
                .map(|choice| Request::LogLikelihood {
                    context: context.clone(),
                    continuation: format!("{delimiter}{choice}"),
                })
                .collect(),
        };
        if self.definition.metrics.iter().any(|metric| metric.name == "acc_mutual_info") {
            requests.extend(choices.iter().map(|choice| Request::LogLikelihood {
                context: String::new(),
                continuation: format!("{delimiter}{choice}"),
            }));
        }
        Ok(requests)
    }
}

/// Hash of every request in order: context, 0x1F, continuation, 0x1E.
pub fn requests_sha256(asked: &[Asked]) -> String {
    let mut hash = Sha256::new();
    for request in asked.iter().flat_map(|asked| &asked.requests) {
        let (context, continuation) = request.parts();
        hash.update(context);
        hash.update([0x1f]);
        hash.update(continuation);
        hash.update([0x1e]);
    }
    hex(&hash.finalize())
}

/// Hash of the first document's requests: what a task file pins its prompt with.
pub fn prompt_sha256(asked: &[Asked]) -> String {
    requests_sha256(asked.get(..1).unwrap_or_default())
}
