//! Results under the names that people look for: links to units' files, outside the work folder.
//!
//! What was put there before is noted in the work folder, so that files of an earlier recipe go and files of
//! somebody else are never replaced. The last name of a list is the one by which readers find the others: it is
//! taken away first and put back last, so that nobody finds a mixture.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Fingerprint, Unit, Work};
use crate::{Error, Result, write::write_file};

const LIST: &str = "published.json";

/// A file of a unit and the name that it gets, relative to the folder of the results.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    name: String,
    file: PathBuf,
    sha256: Fingerprint,
}

/// Names given before, with the checksums of what they named.
type List = BTreeMap<String, Fingerprint>;

impl Publication {
    /// A file of a unit under `name`.
    pub(crate) fn of<T>(unit: &Unit<T>, file: &str, name: String) -> Self {
        Self { name, file: unit.path(file), sha256: unit.checksum(file) }
    }

    /// All files of a unit in a folder; the file `last` comes last.
    pub(crate) fn of_all<T>(unit: &Unit<T>, folder: &str, last: &str) -> Vec<Self> {
        let mut names: Vec<&str> = unit.files().map(|(file, _)| file.name.as_str()).collect();
        names.sort_by_key(|name| (*name == last, *name));
        names.iter().map(|name| Self::of(unit, name, format!("{folder}/{name}"))).collect()
    }

    /// Whether the name leads to this very content.
    fn is_there(&self, path: &Path) -> Result<bool> {
        let (Ok(there), Ok(file)) = (fs::metadata(path), fs::metadata(&self.file)) else {
            return Ok(false);
        };
        let is_same_file = (there.dev(), there.ino()) == (file.dev(), file.ino());
        let has_same_length = there.is_file() && there.len() == file.len();
        Ok(is_same_file || (has_same_length && Fingerprint::of_file(path)? == self.sha256))
    }
}

/// Puts files under their names in `out` and takes away what an earlier call put there; returns how many changed.
///
/// # Errors
/// A name leads to a file that no earlier call put there, or the file system refuses.
pub(crate) fn publish(work: &Work<'_>, out: &Path, wanted: &[Publication]) -> Result<usize> {
    let list = work.root().join(LIST);
    let before = read_list(&list);
    let mut missing = Vec::new();
    for publication in wanted {
        let path = out.join(&publication.name);
        if publication.is_there(&path)? {
            continue;
        }
        if path.symlink_metadata().is_ok() && !before.contains_key(&publication.name) {
            return Err(Error::Setting(format!(
                "`{}` is in the way: it was not made from `{}`",
                path.display(),
                work.root().display()
            )));
        }
        missing.push(publication);
    }
    let after: List = wanted.iter().map(|p| (p.name.clone(), p.sha256.clone())).collect();
    let stale: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    if missing.is_empty() && stale.is_empty() && after == before {
        return Ok(0);
    }
    let mut both = before.clone();
    both.extend(after.clone());
    write_list(&list, &both)?;
    for publication in missing.iter().rev() {
        remove(out, &publication.name)?;
    }
    stale.iter().try_for_each(|name| remove(out, name))?;
    missing.iter().try_for_each(|p| link(&p.file, &out.join(&p.name)))?;
    write_list(&list, &after)?;
    Ok(missing.len() + stale.len())
}

/// The list of an earlier call; one that cannot be read vouches for nothing.
fn read_list(path: &Path) -> List {
    let bytes = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn write_list(path: &Path, list: &List) -> Result<()> {
    let json = serde_json::to_vec_pretty(list).expect("a map of strings has a JSON form");
    write_file(path, &json)
}

/// Removes a file and the folders that this leaves empty.
fn remove(out: &Path, name: &str) -> Result<()> {
    let path = out.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(&path)(error));
        }
        _ => {}
    }
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != out) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// Gives a file a second name; where the file system has no such thing, copies it.
fn link(file: &Path, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    if fs::hard_link(file, path).is_ok() {
        return Ok(());
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::copy(file, &partial).map_err(Error::io(&partial))?;
    fs::rename(&partial, path).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Observer;

    fn put(out: &Path, names: &[(&str, &str)]) -> Result<usize> {
        let work = Work::open(&out.join("work"), Observer::quiet())?;
        let mut wanted = Vec::new();
        for (name, content) in names {
            let key = Fingerprint::of(&[name, content]);
            let write = |dir: &Path| write_file(&dir.join("file"), content.as_bytes());
            let unit = work.unit("stage", "unit", &key, write)?;
            wanted.push(Publication::of(&unit, "file", (*name).to_owned()));
        }
        publish(&work, out, &wanted)
    }

    fn read(out: &Path, name: &str) -> Option<String> {
        fs::read_to_string(out.join(name)).ok()
    }

    #[test]
    fn names_follow_the_newest_list() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        assert_eq!(put(out, &[("a/x", "1"), ("b", "2")]).unwrap(), 2);
        assert_eq!(put(out, &[("a/x", "1"), ("b", "2")]).unwrap(), 0);
        assert_eq!(put(out, &[("b", "3")]).unwrap(), 2);
        assert_eq!((read(out, "b").as_deref(), out.join("a").exists()), (Some("3"), false));
        fs::remove_file(out.join("b")).unwrap();
        assert_eq!(put(out, &[("b", "3")]).unwrap(), 1);
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        fs::write(out.join("b"), "mine").unwrap();
        let error = put(out, &[("a", "1"), ("b", "2")]).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("in the way"), "{error}");
        assert_eq!((read(out, "a"), read(out, "b").as_deref()), (None, Some("mine")));
        assert_eq!(put(out, &[("a", "1"), ("b", "mine")]).unwrap(), 1);
    }
}
