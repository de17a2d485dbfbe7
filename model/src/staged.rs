//! A folder that appears whole or not at all: written under a temporary name, fsynced, renamed.
//!
//! Imports, exports and checkpoints are made this way, so that a killed process or a full disk leaves
//! no half folder under a name that counts.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::weights::{FileSummary, HashingFile};
use crate::{Error, Result};

/// Ends the name of a folder that is still being written.
pub const PARTIAL_SUFFIX: &str = ".partial";

/// A folder under its temporary name; removed when dropped before `commit`.
pub struct StagedFolder {
    target: PathBuf,
    partial: PathBuf,
    committed: bool,
}

impl StagedFolder {
    /// Starts a folder beside `target`, whose parents are made; what a killed process left is removed.
    ///
    /// # Errors
    /// When a folder cannot be made, or `target` has no name of its own.
    pub fn create(target: &Path) -> Result<Self> {
        let partial = partial_path(target)?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        remove_folder(&partial)?;
        fs::create_dir(&partial).map_err(Error::io(&partial))?;
        Ok(Self { target: target.to_owned(), partial, committed: false })
    }

    /// Where to write for now.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes a small file and waits until it is on disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<FileSummary> {
        let mut file = HashingFile::create(&self.partial.join(name))?;
        file.write(bytes)?;
        file.finish()
    }

    /// Copies a file under its own name and waits until it is on disk.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy(&self, source: &Path, name: &str) -> Result<FileSummary> {
        let mut from = File::open(source).map_err(Error::io(source))?;
        let mut to = HashingFile::create(&self.partial.join(name))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n_bytes = from.read(&mut buffer).map_err(Error::io(source))?;
            if n_bytes == 0 {
                return to.finish();
            }
            to.write(&buffer[..n_bytes])?;
        }
    }

    /// Gives the folder its name, over an empty folder if there is one.
    ///
    /// # Errors
    /// When something else has that name, or the system refuses.
    pub fn commit(mut self) -> Result<()> {
        sync_folder(&self.partial)?;
        fs::rename(&self.partial, &self.target).map_err(|source| match source.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                Error::Occupied(self.target.clone())
            }
            _ => Error::Io { path: self.target.clone(), source },
        })?;
        self.committed = true;
        self.target.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = remove_folder(&self.partial)
        {
            tracing::warn!("`{}` is left over: {error}", self.partial.display());
        }
    }
}

/// Refuses a destination that holds anything.
///
/// # Errors
/// When `target` is a file or a folder that is not empty, or cannot be looked at.
pub fn check_vacant(target: &Path) -> Result<()> {
    match fs::read_dir(target).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Occupied(target.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) if target.exists() => Err(Error::Occupied(target.to_owned())),
        Err(error) => Err(Error::io(target)(error)),
    }
}

fn partial_path(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        let problem = format!("`{}` does not name a folder to make", target.display());
        return Err(Error::Setting(problem));
    };
    Ok(target.with_file_name(format!(".{}{PARTIAL_SUFFIX}", name.to_string_lossy())))
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Makes renames and new names inside a folder last.
fn sync_folder(path: &Path) -> Result<()> {
    // The parent of a bare name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/er/model");
        let staged = StagedFolder::create(&target).unwrap();
        staged.write("a.json", b"{}").unwrap();
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(fs::read(target.join("a.json")).unwrap(), b"{}");
        assert_eq!(names(&dir.path().join("deep/er")), ["model"]);
    }

    #[test]
    fn an_abandoned_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        let staged = StagedFolder::create(&target).unwrap();
        staged.write("a", b"x").unwrap();
        drop(staged);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn leftovers_are_replaced_and_occupied_targets_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        fs::create_dir_all(dir.path().join(".model.partial/old")).unwrap();
        fs::create_dir(&target).unwrap();
        check_vacant(&target).unwrap();
        let staged = StagedFolder::create(&target).unwrap();
        assert!(names(staged.path()).is_empty());
        staged.copy(Path::new("Cargo.toml"), "b").unwrap();
        staged.commit().unwrap();
        assert_eq!(names(&target), ["b"]);
        assert!(matches!(check_vacant(&target), Err(Error::Occupied(_))));
        assert!(matches!(check_vacant(&target.join("b")), Err(Error::Occupied(_))));
        assert!(matches!(check_vacant(&target.join("b/c")), Err(Error::Io { .. })));
        let second = StagedFolder::create(&target).unwrap();
        assert!(matches!(second.commit(), Err(Error::Occupied(_))));
        assert_eq!(names(dir.path()), ["model"]);
        assert!(StagedFolder::create(Path::new("/")).is_err());
    }
}
