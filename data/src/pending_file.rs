//! A file that is there whole or not at all: written under a temporary name, synced, renamed.

use std::{
    ffi::OsString,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use fs_err::File;

use crate::{Error, Result};

/// A file written aside under `NAME.partial`, renamed when complete, removed when not.
#[derive(Debug)]
pub(crate) struct PendingFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
}

impl PendingFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let partial = partial_of(path);
        let file = File::create(&partial).map_err(Error::io(&partial))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_mut().expect("open until commit, which consumes self");
        file.write_all(bytes).map_err(Error::io(&self.partial))
    }

    pub(crate) fn commit(mut self) -> Result<()> {
        self.sync_and_rename().map_err(Error::io(&self.path))?;
        self.file = None;
        Ok(())
    }

    fn sync_and_rename(&mut self) -> std::io::Result<()> {
        let file = self.file.as_mut().expect("open until commit, which consumes self");
        file.flush()?;
        file.get_ref().sync_all()?;
        fs_err::rename(&self.partial, &self.path)?;
        match self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Best effort: a stray partial file does no harm and the first error is the one to
            // report.
            let _ = fs_err::remove_file(&self.partial);
        }
    }
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    PathBuf::from(name)
}
