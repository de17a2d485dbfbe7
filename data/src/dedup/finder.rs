//! The first pass of a method: documents go by, their keys stay; then the verdicts.

use super::{Ids, KeyTable, Method, Repeat, Row};
use crate::Document;

/// Gathers the keys of documents.
pub struct Finder<'a> {
    method: &'a dyn Method,
    ids: Ids,
    table: KeyTable,
}

impl<'a> Finder<'a> {
    /// No document yet.
    pub fn new(method: &'a dyn Method) -> Self {
        Self { method, ids: Ids::default(), table: KeyTable::default() }
    }

    /// Notes the next document.
    pub fn add(&mut self, document: &Document) {
        self.add_keys(&document.id, self.method.keys(document));
    }

    /// Notes the next document by keys that [`Method::keys`] gave, perhaps on another thread.
    pub fn add_keys(&mut self, id: &str, keys: Vec<(u32, super::Key)>) {
        let document = self.ids.push(id);
        for (position, key) in keys {
            self.table.push(Row { key, document, position });
        }
    }

    /// Settles what is a repeat among all documents noted.
    pub fn decide(self) -> Verdicts {
        let ranks = self.ids.ranks();
        let mut repeats = self.method.decide(self.table.repeats(&ranks), &ranks);
        repeats.sort_unstable();
        Verdicts { ids: self.ids, repeats }
    }
}

/// What is a repeat, by document.
#[derive(Clone, Debug)]
pub struct Verdicts {
    ids: Ids,
    repeats: Vec<Repeat>,
}

impl Verdicts {
    /// The repeats of a document, by position.
    pub fn of(&self, document: u32) -> &[Repeat] {
        let start = self.repeats.partition_point(|repeat| repeat.document < document);
        let rest = &self.repeats[start..];
        &rest[..rest.partition_point(|repeat| repeat.document == document)]
    }

    /// The ids of the documents, in reading order.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }
}
