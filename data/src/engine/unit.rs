//! A folder of files that counts only with its manifest, which is written last.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Fingerprint;
use crate::{Error, Result, write::write_file};

const MANIFEST: &str = "MANIFEST.json";
const VERSION: u32 = 1;
/// Ending of the note that a file was removed on purpose.
const SPENT: &str = "spent";

/// Output of one piece of work: files with their checksums, and what is to be known of them.
#[derive(Clone, Debug)]
pub struct Unit<T> {
    dir: PathBuf,
    files: Vec<UnitFile>,
    record: T,
}

/// What a manifest says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitFile {
    /// Its name in the folder.
    pub(super) name: String,
    bytes: u64,
    /// SHA-256 of its content.
    pub(super) sha256: Fingerprint,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest<T> {
    version: u32,
    key: Fingerprint,
    files: Vec<UnitFile>,
    record: T,
}

/// What lies in a unit's folder.
pub(super) enum Found<T> {
    /// The unit, every checksum right.
    Whole(Unit<T>),
    /// A manifest that does not fit what lies there.
    Damaged,
    /// No manifest.
    Nothing,
}

impl<T> Unit<T> {
    /// What was noted when it was made.
    pub fn record(&self) -> &T {
        &self.record
    }

    /// Where a file of it lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The checksum of a file of it; that of nothing when there is no such file.
    pub fn checksum(&self, name: &str) -> Fingerprint {
        let file = self.files.iter().find(|file| file.name == name);
        file.map_or_else(|| Fingerprint::of(&[]), |file| file.sha256.clone())
    }

    /// Length of a file of it; 0 when there is no such file.
    pub fn n_bytes(&self, name: &str) -> u64 {
        self.files.iter().find(|file| file.name == name).map_or(0, |file| file.bytes)
    }

    /// Whether a file of it was removed because nobody needed it any more.
    pub fn is_spent(&self, name: &str) -> bool {
        !self.path(name).exists()
    }

    /// Whether any file of it was.
    pub(super) fn has_spent(&self) -> bool {
        self.files.iter().any(|file| self.is_spent(&file.name))
    }

    /// Identity of all its files.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_all(self.files.iter().map(|file| &file.sha256))
    }

    /// Names, paths and checksums of its files, by name.
    pub(super) fn files(&self) -> impl Iterator<Item = (&UnitFile, PathBuf)> {
        self.files.iter().map(|file| (file, self.dir.join(&file.name)))
    }
}

/// Reads a unit back and compares every file with its checksum.
pub(super) fn find<T: DeserializeOwned>(dir: &Path, key: &Fingerprint) -> Found<T> {
    let Ok(bytes) = fs_err::read(dir.join(MANIFEST)) else { return Found::Nothing };
    let Ok(manifest) = serde_json::from_slice::<Manifest<T>>(&bytes) else { return Found::Damaged };
    let is_this = manifest.version == VERSION && manifest.key == *key;
    let is_whole = |file: &UnitFile| {
        let path = dir.join(&file.name);
        match path.exists() {
            true => describe(dir, &file.name).is_ok_and(|found| found == *file),
            false => note_of(&path).exists(),
        }
    };
    match is_this && manifest.files.iter().all(is_whole) {
        true => Found::Whole(Unit {
            dir: dir.to_owned(),
            files: manifest.files,
            record: manifest.record,
        }),
        false => Found::Damaged,
    }
}

/// Removes a file of a committed unit. The unit stays whole, for its manifest still says what the file held.
///
/// # Errors
/// The file system refuses.
pub(crate) fn spend(path: &Path) -> Result<()> {
    // The note first: a file that is gone without one is damage.
    write_file(&note_of(path), b"")?;
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// The note that stays for a file.
fn note_of(path: &Path) -> PathBuf {
    let mut note = path.as_os_str().to_owned();
    note.push(".");
    note.push(SPENT);
    PathBuf::from(note)
}

/// Makes the files of a folder a unit: from now on it counts.
pub(super) fn commit<T: Serialize>(dir: &Path, key: &Fingerprint, record: T) -> Result<Unit<T>> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs_err::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let files = names.iter().map(|name| describe(dir, name)).collect::<Result<Vec<_>>>()?;
    let manifest = Manifest { version: VERSION, key: key.clone(), files, record };
    let mut json = serde_json::to_vec_pretty(&manifest).expect("plain fields have a JSON form");
    json.push(b'\n');
    write_file(&dir.join(MANIFEST), &json)?;
    Ok(Unit { dir: dir.to_owned(), files: manifest.files, record: manifest.record })
}

fn describe(dir: &Path, name: &str) -> Result<UnitFile> {
    let path = dir.join(name);
    let bytes = fs_err::metadata(&path).map_err(Error::io(&path))?.len();
    Ok(UnitFile { name: name.to_owned(), bytes, sha256: Fingerprint::of_file(&path)? })
}
