//! The passes before the last: documents go by, their keys stay; then the verdicts.

use super::{Ids, Index, Key, KeyTable, Method, Repeat, Row, Sieve};
use crate::Document;

/// Gathers the keys of documents.
pub struct Finder<'a> {
    method: &'a dyn Method,
    sieve: Option<Sieve>,
    n_known: u32,
    ids: Ids,
    table: KeyTable,
}

impl<'a> Finder<'a> {
    /// No document yet.
    pub fn new(method: &'a dyn Method) -> Self {
        let (ids, table) = Default::default();
        Self { method, sieve: None, n_known: 0, ids, table }
    }

    /// Looks only at keys that a sieve lets pass, which has noted those of all documents to come.
    pub fn with_sieve(mut self, sieve: Sieve) -> Self {
        self.sieve = Some(sieve);
        self
    }

    /// Takes the documents of an index as known: they come before all others and stay.
    ///
    /// # Panics
    /// When documents were added before.
    pub fn with_index(mut self, index: Index) -> Self {
        assert!(self.ids.is_empty(), "known documents come first");
        self.n_known = index.ids.len() as u32;
        (self.ids, self.table) = (index.ids, index.table);
        self
    }

    /// The keys of a document that may be repeats; any thread may ask.
    pub fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        let mut keys = self.method.keys(document);
        if let Some(sieve) = &self.sieve {
            keys.retain(|&(_, key)| sieve.may_repeat(key));
        }
        keys
    }

    /// Notes the next document and the keys that [`Finder::keys`] gave.
    pub fn add(&mut self, id: &str, keys: Vec<(u32, Key)>) {
        let document = self.ids.push(id);
        for (position, key) in keys {
            self.table.push(Row { key, document, position });
        }
    }

    /// Settles what is a repeat among all documents noted.
    pub fn decide(self) -> Verdicts {
        self.decide_all().0
    }

    /// Settles what is a repeat; also returns the index of all documents that stay whole, known and new.
    pub fn decide_and_index(self) -> (Verdicts, Index) {
        let method = self.method.name_with_settings();
        let (verdicts, table) = self.decide_all();
        let index = Index::of(method, &verdicts, &table);
        (verdicts, index)
    }

    fn decide_all(mut self) -> (Verdicts, KeyTable) {
        let ranks = self.ids.ranks(self.n_known);
        let repeats = self.table.repeats(&ranks);
        let mut repeats = self.method.decide(repeats, &ranks);
        repeats.retain(|repeat| repeat.document >= self.n_known);
        repeats.sort_unstable();
        (Verdicts { n_known: self.n_known, ids: self.ids, repeats }, self.table)
    }
}

/// What is a repeat, by document. Documents are numbered in reading order; those known before, if any, have
/// the first numbers.
#[derive(Clone, Debug)]
pub struct Verdicts {
    n_known: u32,
    ids: Ids,
    repeats: Vec<Repeat>,
}

impl Verdicts {
    /// How many documents were known before.
    pub fn n_known(&self) -> u32 {
        self.n_known
    }

    /// The ids of all documents.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The repeats of a document, by position.
    pub fn of(&self, document: u32) -> &[Repeat] {
        let start = self.repeats.partition_point(|repeat| repeat.document < document);
        let rest = &self.repeats[start..];
        &rest[..rest.partition_point(|repeat| repeat.document == document)]
    }
}
