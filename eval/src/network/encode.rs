//! Texts to token rows, as lm-evaluation-harness's `_encode_pair` and rolling windows do it. As in
//! `transformers`, the strings of special tokens are those tokens.

use neo_data::tokenizer::Tokenizer;

use super::plan::Row;
use crate::language_model::{Pair, WholeText};
use crate::python::rstrip;
use crate::{Error, Result};

/// A tokenizer and the length of the context.
pub(super) struct Encoder<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) max_len: usize,
}

impl Encoder<'_> {
    /// Context and continuation as one row, cut from the left to what the model can see.
    ///
    /// White space that ends the context belongs to the continuation; the continuation's tokens are
    /// those behind as many as the context alone has.
    pub(super) fn pair(&self, pair: Pair<'_>) -> Result<Row> {
        let context = rstrip(pair.context);
        let continuation = format!("{}{}", &pair.context[context.len()..], pair.continuation);
        let (mut ids, n_targets) = if context.is_empty() {
            self.without_context(&continuation)
        } else {
            let mut ids = self.tokenizer.encode_with_specials(context);
            let whole = self.tokenizer.encode_with_specials(&format!("{context}{continuation}"));
            let targets = whole.get(ids.len()..).unwrap_or_default();
            let n_targets = targets.len();
            ids.extend_from_slice(targets);
            (ids, n_targets)
        };
        if n_targets > self.max_len {
            return Err(Error::Setting(format!(
                "a continuation has {n_targets} tokens, more than the model's context of {}: `{}…`",
                self.max_len,
                continuation.chars().take(40).collect::<String>()
            )));
        }
        let surplus = ids.len().saturating_sub(self.max_len + 1);
        ids.drain(..surplus);
        Ok(Row { ids, n_targets, is_cut: surplus > 0 })
    }

    /// A text after the token that begins texts; one that begins with it serves itself.
    fn without_context(&self, text: &str) -> (Vec<u32>, usize) {
        let prefix = self.tokenizer.bos_id();
        let mut ids = self.tokenizer.encode_with_specials(text);
        if ids.first() != Some(&prefix) {
            ids.insert(0, prefix);
        }
        let n_targets = ids.len() - 1;
        (ids, n_targets)
    }

    /// A whole text with as many of its shots as have room, then cut on the right.
    pub(super) fn whole(&self, text: &WholeText) -> Row {
        let encode = |n| self.tokenizer.encode_with_specials(&text.with_shots(n));
        let mut n_shots = text.shots.len();
        let mut ids = encode(n_shots);
        while ids.len() > self.max_len && n_shots > 0 {
            n_shots -= 1;
            ids = encode(n_shots);
        }
        ids.truncate(self.max_len);
        Row { n_targets: ids.len().saturating_sub(1), ids, is_cut: false }
    }

    /// Windows that cover a text's tokens once; the last one is filled up with context from before.
    pub(super) fn windows(&self, text: &str) -> Vec<Row> {
        let mut ids = vec![self.tokenizer.bos_id()];
        ids.extend(self.tokenizer.encode_with_specials(text));
        let n = ids.len() - 1;
        let window = |start: usize| {
            let end = (start + self.max_len).min(n);
            let ids = ids[end.saturating_sub(self.max_len)..=end].to_vec();
            Row { ids, n_targets: end - start, is_cut: false }
        };
        (0..n).step_by(self.max_len).map(window).collect()
    }
}
