//! Keys of documents or of their parts, and the one question asked of them: which come again?
//!
//! Every method that looks across documents is a map from texts to keys and this question. A row is 24 bytes
//! and knows no text, so that a table may as well lie on disk or in a query engine: sort by
//! (key, document, position), keep the first of every key, return the others.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Identity of a text or of a part of one: 128 bits make a chance collision negligible (below 1e-15 for
/// 10^11 keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64, pub u64);

impl Key {
    /// The first half of the SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let half = |at: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&digest[at..at + 8]);
            u64::from_be_bytes(half)
        };
        Self(half(0), half(8))
    }
}

/// A key and where it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is there.
    pub key: Key,
    /// Number of the document in reading order.
    pub document: u32,
    /// Which part of the document it is, in the method's own count.
    pub position: u32,
}

/// A part that occurred before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repeat {
    /// Number of the document in reading order.
    pub document: u32,
    /// Which part of the document it is.
    pub position: u32,
    /// The document that has it first.
    pub first: u32,
}

/// All rows of a run.
#[derive(Clone, Debug, Default)]
pub struct KeyTable {
    rows: Vec<Row>,
}

impl KeyTable {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Every row but the first of its key, ordered by (document, position). `ranks` gives the documents'
    /// order: a row is before another if its document is, or its position in the same document. The rows
    /// are then sorted by key.
    pub fn repeats(&mut self, ranks: &[u32]) -> Vec<Repeat> {
        self.rows
            .par_sort_unstable_by_key(|row| (row.key, ranks[row.document as usize], row.position));
        let mut repeats = Vec::new();
        for same in self.rows.chunk_by(|a, b| a.key == b.key) {
            let first = same[0].document;
            repeats.extend(same[1..].iter().map(|row| Repeat {
                document: row.document,
                position: row.position,
                first,
            }));
        }
        repeats.par_sort_unstable();
        repeats
    }
}

/// The ids of the documents of a run, in reading order, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    text: String,
    ends: Vec<usize>,
}

impl Ids {
    /// Adds the next document's id; returns the document's number.
    ///
    /// # Panics
    /// At document number 2^32: rows hold numbers of 32 bits.
    pub fn push(&mut self, id: &str) -> u32 {
        let number = u32::try_from(self.ends.len()).expect("fewer than 2^32 documents");
        self.text.push_str(id);
        self.ends.push(self.text.len());
        number
    }

    /// The id of a document.
    pub fn get(&self, document: u32) -> &str {
        let document = document as usize;
        let start = document.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[document]]
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rank of every document in the order of ids; of equal ids the one read first is before, and the
    /// first `n_known` documents are before all others.
    pub fn ranks(&self, n_known: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.par_sort_unstable_by_key(|&document| {
            (document >= n_known, self.get(document), document)
        });
        let mut ranks = vec![0; self.len()];
        for (rank, document) in order.into_iter().enumerate() {
            ranks[document as usize] = rank as u32;
        }
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_start_of_sha_256() {
        // printf abc | sha256sum
        assert_eq!(Key::of(b"abc"), Key(0xba78_16bf_8f01_cfea, 0x4141_40de_5dae_2223));
    }

    #[test]
    fn the_first_by_rank_and_position_is_no_repeat() {
        let mut table = KeyTable::default();
        for (key, document, position) in [(7, 0, 0), (7, 1, 5), (7, 1, 2), (8, 0, 1), (9, 1, 0)] {
            table.push(Row { key: Key(key, 0), document, position });
        }
        assert_eq!(table.n_rows(), 5);
        let repeats = table.repeats(&[1, 0]);
        assert_eq!(
            repeats,
            [
                Repeat { document: 0, position: 0, first: 1 },
                Repeat { document: 1, position: 5, first: 1 }
            ]
        );
    }

    #[test]
    fn ids_are_ranked_as_strings() {
        let mut ids = Ids::default();
        for id in ["b", "a10", "", "a9", "b"] {
            ids.push(id);
        }
        assert_eq!(ids.ranks(0), [3, 1, 0, 2, 4]);
        assert_eq!(ids.ranks(2), [1, 0, 2, 3, 4]);
        assert_eq!((ids.get(0), ids.get(2), ids.get(3), ids.len()), ("b", "", "a9", 5));
    }
}
