//! The header of a shard's index: magic, version, vocabulary and counts.

use std::path::Path;

use super::{expect_equal, malformed};
use crate::Result;

const MAGIC: &[u8; 8] = b"NEOSHARD";
const VERSION: u32 = 1;
/// Length of the header.
pub(super) const HEADER_BYTES: u64 = 72;
/// Largest vocabulary whose ids fit two bytes.
const MAX_NARROW_VOCAB: u64 = 1 << 16;

/// What an index begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id_bytes: u64,
    pub(super) vocab_hash: [u8; 32],
    pub(super) vocab_size: u64,
    pub(super) n_documents: u64,
    pub(super) n_tokens: u64,
}

impl Header {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        if (bytes.len() as u64) < HEADER_BYTES {
            let problem =
                format!("{} bytes, expected a header of {HEADER_BYTES} or more", bytes.len());
            return Err(malformed(path, problem));
        }
        if &bytes[..8] != MAGIC {
            let found = String::from_utf8_lossy(&bytes[..8]).escape_debug().to_string();
            return Err(malformed(path, format!("starts with `{found}`, expected `NEOSHARD`")));
        }
        expect_equal(path, "version", &u64::from(VERSION), &(read_u64(bytes, 8) & 0xffff_ffff))?;
        let vocab_size = read_u64(bytes, 48);
        let id_bytes = read_u64(bytes, 8) >> 32;
        expect_equal(path, "bytes per id", &id_bytes_of(vocab_size), &id_bytes)?;
        let vocab_hash = bytes[16..48].try_into().expect("a slice of 32 bytes");
        Ok(Self {
            id_bytes,
            vocab_hash,
            vocab_size,
            n_documents: read_u64(bytes, 56),
            n_tokens: read_u64(bytes, 64),
        })
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.id_bytes as u32).to_le_bytes());
        bytes.extend(self.vocab_hash);
        for count in [self.vocab_size, self.n_documents, self.n_tokens] {
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }
}

/// Bytes of an id of a vocabulary.
pub(super) fn id_bytes_of(vocab_size: u64) -> u64 {
    if vocab_size <= MAX_NARROW_VOCAB { 2 } else { 4 }
}

/// The number at a byte.
pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
}
