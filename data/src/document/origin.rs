//! Where the record of a document lies among the files that were read, so that it can be looked at again.
//!
//! A document keeps its origin through all stages: also when it is cut into parts or rewritten.

use serde::{Deserialize, Serialize};

/// A place in a file of raw records.
///
/// Of plain files `byte` is where the record begins. Of packed files (gz, zst) it is where to begin to unpack: 0, or
/// for WARC the record's own member; `unpacked_byte` is how much further the record begins in what comes out, if it
/// does not begin at once. Records of Parquet have a `row` instead. All count from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Name of the file, relative to the folder or pattern given as input.
    pub file: String,
    /// Byte of the file, as it lies on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// Bytes to pass over after unpacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked_byte: Option<u64>,
    /// Row of a Parquet file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
}

impl Origin {
    /// A record at a byte of a plain file.
    pub fn at_byte(file: &str, byte: u64) -> Self {
        Self { file: file.to_owned(), byte: Some(byte), unpacked_byte: None, row: None }
    }

    /// A record so many bytes behind what a packed file has at a byte.
    pub fn in_packed(file: &str, byte: u64, unpacked: u64) -> Self {
        Self { unpacked_byte: (unpacked > 0).then_some(unpacked), ..Self::at_byte(file, byte) }
    }

    /// A row of a Parquet file.
    pub fn at_row(file: &str, row: u64) -> Self {
        Self { file: file.to_owned(), byte: None, unpacked_byte: None, row: Some(row) }
    }
}
