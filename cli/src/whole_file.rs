//! Writing a small file whole or not at all.

use std::path::{Path, PathBuf};

/// Writes under another name, then renames.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    fs_err::write(&unfinished, text).map_err(neo_data::Error::io(path))?;
    Ok(fs_err::rename(&unfinished, path).map_err(neo_data::Error::io(path))?)
}
