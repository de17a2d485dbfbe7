//! The folder that a command's results go to: nothing that lies there is written over.

use std::path::{Path, PathBuf};

use crate::error::Usage;

/// Names of what the commands of `neo data` leave, without endings.
const RESULTS: [&str; 6] = ["documents", "kept", "dropped", "changed", "account", "corpus"];

/// Refuses a folder that holds results or input.
///
/// # Errors
/// What is in the way, with what to do about it.
pub(super) fn refuse_used(out: &Path, input: &[String]) -> Result<(), Usage> {
    if out.is_file() {
        let problem = format!("`{}` is a file, expected a folder for the results", out.display());
        return Err(Usage::with_hint(problem, "give another path as --out"));
    }
    if let Some(path) = input.iter().find(|path| lies_in(Path::new(path), out)) {
        let problem = format!("`{}` holds the input `{path}`", out.display());
        return Err(Usage::with_hint(problem, "give a folder of its own as --out"));
    }
    if let Some(name) = result_in(out) {
        let problem = format!("`{}` already holds `{name}`", out.display());
        return Err(Usage::with_hint(problem, "give another folder as --out, or remove this one"));
    }
    Ok(())
}

/// Whether a file or folder of the input is the folder or lies in it.
fn lies_in(path: &Path, out: &Path) -> bool {
    let (Ok(path), Ok(out)) = (before_pattern(path).canonicalize(), out.canonicalize()) else {
        return false;
    };
    path.starts_with(out)
}

/// The part of a path before its first `*`.
fn before_pattern(path: &Path) -> PathBuf {
    let plain = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains('*');
    let start: PathBuf = path.components().take_while(plain).collect();
    if start.as_os_str().is_empty() { PathBuf::from(".") } else { start }
}

/// A result of an earlier command in a folder.
fn result_in(out: &Path) -> Option<String> {
    let names =
        std::fs::read_dir(out).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut results: Vec<String> = names
        .filter(|name| {
            let parts = name.split_once('.');
            parts.is_some_and(|(stem, ending)| {
                RESULTS.contains(&stem) && ["parquet", "jsonl", "json"].contains(&ending)
            })
        })
        .collect();
    results.sort();
    results.into_iter().next()
}
