//! Token shards: the ids of many documents in one file, memory-mapped.
//!
//! Written by the tokenize stage, read by the loader, by held-out evaluation and by n-gram models.
//! Which shards make a corpus is `corpus.rs`'s business, what their tokens mean the tokenizer's.
//!
//! # Format, version 1 (all numbers little-endian)
//!
//! `NAME.bin`: the ids of all documents, one after the other, 2 or 4 bytes each, nothing else. By
//! convention of the tokenize stage every document ends with the EOD id.
//!
//! `NAME.idx`:
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | `NEOSHARD` |
//! | 8..12 | u32 format version, 1 |
//! | 12..16 | u32 bytes per id: 2 for up to 65,536 ids, else 4 |
//! | 16..48 | vocabulary hash (SHA-256, `Tokenizer::vocab_hash`) |
//! | 48..56 | u64 vocabulary size; every id is below it |
//! | 56..64 | u64 number of documents `n` |
//! | 64..72 | u64 number of tokens |
//! | then | u64 `[n + 1]` first token of each document, never falling; then the number of tokens |
//! | then | u64 `[n]` UTF-8 bytes of each document's text |
//!
//! The checksum of a shard is the SHA-256 of `NAME.bin` followed by `NAME.idx`.

mod header;
mod mapped;
mod writer;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use self::writer::{ShardSummary, ShardWriter};
use self::{
    header::{HEADER_BYTES, Header, read_u64},
    mapped::Bytes,
};
use crate::{Error, Result};

/// A finished shard, opened for reading. Cheap to read from many threads.
#[derive(Debug)]
pub struct Shard {
    bin_path: PathBuf,
    idx_path: PathBuf,
    ids: Bytes,
    index: Bytes,
    header: Header,
}

impl Shard {
    /// Opens `stem.bin` and `stem.idx` and checks header, lengths and document offsets, not the
    /// ids.
    ///
    /// # Errors
    /// A missing file, or content that is not a shard of this version, of the vocabulary
    /// `vocab_hash` where given.
    pub fn open(stem: &Path, vocab_hash: Option<&str>) -> Result<Self> {
        let (bin_path, idx_path) = (with_suffix(stem, ".bin"), with_suffix(stem, ".idx"));
        let index = Bytes::map(&idx_path)?;
        let header = Header::parse(&idx_path, &index)?;
        if let Some(expected) = vocab_hash {
            let found = hex(&header.vocab_hash);
            expect_equal(&idx_path, "vocabulary hash", expected, found.as_str())?;
        }
        let index_bytes = u128::from(HEADER_BYTES) + 8 * (2 * u128::from(header.n_documents) + 1);
        expect_equal(&idx_path, "length in bytes", &index_bytes, &(index.len() as u128))?;
        let ids = Bytes::map(&bin_path)?;
        let id_bytes = u128::from(header.n_tokens) * u128::from(header.id_bytes);
        expect_equal(&bin_path, "length in bytes", &id_bytes, &(ids.len() as u128))?;
        let shard = Self { bin_path, idx_path, ids, index, header };
        shard.check_offsets()?;
        Ok(shard)
    }

    /// Number of documents.
    pub fn n_documents(&self) -> usize {
        self.header.n_documents as usize // fits: the index, which is longer, is mapped
    }

    /// Number of tokens, EOD included.
    pub fn n_tokens(&self) -> u64 {
        self.header.n_tokens
    }

    /// Number of ids in the vocabulary the shard was written with.
    pub fn vocab_size(&self) -> u64 {
        self.header.vocab_size
    }

    /// Hash of the vocabulary the shard was written with, in hex.
    pub fn vocab_hash(&self) -> String {
        hex(&self.header.vocab_hash)
    }

    /// The ids of a document, its EOD included.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    ///
    /// # Panics
    /// When there are not more than `document` documents, like indexing a slice.
    pub fn document(&self, document: usize) -> Result<Vec<u32>> {
        let (start, end) = (self.document_offset(document), self.document_offset(document + 1));
        let mut ids = vec![0; (end - start) as usize];
        self.read(start, &mut ids)?;
        Ok(ids)
    }

    /// First token of a document; of the document after the last one, the number of tokens.
    ///
    /// # Panics
    /// When there are fewer than `document` documents.
    pub fn document_offset(&self, document: usize) -> u64 {
        assert!(document <= self.n_documents(), "document {document} of {}", self.n_documents());
        self.index_word(document)
    }

    /// UTF-8 bytes of a document's text.
    ///
    /// # Panics
    /// When there are not more than `document` documents.
    pub fn utf8_bytes(&self, document: usize) -> u64 {
        assert!(document < self.n_documents(), "document {document} of {}", self.n_documents());
        self.index_word(self.n_documents() + 1 + document)
    }

    /// Fills `out` with the tokens from `start` on, across documents.
    ///
    /// # Errors
    /// A range past the end, or an id outside the vocabulary.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        let end = start.checked_add(out.len() as u64).filter(|end| *end <= self.n_tokens());
        let Some(end) = end else {
            let range = format!("tokens {start}..+{} asked, {} there", out.len(), self.n_tokens());
            return Err(malformed(&self.bin_path, range));
        };
        let width = self.header.id_bytes;
        let bytes = &self.ids[(start * width) as usize..(end * width) as usize];
        if width == 2 {
            let (ids, _) = bytes.as_chunks::<2>();
            out.iter_mut().zip(ids).for_each(|(id, raw)| *id = u32::from(u16::from_le_bytes(*raw)));
        } else {
            let (ids, _) = bytes.as_chunks::<4>();
            out.iter_mut().zip(ids).for_each(|(id, raw)| *id = u32::from_le_bytes(*raw));
        }
        self.check_ids(start, out)
    }

    /// SHA-256 of both files, to be compared with the one in the corpus manifest.
    pub fn checksum(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(&self.ids[..]);
        hasher.update(&self.index[..]);
        hex(&hasher.finalize())
    }

    /// The index file, for messages.
    pub fn path(&self) -> &Path {
        &self.idx_path
    }

    fn index_word(&self, word: usize) -> u64 {
        read_u64(&self.index, HEADER_BYTES as usize + 8 * word)
    }

    fn check_offsets(&self) -> Result<()> {
        let mut last = 0;
        expect_equal(&self.idx_path, "first document offset", &0, &self.document_offset(0))?;
        for document in 1..=self.n_documents() {
            let offset = self.document_offset(document);
            if offset < last {
                let problem = format!(
                    "document {document} starts at token {offset}, expected {last} or more"
                );
                return Err(malformed(&self.idx_path, problem));
            }
            last = offset;
        }
        expect_equal(&self.idx_path, "last document offset", &self.n_tokens(), &last)
    }

    fn check_ids(&self, start: u64, ids: &[u32]) -> Result<()> {
        let vocab_size = self.vocab_size();
        match ids.iter().position(|id| u64::from(*id) >= vocab_size) {
            None => Ok(()),
            Some(i) => {
                let token = start + i as u64;
                let problem =
                    format!("token {token} has id {}, expected one below {vocab_size}", ids[i]);
                Err(malformed(&self.bin_path, problem))
            }
        }
    }
}

fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(stem);
    name.push(suffix);
    PathBuf::from(name)
}

fn malformed(path: &Path, problem: String) -> Error {
    Error::Malformed { path: path.to_owned(), problem }
}

/// The one form of "this file says x, expected y" for shards and corpora.
pub(crate) fn expect_equal<T: PartialEq + std::fmt::Display + ?Sized>(
    path: &Path,
    what: &str,
    expected: &T,
    found: &T,
) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(malformed(path, format!("{what} is `{found}`, expected `{expected}`")))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn write(stem: &Path, vocab_size: usize, documents: &[Vec<u32>]) -> ShardSummary {
        let mut writer = ShardWriter::create(stem, vocab_size, HASH).unwrap();
        for document in documents {
            writer.push(document, 3 * document.len() as u64).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read_everything(shard: &Shard) -> Result<()> {
        for document in 0..shard.n_documents() {
            shard.document(document)?;
            shard.utf8_bytes(document);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn reads_what_was_written(
            documents in vec(vec(0u32..65_536, 0..40), 0..12),
            vocab_size in prop_oneof![Just(65_536usize), Just(70_000)],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let stem = folder.path().join("a.b");
            let summary = write(&stem, vocab_size, &documents);
            let shard = Shard::open(&stem, Some(HASH)).unwrap();
            prop_assert_eq!(shard.n_documents(), documents.len());
            prop_assert_eq!(summary.tokens, documents.concat().len() as u64);
            prop_assert_eq!(summary.utf8_bytes, 3 * summary.tokens);
            prop_assert_eq!(&summary.sha256, &shard.checksum());
            let id_bytes = if vocab_size > 65_536 { 4 } else { 2 };
            prop_assert_eq!(shard.ids.len() as u64, summary.tokens * id_bytes);
            for (i, document) in documents.iter().enumerate() {
                prop_assert_eq!(&shard.document(i).unwrap(), document);
                prop_assert_eq!(shard.utf8_bytes(i), 3 * document.len() as u64);
            }
            let mut all = vec![0; summary.tokens as usize];
            shard.read(0, &mut all).unwrap();
            prop_assert_eq!(all, documents.concat());
            prop_assert!(shard.read(1, &mut vec![0; summary.tokens as usize]).is_err());
            prop_assert!(shard.read(u64::MAX, &mut [0]).is_err());
            prop_assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
        }

        #[test]
        fn any_bytes_never_panic(
            index in vec(any::<u8>(), 0..200),
            ids in vec(any::<u8>(), 0..64),
            flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in 0usize..40,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let stem = folder.path().join("s");
            fs_err::write(with_suffix(&stem, ".idx"), &index).unwrap();
            fs_err::write(with_suffix(&stem, ".bin"), &ids).unwrap();
            let _ = Shard::open(&stem, None).and_then(|shard| read_everything(&shard));

            write(&stem, 900, &[vec![1, 2, 3], vec![4], vec![899, 0]]);
            let mut index = fs_err::read(with_suffix(&stem, ".idx")).unwrap();
            for (at, value) in flips {
                let at = at.index(index.len());
                index[at] = value;
            }
            index.truncate(index.len() - cut % 10);
            fs_err::write(with_suffix(&stem, ".idx"), &index).unwrap();
            let _ = Shard::open(&stem, None).and_then(|shard| read_everything(&shard));
        }
    }

    /// Writes a good shard, changes one place of one file, and compares the message.
    fn check(suffix: &str, change: impl Fn(&mut Vec<u8>), expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("s");
        write(&stem, 900, &[vec![1, 2, 3], vec![4]]);
        let path = with_suffix(&stem, suffix);
        let mut bytes = fs_err::read(&path).unwrap();
        change(&mut bytes);
        fs_err::write(&path, bytes).unwrap();
        let error =
            Shard::open(&stem, Some(HASH)).and_then(|shard| read_everything(&shard)).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}`: {expected}", path.display()));
        assert!(error.is_input());
    }

    #[test]
    fn wrong_files_are_named_with_expected_and_found() {
        check(".idx", |b| b.truncate(71), "71 bytes, expected a header of 72 or more");
        check(".idx", |b| b[0] = b'X', "starts with `XEOSHARD`, expected `NEOSHARD`");
        check(".idx", |b| b[8] = 2, "version is `2`, expected `1`");
        check(".idx", |b| b[12] = 4, "bytes per id is `4`, expected `2`");
        let other = format!("ff{}", &HASH[2..]);
        check(
            ".idx",
            |b| b[16] = 0xff,
            &format!("vocabulary hash is `{other}`, expected `{HASH}`"),
        );
        check(".idx", |b| b[56] = 3, "length in bytes is `112`, expected `128`");
        check(
            ".idx",
            |b| b[63] = 0xff,
            "length in bytes is `112`, expected `293994983674745978992`",
        );
        check(".idx", |b| b[72] = 1, "first document offset is `1`, expected `0`");
        check(".idx", |b| b[80] = 9, "document 2 starts at token 4, expected 9 or more");
        check(".idx", |b| b[88] = 5, "last document offset is `5`, expected `4`");
        check(".bin", |b| b.truncate(7), "length in bytes is `7`, expected `8`");
        check(".bin", |b| b[5] = 0xff, "token 2 has id 65283, expected one below 900");
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_refused_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(&folder.path().join("s"), 10, HASH).unwrap();
        let error = writer.push(&[9, 10], 1).unwrap_err();
        assert_eq!(error.to_string(), "token id 10 is not below the vocabulary size 10");
        drop(writer);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
        assert!(ShardWriter::create(&folder.path().join("s"), 10, "12").is_err());
    }
}
