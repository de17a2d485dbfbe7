//! The writing of a shard: ids go to disk as they come, the index is written last.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{
    header::{Header, id_bytes_of},
    hex, unhex, with_suffix,
};
use crate::{Error, Result, pending_file::PendingFile};

/// What a finished shard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSummary {
    /// Number of documents.
    pub documents: u64,
    /// Number of tokens, EOD included.
    pub tokens: u64,
    /// UTF-8 bytes of all texts.
    pub utf8_bytes: u64,
    /// SHA-256 of `.bin` followed by `.idx`, in hex.
    pub sha256: String,
}

/// Writes a shard. Its files appear under their names only when `finish` succeeds.
#[derive(Debug)]
pub struct ShardWriter {
    bin: PendingFile,
    idx_path: PathBuf,
    hasher: Sha256,
    header: Header,
    offsets: Vec<u64>,
    utf8_bytes: Vec<u64>,
    buffer: Vec<u8>,
}

impl ShardWriter {
    /// Starts `stem.bin` and `stem.idx` for ids below `vocab_size` of the vocabulary `vocab_hash`
    /// (hex SHA-256).
    ///
    /// # Errors
    /// A hash that is none, or a file that cannot be made.
    pub fn create(stem: &Path, vocab_size: usize, vocab_hash: &str) -> Result<Self> {
        let vocab_size = vocab_size as u64;
        let vocab_hash = unhex(vocab_hash).ok_or_else(|| {
            Error::Setting(format!("vocabulary hash `{vocab_hash}` is not 64 hexadecimal digits"))
        })?;
        let header = Header {
            id_bytes: id_bytes_of(vocab_size),
            vocab_hash,
            vocab_size,
            n_documents: 0,
            n_tokens: 0,
        };
        Ok(Self {
            bin: PendingFile::create(&with_suffix(stem, ".bin"))?,
            idx_path: with_suffix(stem, ".idx"),
            hasher: Sha256::new(),
            header,
            offsets: vec![0],
            utf8_bytes: Vec::new(),
            buffer: Vec::new(),
        })
    }

    /// Number of tokens pushed so far.
    pub fn n_tokens(&self) -> u64 {
        self.header.n_tokens
    }

    /// Appends a document, whose ids should end with EOD, and the size of its text.
    ///
    /// # Errors
    /// An id outside the vocabulary (nothing is appended then), or a failed write.
    pub fn push(&mut self, ids: &[u32], utf8_bytes: u64) -> Result<()> {
        let vocab_size = self.header.vocab_size;
        if let Some(id) = ids.iter().find(|id| u64::from(**id) >= vocab_size) {
            return Err(Error::Setting(format!(
                "token id {id} is not below the vocabulary size {vocab_size}"
            )));
        }
        self.buffer.clear();
        match self.header.id_bytes {
            2 => self.buffer.extend(ids.iter().flat_map(|id| (*id as u16).to_le_bytes())),
            _ => self.buffer.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        }
        self.hasher.update(&self.buffer);
        self.bin.write(&self.buffer)?;
        self.header.n_documents += 1;
        self.header.n_tokens += ids.len() as u64;
        self.offsets.push(self.header.n_tokens);
        self.utf8_bytes.push(utf8_bytes);
        Ok(())
    }

    /// Writes the index, brings both files to disk and gives them their names, the index last.
    ///
    /// # Errors
    /// A failed write; no file of that name is left then.
    pub fn finish(mut self) -> Result<ShardSummary> {
        let mut idx = PendingFile::create(&self.idx_path)?;
        let words = self.offsets.iter().chain(&self.utf8_bytes);
        let index: Vec<u8> = self
            .header
            .to_bytes()
            .into_iter()
            .chain(words.flat_map(|word| word.to_le_bytes()))
            .collect();
        self.hasher.update(&index);
        idx.write(&index)?;
        self.bin.commit()?;
        idx.commit()?;
        Ok(ShardSummary {
            documents: self.header.n_documents,
            tokens: self.header.n_tokens,
            utf8_bytes: self.utf8_bytes.iter().sum(),
            sha256: hex(&self.hasher.finalize()),
        })
    }
}
