//! The documents kept so far, as keys in a file, so that new data can be compared with old without reading it.
//!
//! Read and written as a stream; all numbers are little-endian:
//!
//! ```text
//! 8 bytes    NEOINDEX
//! u32        version, 2
//! u32        length of the method's name with its settings, then the name
//!            for each document:
//! u32          length of its id, then the id
//! u32          number of its keys, then each: two u64
//! u32        4294967295
//! 32 bytes   SHA-256 of all before
//! ```

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::Key;
use crate::{Error, Result, pending_file::PendingFile};

const MAGIC: &[u8; 8] = b"NEOINDEX";
const VERSION: u32 = 2;
const DIGEST_BYTES: u64 = 32;
/// Stands where the length of the next id would.
const END: u32 = u32::MAX;
const DAMAGED: &str = "not a whole index of kept documents";

/// Documents of an index, in the order in which they were added.
pub struct IndexReader {
    path: PathBuf,
    input: BufReader<File>,
}

impl IndexReader {
    /// Opens the file that a method's keys are in and checks all of it.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds keys of another method or of other settings.
    pub fn open(path: &Path, method: &str) -> Result<Self> {
        let mut index = Self { path: path.to_owned(), input: open(path)? };
        let mut magic = [0; MAGIC.len()];
        if index.input.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(index.malformed("not an index of kept documents"));
        }
        let version = index.number()?;
        if version != VERSION {
            let problem = format!("an index of version {version}, expected {VERSION}");
            return Err(index.malformed(&problem));
        }
        if !has_right_digest(path)? {
            return Err(index.malformed(DAMAGED));
        }
        let n_bytes = index.number()?;
        let found = index.text(n_bytes)?;
        match found == method {
            true => Ok(index),
            false => {
                let problem = format!("keys of `{found}`, expected those of `{method}`");
                Err(index.malformed(&problem))
            }
        }
    }

    /// The next document's id and keys.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_document(&mut self) -> Result<Option<(String, Vec<Key>)>> {
        let n_bytes = self.number()?;
        if n_bytes == END {
            return Ok(None);
        }
        let id = self.text(n_bytes)?;
        let mut keys = Vec::new();
        for _ in 0..self.number()? {
            keys.push(Key(self.long()?, self.long()?));
        }
        Ok(Some((id, keys)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(self.malformed(DAMAGED)),
        }
    }

    fn number(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self, n_bytes: u32) -> Result<String> {
        let mut bytes = Vec::new();
        let n_read = (&mut self.input).take(n_bytes.into()).read_to_end(&mut bytes);
        match n_read.is_ok_and(|n| n == n_bytes as usize).then(|| String::from_utf8(bytes)) {
            Some(Ok(text)) => Ok(text),
            _ => Err(self.malformed(DAMAGED)),
        }
    }

    fn malformed(&self, problem: &str) -> Error {
        Error::Malformed { path: self.path.clone(), problem: problem.to_owned() }
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).map_err(Error::io(path))
}

/// Whether a file ends with the digest of everything before.
fn has_right_digest(path: &Path) -> Result<bool> {
    let failed = Error::io(path);
    let read = || -> std::io::Result<bool> {
        let file = File::open(path)?;
        let Some(n_bytes) = file.metadata()?.len().checked_sub(DIGEST_BYTES) else {
            return Ok(false);
        };
        let (mut file, mut hash) = (BufReader::with_capacity(1 << 20, file), Sha256::new());
        std::io::copy(&mut (&mut file).take(n_bytes), &mut HashWriter(&mut hash))?;
        let mut digest = [0; DIGEST_BYTES as usize];
        file.read_exact(&mut digest)?;
        Ok(hash.finalize().as_slice() == digest)
    };
    read().map_err(failed)
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes an index, whole or not at all.
pub struct IndexWriter {
    file: PendingFile,
    hash: Sha256,
}

impl IndexWriter {
    /// Begins a file for the keys of a method; one that is there stays until this is finished.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, method: &str) -> Result<Self> {
        let mut index = Self { file: PendingFile::create(path)?, hash: Sha256::new() };
        index.write(MAGIC)?;
        index.write(&VERSION.to_le_bytes())?;
        index.write_text(method)?;
        Ok(index)
    }

    /// Adds a document.
    ///
    /// # Errors
    /// Writing failed.
    pub fn push(&mut self, id: &str, keys: &[Key]) -> Result<()> {
        self.write_text(id)?;
        self.write(&(keys.len() as u32).to_le_bytes())?;
        keys.iter().try_for_each(|Key(high, low)| {
            self.write(&high.to_le_bytes())?;
            self.write(&low.to_le_bytes())
        })
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed.
    pub fn finish(mut self) -> Result<()> {
        self.write(&END.to_le_bytes())?;
        let Self { mut file, hash } = self;
        file.write(&hash.finalize())?;
        file.commit()
    }

    fn write_text(&mut self, text: &str) -> Result<()> {
        self.write(&(text.len() as u32).to_le_bytes())?;
        self.write(text.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.file.write(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(path: &Path) {
        let mut index = IndexWriter::create(path, "exact {}").unwrap();
        index.push("a", &[Key(1, 2), Key(3, u64::MAX)]).unwrap();
        index.push("é", &[]).unwrap();
        index.finish().unwrap();
    }

    fn read(path: &Path, method: &str) -> Result<Vec<(String, Vec<Key>)>> {
        let mut index = IndexReader::open(path, method)?;
        std::iter::from_fn(|| index.next_document().transpose()).collect()
    }

    #[test]
    fn a_written_index_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.index");
        write(&path);
        let documents = read(&path, "exact {}").unwrap();
        let first = ("a".to_owned(), vec![Key(1, 2), Key(3, u64::MAX)]);
        assert_eq!(documents, [first, ("é".to_owned(), vec![])]);
        let error = read(&path, "minhash {}").unwrap_err().to_string();
        assert!(error.contains("keys of `exact {}`, expected those of `minhash {}`"), "{error}");
    }

    #[test]
    fn a_damaged_index_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.index");
        write(&path);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(read(&path, "exact {}").is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, "exact {}").is_err(), "cut at {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("kept.index");
            let mut framed = MAGIC.to_vec();
            framed.extend(VERSION.to_le_bytes());
            framed.extend(&bytes);
            let digest = Sha256::digest(&framed);
            framed.extend_from_slice(&digest);
            std::fs::write(&path, &framed).unwrap();
            let _ = read(&path, "exact {}");
        }
    }
}
