//! A file to read, wherever it lies: how it is opened as a stream, and in pieces for Parquet.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};

use super::inputs::without_compression;
use crate::{Error, Result, engine::Fingerprint, store::Object};

/// A file of a source.
#[derive(Clone, Debug)]
pub(super) struct InputFile {
    /// Where it lies, for messages too: a path or an address.
    pub(super) path: PathBuf,
    /// Its name in document ids: relative to the folder given, `/` between parts, without `.gz` or `.zst`.
    pub(super) name: String,
    /// Size as it is stored.
    pub(super) bytes: u64,
    object: Option<Object>,
}

impl InputFile {
    /// A file of this machine.
    ///
    /// # Errors
    /// It does not exist.
    pub(super) fn local(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            path: path.to_owned(),
            name: without_compression(&name).to_owned(),
            bytes: metadata.len(),
            object: None,
        })
    }

    /// Its name with the ending of its packing, as origins state it.
    pub(super) fn stored_name(&self) -> String {
        let path = self.path.to_string_lossy();
        let packing = &path[without_compression(&path).len()..];
        format!("{}{packing}", self.name)
    }

    /// The same file under another name in ids.
    pub(super) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// An object of a store, with its name in ids.
    pub(super) fn remote(object: Object, name: String) -> Self {
        let path = PathBuf::from(object.address());
        Self { path, name, bytes: object.n_bytes(), object: Some(object) }
    }

    /// Identity of its content; of an object what its store says of it, so that it is not fetched for this.
    ///
    /// # Errors
    /// It is unreadable.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint> {
        match &self.object {
            Some(object) => {
                let (address, bytes) = (object.address(), object.n_bytes().to_string());
                Ok(Fingerprint::of(&[address, &bytes, &object.version()]))
            }
            None => Fingerprint::of_file(&self.path),
        }
    }

    /// The file from its start; `position` is advanced by every byte read from it.
    ///
    /// # Errors
    /// It is missing or unreadable.
    pub(super) fn open(&self, position: Arc<AtomicU64>) -> Result<Box<dyn Read + Send>> {
        Ok(match &self.object {
            Some(object) => Box::new(Counted { inner: object.read_from(0), position }),
            None => {
                let file = File::open(&self.path).map_err(Error::io(&self.path))?;
                Box::new(Counted { inner: file, position })
            }
        })
    }

    /// The file for reading in pieces.
    ///
    /// # Errors
    /// It is missing or unreadable.
    pub(super) fn chunks(&self) -> Result<Chunks> {
        Ok(match &self.object {
            Some(object) => Chunks::Object(object.clone()),
            None => Chunks::File(File::open(&self.path).map_err(Error::io(&self.path))?),
        })
    }
}

/// A file of which pieces are read.
pub(super) enum Chunks {
    File(File),
    Object(Object),
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => Length::len(file),
            Self::Object(object) => object.n_bytes(),
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> std::result::Result<Self::T, ParquetError> {
        Ok(match self {
            Self::File(file) => Box::new(Unended(BufReader::new(file.get_read(start)?))),
            Self::Object(object) => Box::new(Unended(object.read_from(start))),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<Bytes, ParquetError> {
        let beyond = start.checked_add(length as u64).is_none_or(|end| end > self.len());
        if beyond {
            return Err(ParquetError::EOF(format!("{length} bytes at {start}, beyond the end")));
        }
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Object(object) => object
                .range(start..start + length as u64)
                .map_err(|error| ParquetError::External(Box::new(error))),
        }
    }
}

/// A reader whose end is an error. The decoder of Parquet passes over a damaged header's billions of elements one by
/// one, and where the file has ended it would do so without noticing.
struct Unended<R>(R);

impl<R: Read> Read for Unended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
            n_bytes => Ok(n_bytes),
        }
    }
}

/// A file that reports how far it was read.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.position.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_file_does_not_end_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        let mut piece = Chunks::File(File::open(&path).unwrap()).get_read(1).unwrap();
        let mut bytes = [0; 2];
        piece.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"bc");
        let passed_over = std::io::copy(&mut piece.by_ref().take(8), &mut std::io::sink());
        assert_eq!(passed_over.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
