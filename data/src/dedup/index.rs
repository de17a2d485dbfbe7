//! The documents kept so far, as keys in a file, so that new data can be compared with old without reading it.
//!
//! All numbers are little-endian:
//!
//! ```text
//! 8 bytes    NEOINDEX
//! u32        version, 1
//! u32        length of the method's name with its settings, then the name
//! u64        number of documents, then the length of each id as u32, then the ids
//! u64        number of rows, then each: two u64 of key, u32 document, u32 position
//! 32 bytes   SHA-256 of all before
//! ```

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Ids, Key, KeyTable, Row, Verdicts};
use crate::{Error, Result, write::write_file};

const MAGIC: &[u8; 8] = b"NEOINDEX";
const VERSION: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// Ids and keys of documents that stay.
#[derive(Clone, Debug, Default)]
pub struct Index {
    method: String,
    pub(super) ids: Ids,
    pub(super) table: KeyTable,
}

impl Index {
    /// The documents that verdicts leave as they are.
    pub(super) fn of(method: String, verdicts: &Verdicts, table: &KeyTable) -> Self {
        let (mut ids, mut kept) = (Ids::default(), KeyTable::default());
        let all = 0..verdicts.ids().len() as u32;
        let numbers: Vec<Option<u32>> = all
            .map(|document| {
                let stays = verdicts.of(document).is_empty();
                stays.then(|| ids.push(verdicts.ids().get(document)))
            })
            .collect();
        for row in table.rows() {
            if let Some(document) = numbers[row.document as usize] {
                kept.push(Row { document, ..*row });
            }
        }
        Self { method, ids, table: kept }
    }

    /// Number of documents.
    pub fn n_documents(&self) -> usize {
        self.ids.len()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.method.len() as u32).to_le_bytes());
        bytes.extend(self.method.as_bytes());
        bytes.extend((self.ids.len() as u64).to_le_bytes());
        let ids = || (0..self.ids.len() as u32).map(|document| self.ids.get(document));
        ids().for_each(|id| bytes.extend((id.len() as u32).to_le_bytes()));
        ids().for_each(|id| bytes.extend(id.as_bytes()));
        bytes.extend((self.table.n_rows() as u64).to_le_bytes());
        for row in self.table.rows() {
            bytes.extend(row.key.0.to_le_bytes());
            bytes.extend(row.key.1.to_le_bytes());
            bytes.extend(row.document.to_le_bytes());
            bytes.extend(row.position.to_le_bytes());
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        write_file(path, &bytes)
    }

    /// Reads the file that a method's keys are in.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds keys of another method or of other settings.
    pub fn read(path: &Path, method: &str) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let malformed = |problem: String| Error::Malformed { path: path.to_owned(), problem };
        let index = parse(&bytes).map_err(|problem| malformed(problem.to_owned()))?;
        match index.method == method {
            true => Ok(index),
            false => {
                Err(malformed(format!("keys of `{}`, expected those of `{method}`", index.method)))
            }
        }
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<Index, &'static str> {
    const DAMAGED: &str = "not a whole index of kept documents";
    let content = bytes.len().checked_sub(DIGEST_BYTES).ok_or(DAMAGED)?;
    let (content, digest) = bytes.split_at(content);
    let mut input = Input { bytes: content };
    if input.take(MAGIC.len()) != Some(MAGIC) {
        return Err("not an index of kept documents");
    }
    if input.number() != Some(VERSION) {
        return Err("an index of another version, expected 1");
    }
    if Sha256::digest(content).as_slice() != digest {
        return Err(DAMAGED);
    }
    input.index().filter(|_| input.bytes.is_empty()).ok_or(DAMAGED)
}

/// Bytes not read yet.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(n)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.as_array()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.as_array()?))
    }

    fn text(&mut self, n_bytes: usize) -> Option<&'a str> {
        std::str::from_utf8(self.take(n_bytes)?).ok()
    }

    fn index(&mut self) -> Option<Index> {
        let n_bytes = self.number()? as usize;
        let method = self.text(n_bytes)?.to_owned();
        let n_documents = usize::try_from(self.long()?).ok()?;
        let mut lengths = Input { bytes: self.take(n_documents.checked_mul(4)?)? };
        let mut ids = Ids::default();
        while let Some(n_bytes) = lengths.number() {
            ids.push(self.text(n_bytes as usize)?);
        }
        let mut table = KeyTable::default();
        for _ in 0..self.long()? {
            let key = Key(self.long()?, self.long()?);
            let (document, position) = (self.number()?, self.number()?);
            if document as usize >= n_documents {
                return None;
            }
            table.push(Row { key, document, position });
        }
        Some(Index { method, ids, table })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Finder, Method, exact::Exact, laws::document},
        *,
    };

    fn index(texts: &[(&str, &str)]) -> Index {
        let mut finder = Finder::new(&Exact);
        for (id, text) in texts {
            let keys = finder.keys(&document(id, text));
            finder.add(id, keys);
        }
        finder.decide_and_index().1
    }

    #[test]
    fn a_written_index_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.index");
        let written = index(&[("b", "x"), ("a", "x"), ("é", "y")]);
        written.write(&path).unwrap();
        let read = Index::read(&path, &Exact.name_with_settings()).unwrap();
        assert_eq!((written.n_documents(), read.n_documents()), (2, 2));
        assert_eq!((read.ids.get(0), read.ids.get(1)), ("a", "é"));
        assert_eq!(read.table.rows(), written.table.rows());
        let error = Index::read(&path, "minhash").unwrap_err().to_string();
        assert!(error.contains("keys of `exact`, expected those of `minhash`"), "{error}");
    }

    #[test]
    fn a_damaged_index_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.index");
        index(&[("a", "x"), ("b", "y")]).write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(parse(&bytes).is_err(), "byte {at}");
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn known_documents_stay_and_new_ones_are_compared_with_them() {
        let mut finder = Finder::new(&Exact).with_index(index(&[("m", "x"), ("n", "y")]));
        for (id, text) in [("a", "x"), ("z", "w"), ("b", "w")] {
            let keys = finder.keys(&document(id, text));
            finder.add(id, keys);
        }
        let (verdicts, index) = finder.decide_and_index();
        let first = |number| verdicts.of(number).first().map(|r| verdicts.ids().get(r.first));
        assert_eq!(verdicts.n_known(), 2);
        assert_eq!([first(2), first(3), first(4)], [Some("m"), Some("b"), None]);
        let ids: Vec<&str> = (0..3).map(|document| index.ids.get(document)).collect();
        assert_eq!((ids, index.n_documents()), (vec!["m", "n", "b"], 3));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = MAGIC.to_vec();
            framed.extend(VERSION.to_le_bytes());
            framed.extend(&bytes);
            framed.extend_from_slice(&Sha256::digest(&framed));
            let _ = parse(&framed);
            let _ = parse(&bytes);
        }
    }
}
