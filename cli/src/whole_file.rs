//! Writing a small file whole or not at all.

use std::path::{Path, PathBuf};

/// Refuses a place where no file can be written, before work is done for it.
///
/// # Errors
/// The place is a folder, or in a folder that is not there.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    use std::io::{Error, ErrorKind};
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let problem = if path.is_dir() {
        Error::new(ErrorKind::NotFound, "a folder, expected the name of a file")
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        Error::new(ErrorKind::NotFound, "its folder is not there")
    } else {
        return Ok(());
    };
    Err(neo_data::Error::io(path)(problem).into())
}

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
