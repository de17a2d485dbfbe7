//! The right answer of a document as a continuation of its prompt.

use super::prompt::needs_delimiter;
use super::{Asked, Request, Task, as_text};
use crate::Result;
use crate::language_model::Pair;
use serde_json::Value;

/// A prompt and the answer that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gold {
    /// What stands before.
    pub context: String,
    /// The answer as it continues the context.
    pub continuation: String,
    /// UTF-8 bytes of the answer, without what parts it from the context.
    pub n_bytes: usize,
}

impl Gold {
    /// The question for its log-likelihood.
    pub fn pair(&self) -> Pair<'_> {
        Pair { context: &self.context, continuation: &self.continuation }
    }
}

impl Task {
    /// Right answers of documents that have a text for an answer; the first of several.
    ///
    /// # Errors
    /// A template that does not fit a document, or answers that are all empty.
    pub fn golds(&self, asked: &[Asked]) -> Result<Vec<Gold>> {
        let golds = asked.iter().map(|asked| self.gold(asked));
        let golds: Vec<Gold> = golds.filter_map(Result::transpose).collect::<Result<_>>()?;
        if golds.is_empty() {
            return Err(self.definition.error("none of its documents has an answer"));
        }
        Ok(golds)
    }

    /// As a shot has it: the answer behind the delimiter, or behind the prefix that begins it.
    fn gold(&self, asked: &Asked) -> Result<Option<Gold>> {
        let Some(request) = asked.requests.first() else { return Ok(None) };
        if let Request::LogLikelihood { context, continuation } = request {
            let (context, continuation) = (context.clone(), continuation.clone());
            let n_bytes = continuation.trim_start().len();
            return Ok((n_bytes > 0).then_some(Gold { context, continuation, n_bytes }));
        }
        let document = &self.documents[asked.doc_id];
        let answer = match self.target(document)? {
            Value::Array(several) => several.first().map(as_text).unwrap_or_default(),
            one => as_text(&one),
        };
        if answer.is_empty() {
            return Ok(None);
        }
        let context = request.parts().0.to_owned();
        let prefix = self.prefix(document)?.filter(|prefix| !prefix.is_empty());
        let between = match &prefix {
            None => self.definition.target_delimiter.as_str(),
            Some(prefix) if needs_delimiter(prefix, &answer) => " ",
            Some(_) => "",
        };
        let continuation = format!("{between}{answer}");
        Ok(Some(Gold { context, continuation, n_bytes: answer.len() }))
    }
}
