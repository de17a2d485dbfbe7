//! `MANIFEST.json`: what a checkpoint's files must be, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use neo_model::staged::StagedFolder;
use neo_model::weights::FileSummary;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::malformed;
use crate::{Error, Result};

const FILE: &str = "MANIFEST.json";
/// Changes when an older program could not read the folder.
const SCHEMA: u32 = 1;
/// Larger than any manifest: a line per file.
const MAX_BYTES: u64 = 10_000_000;

/// Every file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the folder's layout.
    pub schema: u32,
    /// Steps done when it was written.
    pub step: u64,
    /// Files by name.
    pub files: BTreeMap<String, ManifestFile>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Size.
    pub bytes: u64,
    /// SHA-256 in lowercase hexadecimal.
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(step: u64, files: Vec<(String, FileSummary)>) -> Self {
        let entry = |(name, FileSummary { bytes, sha256 })| (name, ManifestFile { bytes, sha256 });
        Self { schema: SCHEMA, step, files: files.into_iter().map(entry).collect() }
    }

    pub(super) fn write(&self, staged: &StagedFolder) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a manifest is numbers and strings");
        staged.write(FILE, text.as_bytes())?;
        Ok(())
    }

    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let n_bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
        if n_bytes > MAX_BYTES {
            return Err(malformed(&path, format!("{n_bytes} bytes, expected at most {MAX_BYTES}")));
        }
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| malformed(&path, format!("does not parse: {error}")))?;
        if manifest.schema != SCHEMA {
            let problem = format!("schema {}, expected {SCHEMA}", manifest.schema);
            return Err(malformed(&path, problem));
        }
        for required in [super::STATE_FILE, super::CONFIG_FILE] {
            if !manifest.files.contains_key(required) {
                return Err(malformed(&path, format!("`{required}` is not listed")));
            }
        }
        match manifest.files.keys().find(|name| Path::new(name).file_name() != Some(name.as_ref()))
        {
            Some(name) => Err(malformed(&path, format!("`{name}`, expected a plain file name"))),
            None => Ok(manifest),
        }
    }
}

/// Whether a folder has a manifest and so must be verified before it is used.
pub fn is_checkpoint(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// Checks every file of a checkpoint against its manifest, files in parallel.
///
/// # Errors
/// When the manifest is missing or malformed, or names the first file that is missing or changed.
pub fn verify(dir: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(dir)?;
    let checks: Vec<Result<()>> =
        manifest.files.par_iter().map(|(name, entry)| check_file(&dir.join(name), entry)).collect();
    checks.into_iter().collect::<Result<()>>()?;
    Ok(manifest)
}

/// Whether all files are there with their sizes: a quick look that decides what may be removed.
pub(super) fn is_complete(dir: &Path) -> bool {
    Manifest::read(dir).is_ok_and(|manifest| {
        manifest.files.iter().all(|(name, entry)| check_size(&dir.join(name), entry).is_ok())
    })
}

fn check_size(path: &Path, expected: &ManifestFile) -> Result<()> {
    let found = fs::metadata(path).map_err(Error::io(path))?.len();
    if found != expected.bytes {
        return Err(malformed(path, format!("{found} bytes, expected {}", expected.bytes)));
    }
    Ok(())
}

fn check_file(path: &Path, expected: &ManifestFile) -> Result<()> {
    check_size(path, expected)?;
    let found = FileSummary::of(path)?.sha256;
    if found != expected.sha256 {
        return Err(malformed(path, format!("SHA-256 is {found}, expected {}", expected.sha256)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, tests::write};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flipped_byte_is_found_in_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = write(dir.path(), 7, 1).unwrap();
        let manifest = verify(checkpoint.dir()).unwrap();
        for name in manifest.files.keys() {
            let path = checkpoint.dir().join(name);
            let whole = fs::read(&path).unwrap();
            for at in (0..whole.len()).step_by(37) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                fs::write(&path, &flipped).unwrap();
                let message = verify(checkpoint.dir()).unwrap_err().to_string();
                assert!(message.contains(name) && message.contains("SHA-256"), "{message}");
            }
            fs::write(&path, &whole).unwrap();
        }
        verify(checkpoint.dir()).unwrap();
    }

    fn check(change: impl FnOnce(&Path), expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = write(dir.path(), 7, 1).unwrap();
        change(checkpoint.dir());
        let error = Checkpoint::open(checkpoint.dir()).unwrap_err();
        assert!(error.to_string().contains(expected), "`{error}` does not contain `{expected}`");
        assert!(!is_complete(checkpoint.dir()), "{expected}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let cut = |dir: &Path| {
            let path = dir.join("optimizer.safetensors");
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        };
        let edit = |from: &'static str, to: &'static str| {
            move |dir: &Path| {
                let text = fs::read_to_string(dir.join(FILE)).unwrap();
                fs::write(dir.join(FILE), text.replacen(from, to, 1)).unwrap();
            }
        };
        check(cut, "bytes, expected");
        check(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap(), "model.safetensors");
        check(|dir| fs::remove_file(dir.join(FILE)).unwrap(), FILE);
        check(edit("{", "["), "does not parse");
        check(edit("\"schema\": 1", "\"schema\": 2"), "schema 2, expected 1");
        check(edit("state.json", "../state.json"), "`state.json` is not listed");
        check(edit("model.safetensors", "../model"), "expected a plain file name");
    }

    proptest! {
        #[test]
        fn any_manifest_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), bytes).unwrap();
            prop_assert!(verify(dir.path()).is_err());
        }
    }
}
