//! Amounts: of text, of tokens, of text before and after it was rewritten.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::Document;

/// An amount of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Number of documents; of records in the stage `read`.
    pub documents: u64,
    /// UTF-8 bytes; of bad records the bytes of the record.
    pub bytes: u64,
    /// Unicode code points; 0 for bad records.
    pub chars: u64,
}

/// An amount of tokenized text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTally {
    /// Number of documents.
    pub documents: u64,
    /// UTF-8 bytes.
    pub bytes: u64,
    /// Tokens, the end of each document included.
    pub tokens: u64,
}

/// Documents that were kept in another form than they came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// As they came in.
    pub before: Tally,
    /// As they were kept.
    pub after: Tally,
}

/// What became of the documents of one language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAndDropped {
    /// What went on.
    pub kept: Tally,
    /// What did not.
    pub dropped: Tally,
}

impl Tally {
    /// One document.
    pub fn of(document: &Document) -> Self {
        Self::of_text(&document.text)
    }

    /// One document with this text.
    pub fn of_text(text: &str) -> Self {
        Self { documents: 1, bytes: text.len() as u64, chars: text.chars().count() as u64 }
    }

    /// What is missing of a document that was this before.
    pub(super) fn without(self, rest: Self) -> Self {
        Self {
            documents: self.documents.saturating_sub(rest.documents),
            bytes: self.bytes.saturating_sub(rest.bytes),
            chars: self.chars.saturating_sub(rest.chars),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.chars += other.chars;
    }
}

impl AddAssign for TokenTally {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.tokens += other.tokens;
    }
}

impl AddAssign for Rewritten {
    fn add_assign(&mut self, other: Self) {
        self.before += other.before;
        self.after += other.after;
    }
}

impl AddAssign for KeptAndDropped {
    fn add_assign(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
    }
}
