//! Removing copies: MAP-Neo's methods, one file each.
//!
//! A [`Method`] says what is compared and how: [`Method::keys`] turns a text into keys of 16 bytes with positions,
//! and equal keys mean equal parts. Which of them go is settled in one way for all, by `shuffle` on tables of keys
//! (the pipeline's `deduplicate` goes over the texts): where whole documents are compared, of those that keys
//! connect the first stays; where parts are, the first of equal ones, and [`Method::take_out`] makes the text without
//! the others. A document with the smaller id comes first, so neither order nor files of the input matter.
//! A [`Sieve`] keeps keys few where a text has many; an index ([`IndexReader`]) remembers the documents of earlier runs.

pub mod components;
pub mod exact;
mod index;
mod key;
pub mod lines;
pub mod minhash;
pub mod paragraph;
pub mod repair;
mod sieve;
pub mod substring;
pub mod words;

pub use self::{
    components::Components,
    index::{IndexReader, IndexWriter},
    key::Key,
    sieve::Sieve,
};
use serde::{Deserialize, Serialize};

/// Documents with fewer characters after paragraphs or substrings were taken out are dropped, as in the
/// original.
pub const MIN_CHARS: usize = 20;

/// Whether the original's quirks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything as the original did it.
    Faithful,
    /// Quirks that lose good text are mended; each method says which.
    Corrected,
}

/// A way to find copies.
pub trait Method: Send + Sync {
    /// Name of the stage in accounts.
    fn name(&self) -> &'static str;

    /// What else its verdicts depend on.
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    /// What it compares.
    fn compares(&self) -> Compares;

    /// What it counts when parts of a document are taken out.
    fn part(&self) -> &'static str {
        "documents"
    }

    /// The keys of a document's parts and their positions.
    fn keys(&self, document: &crate::Document) -> Vec<(u32, Key)>;

    /// About how many marks texts of so many bytes have, where keys are so many that a [`Sieve`] should keep out
    /// those that occur once.
    fn n_marks(&self, text_bytes: u64) -> Option<u64> {
        let _ = text_bytes;
        None
    }

    /// What the sieve notes of a document: a mark for every key, that of equal keys being equal. Fewer marks than keys
    /// are cheaper; marks of different places in a document are noted apart.
    fn marks(&self, document: &crate::Document) -> Vec<Key> {
        self.keys(document).into_iter().map(|(_, key)| key).collect()
    }

    /// The keys of a document without most of those that occur once; the sieve has noted the marks of all.
    fn sifted_keys(&self, document: &crate::Document, sieve: &Sieve) -> Vec<(u32, Key)> {
        let mut keys = self.keys(document);
        keys.retain(|(_, key)| sieve.may_repeat(*key));
        keys
    }

    /// A text without its parts at some positions, which ascend.
    fn take_out(&self, text: &str, repeats: &[u32]) -> Outcome {
        let _ = (text, repeats);
        Outcome::Keep
    }
}

/// What a method compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compares {
    /// Whole documents: of those that keys connect, the first in an order stays.
    Documents(Order),
    /// Parts: of those with equal keys, the one of the first document by id stays, there the first.
    Parts,
    /// Nothing outside a document.
    Nothing,
}

/// Which of two documents is before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// That with the smaller id; of equal ids, the one read first.
    Id,
    /// That read first.
    Reading,
}

/// What becomes of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays as it is.
    Keep,
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

/// What the methods' tests share: the shuffle in a few lines, and checks that hold for every method.
#[cfg(test)]
pub(crate) mod laws {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{Document, Language};

    /// A document with an id and a text.
    pub(crate) fn document(id: &str, text: &str) -> Document {
        Document {
            id: id.to_owned(),
            text: text.to_owned(),
            source: "s".to_owned(),
            url: None,
            language: Language::En,
            meta: serde_json::Map::new(),
            origin: None,
        }
    }

    fn documents(texts: &[impl AsRef<str>]) -> Vec<Document> {
        let numbered = texts.iter().enumerate();
        numbered.map(|(i, text)| document(&format!("d{i:03}"), text.as_ref())).collect()
    }

    /// What a method leaves of some texts, whose ids are `d000`, `d001` and so on: (id, text), by id.
    pub(super) fn left(method: &dyn Method, texts: &[&str]) -> Vec<(String, String)> {
        left_of(method, &documents(texts))
    }

    /// What a method leaves of documents, by id.
    pub(crate) fn left_of(method: &dyn Method, documents: &[Document]) -> Vec<(String, String)> {
        let left = left_by(method, documents, |document| method.keys(document));
        // Few places for many keys: most that pass are no repeats.
        let sieve = Sieve::new(40);
        for document in documents {
            method.marks(document).into_iter().for_each(|mark| sieve.note(mark));
        }
        let sifted = left_by(method, documents, |document| method.sifted_keys(document, &sieve));
        assert_eq!(sifted, left, "with a sieve");
        left
    }

    fn left_by(
        method: &dyn Method,
        documents: &[Document],
        keys: impl Fn(&Document) -> Vec<(u32, Key)>,
    ) -> Vec<(String, String)> {
        let mut ordered: Vec<&Document> = documents.iter().collect();
        if method.compares() != Compares::Documents(Order::Reading) {
            ordered.sort_by_key(|document| &document.id);
        }
        let ranks: Vec<u32> = (0..ordered.len() as u32).collect();
        let mut components = Components::new(&ranks);
        let mut first: BTreeMap<Key, (u32, u32)> = BTreeMap::new();
        let mut repeats = vec![BTreeSet::new(); ordered.len()];
        for (rank, document) in (0..).zip(&ordered) {
            for (position, key) in keys(document) {
                let (before, at) = *first.entry(key).or_insert((rank, position));
                if (before, at) != (rank, position) {
                    components.join(before, rank);
                    repeats[rank as usize].insert(position);
                }
            }
        }
        let mut left = Vec::new();
        for (rank, (document, repeats)) in (0..).zip(ordered.iter().zip(repeats)) {
            let is_copy = matches!(method.compares(), Compares::Documents(_))
                && components.root(rank) != rank;
            let repeats: Vec<u32> = repeats.into_iter().collect();
            match method.take_out(&document.text, &repeats) {
                _ if is_copy => (),
                Outcome::Keep => left.push((document.id.clone(), document.text.clone())),
                Outcome::Cut { text, n_parts } => {
                    assert!(n_parts > 0 && text.len() <= document.text.len());
                    left.push((document.id.clone(), text));
                }
                Outcome::TooShort(_) => (),
            }
        }
        left.sort();
        left
    }

    /// Doing it again changes nothing, and neither does another order of the input.
    pub(super) fn check(method: &dyn Method, texts: &[String], shuffled: &[usize]) {
        let documents = documents(texts);
        let once = left_of(method, &documents);
        if method.compares() != Compares::Documents(Order::Reading) {
            let turned: Vec<Document> = shuffled.iter().map(|&i| documents[i].clone()).collect();
            assert_eq!(left_of(method, &turned), once, "another order");
        }
        let again: Vec<Document> = once.iter().map(|(id, text)| document(id, text)).collect();
        assert_eq!(left_of(method, &again), once, "a second time");
    }
}
