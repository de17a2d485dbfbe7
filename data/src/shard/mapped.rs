//! Files as bytes in memory, without reading them first.

use std::path::Path;

use fs_err::File;
use memmap2::Mmap;

use super::malformed;
use crate::{Error, Result};

/// A file's bytes, mapped; an empty file has no map.
#[derive(Debug)]
pub(super) struct Bytes(Option<Mmap>);

impl Bytes {
    /// Maps a file.
    ///
    /// # Errors
    /// It is missing, or no file.
    #[expect(unsafe_code, reason = "a memory map cannot be made without it")]
    pub(super) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        if !metadata.is_file() {
            return Err(malformed(path, "not a file, expected a token shard".into()));
        }
        if metadata.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: shards are written aside and renamed when complete, and never changed afterwards;
        // a file that is truncated by somebody else while mapped is the one case this relies on not
        // happening.
        let map = unsafe { Mmap::map(file.file()) }.map_err(Error::io(path))?;
        Ok(Self(Some(map)))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
