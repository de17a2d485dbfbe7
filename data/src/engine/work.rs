//! The folder in which an engine works: its units, its spills, and a lock so that it works alone.
//!
//! ```text
//! work/NEO-WORK           says that this folder is the engine's, so that old units may be removed
//! work/LOCK               held while a run works
//! work/STAGE/UNIT-KEY/    a unit and its manifest
//! work/spill/             what a shuffle spills; empty between runs
//! ```

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Fingerprint, Observer, Unit,
    unit::{self, Found},
};
use crate::{Error, Result, write::write_file};

const MARKER: &str = "NEO-WORK";
const LOCK: &str = "LOCK";
const SPILL: &str = "spill";

/// An open work folder; no other process has it open.
pub struct Work<'a> {
    root: PathBuf,
    observer: Observer<'a>,
    used: Mutex<BTreeSet<PathBuf>>,
    n_made: AtomicU64,
    /// Whether units of which files were spent count no longer.
    wants_all: AtomicBool,
    _lock: File,
}

impl<'a> Work<'a> {
    /// Opens a folder, or makes it.
    ///
    /// # Errors
    /// The folder is in use, or holds something that no engine made, or cannot be made.
    pub fn open(root: &Path, observer: Observer<'a>) -> Result<Self> {
        fs_err::create_dir_all(root).map_err(Error::io(root))?;
        if !root.join(MARKER).exists() {
            claim(root)?;
        }
        let lock = lock(root)?;
        let (used, n_made, wants_all) = Default::default();
        let work = Self { root: root.to_owned(), observer, used, n_made, wants_all, _lock: lock };
        empty(&work.spill())?;
        Ok(work)
    }

    /// Who looks on.
    pub fn observer(&self) -> &Observer<'a> {
        &self.observer
    }

    /// A folder for what is needed only while a run works.
    pub fn spill(&self) -> PathBuf {
        self.root.join(SPILL)
    }

    /// How many units this run has made, those that were there already left out.
    pub fn n_made(&self) -> u64 {
        self.n_made.load(Relaxed)
    }

    /// From now on units count only with all their files: what was spent is needed after all.
    pub(crate) fn want_all(&self) {
        self.wants_all.store(true, Relaxed);
    }

    /// Where what is no unit may be noted.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The unit `stage/name` of a key, if it is there and whole.
    pub fn find<T: DeserializeOwned>(
        &self,
        stage: &str,
        name: &str,
        key: &Fingerprint,
    ) -> Option<Unit<T>> {
        let dir = self.dir(stage, name, key);
        match unit::find(&dir, key) {
            Found::Whole(unit) if self.wants_all.load(Relaxed) && unit.has_spent() => None,
            Found::Whole(unit) => {
                self.use_dir(&dir);
                Some(unit)
            }
            Found::Damaged => {
                let what = format!("`{}` is damaged and is made again", dir.display());
                self.observer.warn(&what);
                None
            }
            Found::Nothing => None,
        }
    }

    /// The unit `stage/name` of a key: as it is there, else made by a function that writes its files.
    ///
    /// # Errors
    /// What making it failed of; it does not count then.
    pub fn unit<T: Serialize + DeserializeOwned>(
        &self,
        stage: &str,
        name: &str,
        key: &Fingerprint,
        make: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<Unit<T>> {
        if let Some(unit) = self.find(stage, name, key) {
            return Ok(unit);
        }
        self.observer.check()?;
        let dir = self.dir(stage, name, key);
        empty(&dir)?;
        let record = make(&dir)?;
        let unit = unit::commit(&dir, key, record)?;
        self.n_made.fetch_add(1, Relaxed);
        self.use_dir(&dir);
        Ok(unit)
    }

    /// Removes the folder, whose units nobody needs any more; what somebody else put there stays.
    ///
    /// # Errors
    /// A folder cannot be removed.
    pub fn remove(self) -> Result<()> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.sweep()?;
        for name in [MARKER, LOCK] {
            let path = self.root.join(name);
            fs_err::remove_file(&path).map_err(Error::io(&path))?;
        }
        // Not empty when somebody else put something there.
        let _ = fs_err::remove_dir(&self.root);
        Ok(())
    }

    /// Removes every unit that this run has neither made nor found, and half-made ones.
    ///
    /// # Errors
    /// A folder cannot be read or removed.
    pub fn sweep(&self) -> Result<()> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for stage in folders(&self.root)? {
            let units = folders(&stage)?;
            let unused: Vec<&PathBuf> = units.iter().filter(|dir| !used.contains(*dir)).collect();
            for dir in &unused {
                fs_err::remove_dir_all(dir).map_err(Error::io(dir))?;
            }
            if unused.len() == units.len() {
                fs_err::remove_dir_all(&stage).map_err(Error::io(&stage))?;
            }
        }
        Ok(())
    }

    fn dir(&self, stage: &str, name: &str, key: &Fingerprint) -> PathBuf {
        self.root.join(stage).join(format!("{name}-{}", key.short()))
    }

    fn use_dir(&self, dir: &Path) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
    }
}

/// Makes an empty folder the engine's; one with something in it is somebody else's.
fn claim(root: &Path) -> Result<()> {
    let mut entries = fs_err::read_dir(root).map_err(Error::io(root))?;
    // A run that was killed before it wrote the marker has left at most its lock and the marker's beginning.
    let foreign = entries.find_map(|entry| {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        (name != LOCK && !name.starts_with(MARKER)).then_some(name)
    });
    match foreign {
        Some(name) => Err(Error::Setting(format!(
            "`{}` holds `{name}` and is no work folder of this program",
            root.display()
        ))),
        None => write_file(&root.join(MARKER), b"Units of neo's data engine. Safe to delete.\n"),
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// Makes a folder that is there and empty.
fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs_err::remove_dir_all(dir).map_err(Error::io(dir))?;
    }
    fs_err::create_dir_all(dir).map_err(Error::io(dir))
}

/// The folders in a folder.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Work<'static> {
        Work::open(dir, Observer::quiet()).unwrap()
    }

    fn make(work: &Work<'_>, key: &str, content: &str) -> Unit<u32> {
        let key = Fingerprint::of(&[key]);
        let write = |dir: &Path| write_file(&dir.join("a"), content.as_bytes()).map(|()| 7);
        work.unit("stage", "unit", &key, write).unwrap()
    }

    #[test]
    fn a_unit_is_made_once_and_again_when_damaged_or_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        let unit = make(&open(dir.path()), "k", "content");
        let work = open(dir.path());
        let again = make(&work, "k", "content");
        assert_eq!((work.n_made(), *again.record()), (0, 7));
        assert_eq!(again.checksum("a"), unit.checksum("a"));
        drop(work);
        for damage in [&b"contenT"[..], b"conten", b""] {
            std::fs::write(unit.path("a"), damage).unwrap();
            let work = open(dir.path());
            make(&work, "k", "content");
            assert_eq!(work.n_made(), 1, "{damage:?}");
            assert_eq!(std::fs::read(unit.path("a")).unwrap(), b"content");
        }
        std::fs::remove_file(unit.path("MANIFEST.json")).unwrap();
        std::fs::write(unit.path("stray"), "x").unwrap();
        let work = open(dir.path());
        make(&work, "k", "content");
        assert!(work.n_made() == 1 && !unit.path("stray").exists());
    }

    #[test]
    fn a_unit_without_a_spent_file_is_whole_until_all_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let unit = make(&open(dir.path()), "k", "content");
        let sum = unit.checksum("a");
        unit::spend(&unit.path("a")).unwrap();
        let work = open(dir.path());
        let found = make(&work, "k", "content");
        assert!(work.n_made() == 0 && found.is_spent("a") && found.checksum("a") == sum);
        work.want_all();
        let again = make(&work, "k", "content");
        assert!(work.n_made() == 1 && !again.is_spent("a"));
    }

    #[test]
    fn units_of_other_keys_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let old = make(&open(dir.path()), "old", "x");
        std::fs::write(dir.path().join("note"), "mine").unwrap();
        let work = open(dir.path());
        let new = make(&work, "new", "y");
        work.sweep().unwrap();
        assert!(!old.path("a").exists() && new.path("a").exists());
        assert!(dir.path().join("note").exists());
        drop(work);
        open(dir.path()).sweep().unwrap();
        assert!(!dir.path().join("stage").exists());
    }

    #[test]
    fn two_cannot_work_at_once_and_foreign_folders_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        let error = Work::open(dir.path(), Observer::quiet()).err().unwrap();
        assert!(error.is_input() && error.to_string().contains("another run"), "{error}");
        drop(first);
        drop(open(dir.path()));
        let foreign = tempfile::tempdir().unwrap();
        std::fs::write(foreign.path().join("thesis.tex"), "x").unwrap();
        let error = Work::open(foreign.path(), Observer::quiet()).err().unwrap().to_string();
        assert!(error.contains("holds `thesis.tex` and is no work folder"), "{error}");
    }
}
