//! Which checkpoints a run has, which is the newest good one, and which may go.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use neo_model::staged::PARTIAL_SUFFIX;

use super::{Checkpoint, manifest};
use crate::{Error, Result};

const PREFIX: &str = "step-";

/// Where a run keeps its checkpoints.
pub(super) fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoints")
}

/// Name of the checkpoint after `step` steps.
pub(super) fn name(step: u64) -> String {
    format!("{PREFIX}{step:08}")
}

/// A run's checkpoints, oldest first, whether they verify or not; none when the folder is not there.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(run_dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(steps(&folder(run_dir))?.into_iter().map(|(_, path)| path).collect())
}

/// The newest checkpoint that verifies, and why each newer one was passed over.
///
/// Nothing found and something passed over means a run that cannot go on, not a new run.
///
/// # Errors
/// When the folder cannot be read.
pub fn latest_verified(run_dir: &Path) -> Result<(Option<Checkpoint>, Vec<Error>)> {
    let mut skipped = Vec::new();
    for path in list(run_dir)?.iter().rev() {
        match Checkpoint::open(path) {
            Ok(checkpoint) => return Ok((Some(checkpoint), skipped)),
            Err(error) => skipped.push(error),
        }
    }
    Ok((None, skipped))
}

/// Removes what a killed process left of a checkpoint being written, replaced or removed.
pub(super) fn remove_leftovers(folder: &Path) -> Result<()> {
    for (name, path) in entries(folder)? {
        if name.starts_with(&format!(".{PREFIX}")) && name.ends_with(PARTIAL_SUFFIX) {
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Frees the name of a checkpoint that is written a second time; the older one goes later.
pub(super) fn put_aside(dir: &Path) -> Result<()> {
    match fs::rename(dir, doomed_path(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(dir)(error)),
        _ => Ok(()),
    }
}

/// Removes checkpoints beyond the newest `keep` complete ones, counted from the one just written.
///
/// An incomplete one does not count, so it pushes no good one out; it stays to be looked at while
/// younger than the oldest kept. What cannot be removed is told and left.
pub(super) fn remove_old(folder: &Path, written_step: u64, keep: usize) {
    let mut n_kept = 0;
    let all = steps(folder).unwrap_or_default();
    for (step, path) in all.into_iter().rev() {
        if step <= written_step && n_kept < keep.max(1) {
            n_kept += usize::from(manifest::is_complete(&path));
        } else if let Err(error) = put_aside(&path) {
            tracing::warn!("an old checkpoint is left over: {error}");
        }
    }
    if let Err(error) = remove_leftovers(folder) {
        tracing::warn!("an old checkpoint is left over: {error}");
    }
}

/// A name that no longer counts, so that a removal that is cut short leaves no half checkpoint.
fn doomed_path(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.old{PARTIAL_SUFFIX}"))
}

fn steps(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut steps: Vec<(u64, PathBuf)> = entries(folder)?
        .into_iter()
        .filter_map(|(name, path)| Some((step_of(&name)?, path)))
        .collect();
    steps.sort();
    Ok(steps)
}

/// The step after which a checkpoint of this folder name was written; other names, other spellings of
/// the number among them, are not ours.
pub fn step_of(file_name: &str) -> Option<u64> {
    let step = file_name.strip_prefix(PREFIX)?.parse().ok()?;
    (name(step) == file_name).then_some(step)
}

/// Names and paths of the folders in `folder`.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(Error::io(folder))?,
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(Error::io(folder))?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_dir()
        {
            entries.push((name, entry.path()));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::tests::write;
    use super::*;

    fn listed(run_dir: &Path) -> Vec<u64> {
        list(run_dir).unwrap().iter().map(|path| step_in(path)).collect()
    }

    fn step_in(path: &Path) -> u64 {
        step_of(path.file_name().unwrap().to_str().unwrap()).unwrap()
    }

    fn flip_a_byte(run_dir: &Path, step: u64) {
        let path = folder(run_dir).join(name(step)).join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    fn latest(run_dir: &Path) -> (Option<u64>, usize) {
        let (found, skipped) = latest_verified(run_dir).unwrap();
        (found.map(|checkpoint| checkpoint.state().step), skipped.len())
    }

    #[test]
    fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(latest(dir.path()), (None, 0));
        for step in [5, 10, 100_000_000, 100_000_001] {
            write(dir.path(), step, 2).unwrap();
        }
        assert_eq!(listed(dir.path()), [100_000_000, 100_000_001]);
        write(dir.path(), 100_000_002, 0).unwrap();
        assert_eq!(listed(dir.path()), [100_000_002]);
    }

    #[test]
    fn a_corrupt_newest_one_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for step in [1, 2, 3] {
            write(dir.path(), step, 3).unwrap();
        }
        flip_a_byte(dir.path(), 3);
        assert_eq!(latest(dir.path()), (Some(2), 1));
        let (_, skipped) = latest_verified(dir.path()).unwrap();
        assert!(skipped[0].to_string().contains("step-00000003"), "{}", skipped[0]);
        flip_a_byte(dir.path(), 2);
        flip_a_byte(dir.path(), 1);
        assert_eq!(latest(dir.path()), (None, 3));
    }

    #[test]
    fn an_incomplete_one_pushes_no_good_one_out() {
        let dir = tempfile::tempdir().unwrap();
        for step in [1, 2, 3] {
            write(dir.path(), step, 3).unwrap();
        }
        fs::remove_file(folder(dir.path()).join("step-00000002/MANIFEST.json")).unwrap();
        write(dir.path(), 4, 3).unwrap();
        assert_eq!(listed(dir.path()), [1, 2, 3, 4]);
        write(dir.path(), 5, 3).unwrap();
        assert_eq!(listed(dir.path()), [3, 4, 5]);
    }

    #[test]
    fn writing_an_earlier_step_gives_up_the_later_ones() {
        let dir = tempfile::tempdir().unwrap();
        for step in [1, 2, 3, 4] {
            write(dir.path(), step, 9).unwrap();
        }
        flip_a_byte(dir.path(), 3);
        write(dir.path(), 3, 2).unwrap();
        assert_eq!(listed(dir.path()), [2, 3]);
        assert_eq!(latest(dir.path()), (Some(3), 0));
    }

    #[test]
    fn a_write_that_was_killed_leaves_the_older_one_newest() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1, 1).unwrap();
        let half = folder(dir.path()).join(".step-00000002.partial");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("model.safetensors"), "half").unwrap();
        assert_eq!(latest(dir.path()), (Some(1), 0));
        write(dir.path(), 3, 2).unwrap();
        assert!(!half.exists());
        assert_eq!(listed(dir.path()), [1, 3]);
    }

    fn check(file_name: &str, expected: Option<u64>) {
        assert_eq!(step_of(file_name), expected, "{file_name}");
    }

    #[test]
    fn only_our_own_names_count() {
        check("step-00000042", Some(42));
        check("step-123456789", Some(123_456_789));
        check("step-42", None);
        check("step-+0000042", None);
        check("step-", None);
        check(".step-00000042.partial", None);
    }
}
