//! What tells one content, or one piece of work, from another.

use std::{io::Read, path::Path};

use fs_err::File;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result, shard::hex};

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;
/// Hexadecimal digits that tell folders apart; whole fingerprints are compared inside.
const SHORT_DIGITS: usize = 16;

/// A SHA-256 in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a list of texts; how they are cut matters.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hex(&hash.finalize()))
    }

    /// Of a list of fingerprints, in order.
    pub fn of_all<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::of(&parts.into_iter().map(Self::as_str).collect::<Vec<_>>())
    }

    /// Of a file's content: what `sha256sum` prints.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
        loop {
            match file.read(&mut buffer).map_err(Error::io(path))? {
                0 => return Ok(Self(hex(&hash.finalize()))),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// Of a file's content, or of all files below a folder with their names.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn of_path(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Self::of_file(path);
        }
        let mut parts = Vec::new();
        for entry in fs_err::read_dir(path).map_err(Error::io(path))? {
            let entry = entry.map_err(Error::io(path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            parts.push((name, Self::of_path(&entry.path())?));
        }
        parts.sort();
        let parts = parts.iter().flat_map(|(name, content)| [name.as_str(), content.as_str()]);
        Ok(Self::of(&parts.collect::<Vec<_>>()))
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough digits for a folder's name.
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_DIGITS).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let all = [
            Fingerprint::of(&[]),
            Fingerprint::of(&[""]),
            Fingerprint::of(&["ab"]),
            Fingerprint::of(&["a", "b"]),
            Fingerprint::of(&["b", "a"]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(all[0].short().len(), SHORT_DIGITS);
    }

    #[test]
    fn a_file_has_the_sum_that_others_print() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // printf abc | sha256sum
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of_file(&path).unwrap().as_str(), sum);
        assert!(Fingerprint::of_file(dir.path()).is_err());
        assert_eq!(Fingerprint::of_path(&path).unwrap().as_str(), sum);
        let before = Fingerprint::of_path(dir.path()).unwrap();
        std::fs::rename(&path, dir.path().join("abd")).unwrap();
        assert_ne!(Fingerprint::of_path(dir.path()).unwrap(), before);
    }
}
