//! Removing copies: MAP-Neo's methods, one file each.
//!
//! A [`Method`] that looks across documents works in three steps, so that texts are read twice and never
//! held: [`Method::keys`] turns a text into rows of 24 bytes, [`Method::decide`] settles which parts are
//! repeats once all rows are there, [`Method::apply`] takes them out when the text comes by again. A document
//! with the smaller id is before another, so neither order nor files of the input matter.
//! [`Finder`] gathers keys and settles; `pipeline` goes over the files. A [`Sieve`] keeps rows few where keys are
//! many, an [`Index`] remembers the documents of earlier runs.
//!
//! [`words`] is the exception: it decides at once, in reading order, within the cleaning pass.

pub mod components;
pub mod exact;
mod finder;
mod index;
pub mod lines;
pub mod minhash;
pub mod paragraph;
pub mod repair;
mod rows;
mod sieve;
pub mod substring;
pub mod words;

pub use self::{
    finder::{Finder, Verdicts},
    index::Index,
    rows::{Ids, Key, KeyTable, Repeat, Row},
    sieve::Sieve,
};

use serde::Serialize;

/// Documents with fewer characters after paragraphs or substrings were taken out are dropped, as in the
/// original.
pub const MIN_CHARS: usize = 20;

/// Whether the original's quirks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything as the original did it.
    Faithful,
    /// Quirks that lose good text are mended; each method says which.
    Corrected,
}

/// A way to find copies.
pub trait Method: Sync {
    /// Name of the stage in accounts.
    fn name(&self) -> &'static str;

    /// The name with whatever else keys depend on: keys of the same name can be compared.
    fn name_with_settings(&self) -> String {
        self.name().to_owned()
    }

    /// What else its verdicts depend on.
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    /// What it counts when parts of a document are taken out.
    fn part(&self) -> &'static str {
        "documents"
    }

    /// Whether the method compares documents with each other; if not, texts are read once.
    fn compares_documents(&self) -> bool {
        true
    }

    /// Whether keys are so many that a [`Sieve`] should keep out those that occur once.
    fn wants_sieve(&self) -> bool {
        false
    }

    /// The keys of a document's parts and their positions.
    fn keys(&self, document: &crate::Document) -> Vec<(u32, Key)>;

    /// Turns repeated keys into what [`Method::apply`] needs; `ranks` is the order of the documents by id.
    fn decide(&self, repeats: Vec<Repeat>, ranks: &[u32]) -> Vec<Repeat> {
        let _ = ranks;
        repeats
    }

    /// What becomes of a text, given the decided repeats of its document.
    fn apply(&self, text: &str, repeats: &[Repeat]) -> Outcome;
}

/// What becomes of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays as it is.
    Keep,
    /// It goes: another document, whose number this is, has the same.
    CopyOf(u32),
    /// It stays without some of its parts.
    Cut {
        /// What is left.
        text: String,
        /// How many parts were taken out, in the method's own count.
        n_parts: usize,
    },
    /// It goes: it has so few characters, after parts were taken out.
    TooShort(usize),
}

impl Outcome {
    /// What is left of a document that had `n_parts` taken out: dropped when shorter than [`MIN_CHARS`].
    fn of_rest(text: String, n_parts: usize) -> Self {
        let n_chars = text.chars().take(MIN_CHARS).count();
        match (n_chars < MIN_CHARS, n_parts) {
            (true, _) => Self::TooShort(n_chars),
            (false, 0) => Self::Keep,
            (false, _) => Self::Cut { text, n_parts },
        }
    }
}

/// Checks that hold for every method, for the tests of each.
#[cfg(test)]
mod laws {
    use super::*;
    use crate::{Document, Language};

    /// A document with an id and a text.
    pub(super) fn document(id: &str, text: &str) -> Document {
        Document {
            id: id.to_owned(),
            text: text.to_owned(),
            source: "s".to_owned(),
            url: None,
            language: Language::En,
            meta: serde_json::Map::new(),
        }
    }

    /// What a method leaves of some texts, whose ids are `d000`, `d001` and so on: (id, text), by id.
    pub(super) fn left(method: &dyn Method, texts: &[&str]) -> Vec<(String, String)> {
        let documents: Vec<Document> =
            texts.iter().enumerate().map(|(i, text)| document(&format!("d{i:03}"), text)).collect();
        left_of(method, &documents)
    }

    /// The verdicts on documents, found with or without a sieve.
    fn decide(method: &dyn Method, documents: &[Document], sieve: Option<Sieve>) -> Verdicts {
        let mut finder = Finder::new(method);
        if let Some(sieve) = sieve {
            finder = finder.with_sieve(sieve);
        }
        for document in documents {
            let keys = finder.keys(document);
            finder.add(&document.id, keys);
        }
        finder.decide()
    }

    /// What a method leaves of documents, by id; everything that came in is kept or dropped.
    pub(super) fn left_of(method: &dyn Method, documents: &[Document]) -> Vec<(String, String)> {
        let verdicts = decide(method, documents, None);
        // Few places for many keys: most that pass are no repeats.
        let sieve = Sieve::new(40);
        let keys = documents.iter().flat_map(|document| method.keys(document));
        keys.for_each(|(_, key)| sieve.note(key));
        let sieved = decide(method, documents, Some(sieve));
        for number in 0..documents.len() as u32 {
            assert_eq!(sieved.of(number), verdicts.of(number), "with a sieve");
        }
        let mut left = Vec::new();
        let mut n_dropped = 0;
        for (number, document) in documents.iter().enumerate() {
            match method.apply(&document.text, verdicts.of(number as u32)) {
                Outcome::Keep => left.push((document.id.clone(), document.text.clone())),
                Outcome::Cut { text, n_parts } => {
                    assert!(n_parts > 0 && text.len() <= document.text.len());
                    left.push((document.id.clone(), text));
                }
                Outcome::CopyOf(first) => {
                    assert!(verdicts.of(first).is_empty(), "a copy of what is dropped itself");
                    assert_ne!(first as usize, number);
                    n_dropped += 1;
                }
                Outcome::TooShort(_) => n_dropped += 1,
            }
        }
        assert_eq!(left.len() + n_dropped, documents.len());
        left.sort();
        left
    }

    /// Doing it again changes nothing, and neither does another order of the input.
    pub(super) fn check(method: &dyn Method, texts: &[String], shuffled: &[usize]) {
        let documents: Vec<Document> =
            texts.iter().enumerate().map(|(i, text)| document(&format!("d{i:03}"), text)).collect();
        let once = left_of(method, &documents);
        let turned: Vec<Document> = shuffled.iter().map(|&i| documents[i].clone()).collect();
        assert_eq!(left_of(method, &turned), once, "another order");
        let again: Vec<Document> = once.iter().map(|(id, text)| document(id, text)).collect();
        assert_eq!(left_of(method, &again), once, "a second time");
    }
}
