//! A file as a stream of lines: decompressed by its magic number, bounded in line length, errors with file and line.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use super::{BadReason, BadRecord, MAX_RECORD_BYTES, Record, file::InputFile};
use crate::{Error, Origin, Result};

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Lines of a plain, gzip or zstd file.
pub(super) struct Lines {
    path: PathBuf,
    packing: Packing,
    reader: BufReader<Box<dyn Read + Send>>,
    line: u64,
    /// Byte of the unpacked data at which the line read last begins.
    start: u64,
    /// Bytes of the unpacked data read.
    consumed: u64,
}

/// Calls a function for every line of a file, with its number counted from 1.
///
/// # Errors
/// The file cannot be read, a line is longer than a record may be, or the function fails.
pub(crate) fn for_each_line(
    path: &Path,
    mut handle: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::open(&InputFile::local(path)?, Arc::default())?;
    let mut buffer = Vec::new();
    while let Some(line) = lines.next(&mut buffer)? {
        let Line::Whole(line) = line else {
            let problem = format!("line {} is longer than {MAX_RECORD_BYTES} bytes", lines.line());
            return Err(Error::Malformed { path: path.to_owned(), problem });
        };
        handle(lines.line, line)?;
    }
    Ok(())
}

/// One line without its end, or the size of one that was too long.
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong { bytes: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Lines {
    /// Opens a file; `position` is advanced by every byte read from it.
    ///
    /// # Errors
    /// The file is missing or unreadable, or its name promises a compression that its first bytes do not show.
    pub(super) fn open(input: &InputFile, position: Arc<AtomicU64>) -> Result<Self> {
        let path = &input.path;
        let mut file = BufReader::with_capacity(1 << 18, input.open(position)?);
        let start = file.fill_buf().map_err(|error| Error::reading(path, error))?;
        let packing = Packing::of(path, start)?;
        let reader: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(zstd::Decoder::with_buffer(file).map_err(Error::io(path))?),
        };
        let mut lines = Self {
            path: path.to_owned(),
            packing,
            reader: BufReader::with_capacity(1 << 18, reader),
            line: 0,
            start: 0,
            consumed: 0,
        };
        lines.skip_byte_order_mark()?;
        Ok(lines)
    }

    /// The next line, kept in `buffer`; `None` at the end.
    pub(super) fn next<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Line<'a>>> {
        self.next_within(buffer, MAX_RECORD_BYTES)
    }

    fn next_within<'a>(
        &mut self,
        buffer: &'a mut Vec<u8>,
        limit: usize,
    ) -> Result<Option<Line<'a>>> {
        buffer.clear();
        self.line += 1;
        self.start = self.consumed;
        let mut bytes: u64 = 0;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) => return Err(self.broken(error)),
            };
            let end = available.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(available.len());
            bytes += taken as u64;
            if bytes <= limit as u64 {
                buffer.extend_from_slice(&available[..taken]);
            }
            let at_end_of_file = available.is_empty();
            self.consume(taken + usize::from(end.is_some()));
            if end.is_some() || at_end_of_file {
                return Ok(match bytes {
                    0 if at_end_of_file => None,
                    _ if bytes > limit as u64 => Some(Line::TooLong { bytes }),
                    _ => Some(Line::Whole(buffer)),
                });
            }
        }
    }

    /// The rest of the file, or `None` when it is longer than a record may be.
    pub(super) fn rest(mut self) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let limit = MAX_RECORD_BYTES as u64;
        let read = (&mut self.reader).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(error))?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// The number of the line read last, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Where the line read last begins, in the unpacked data.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The place of a record that begins at a byte of the unpacked data.
    pub(super) fn origin(&self, file: &str, start: u64) -> Origin {
        match self.packing {
            Packing::Plain => Origin::at_byte(file, start),
            Packing::Gzip | Packing::Zstd => Origin::in_packed(file, 0, start),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
        self.consumed += bytes as u64;
    }

    /// A bad record that begins at `line`.
    pub(super) fn bad(&self, line: u64, reason: BadReason, detail: String, bytes: u64) -> Record {
        Record::Bad(BadRecord {
            place: format!("{}:{line}", self.path.display()),
            reason,
            detail,
            bytes,
        })
    }

    fn skip_byte_order_mark(&mut self) -> Result<()> {
        let start = match self.reader.fill_buf() {
            Ok(start) => start,
            Err(error) => return Err(self.broken(error)),
        };
        if start.starts_with(&UTF8_BOM) {
            self.consume(UTF8_BOM.len());
        }
        Ok(())
    }

    /// A reading error: of a compressed file, damage inside it, told with the line reached.
    fn broken(&self, error: std::io::Error) -> Error {
        let is_own = error.get_ref().is_some_and(|inner| inner.is::<Error>());
        if is_own || self.packing == Packing::Plain {
            return Error::reading(&self.path, error);
        }
        let packing = self.packing.name();
        let place = format!("in or after line {}", self.line.max(1));
        let problem = match error.kind() {
            ErrorKind::UnexpectedEof => format!("{packing} data is truncated {place}"),
            _ => format!("{packing} data is damaged {place}: {error}"),
        };
        Error::Malformed { path: self.path.clone(), problem }
    }
}

impl Packing {
    /// The packing that the first bytes of a file show.
    ///
    /// # Errors
    /// Its name promises another.
    pub(super) fn of(path: &Path, start: &[u8]) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let named = match (Self::of_magic(start), extension) {
            (Some(packing), _) => return Ok(packing),
            (None, Some("gz")) => Self::Gzip.name(),
            (None, Some("zst")) => Self::Zstd.name(),
            _ => return Ok(Self::Plain),
        };
        let found = match start.len() {
            0 => "nothing".to_owned(),
            n => format!("bytes {:02x?}", &start[..n.min(4)]),
        };
        let problem = format!("the name promises {named} data, found {found} at its start");
        Err(Error::Malformed { path: path.to_owned(), problem })
    }

    /// The packing of which bytes are the beginning.
    pub(super) fn of_magic(start: &[u8]) -> Option<Self> {
        match start {
            _ if start.starts_with(&GZIP_MAGIC) => Some(Self::Gzip),
            _ if is_zstd(start) => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A zstd frame or a skippable frame (RFC 8878, 3.1).
fn is_zstd(start: &[u8]) -> bool {
    let skippable =
        start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
    start.starts_with(&ZSTD_MAGIC) || skippable
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(path: &Path, limit: usize) -> Result<Vec<String>> {
        let mut lines = Lines::open(&InputFile::local(path).unwrap(), Arc::default())?;
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        while let Some(line) = lines.next_within(&mut buffer, limit)? {
            found.push(match line {
                Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Line::TooLong { bytes } => format!("<{bytes}>"),
            });
        }
        Ok(found)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_in_every_packing() {
        let dir = tempfile::tempdir().unwrap();
        let text = b"\xef\xbb\xbfone\n\ntwo with more\nlast";
        let check = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(lines(&path, 5).unwrap(), ["one", "", "<13>", "last"], "{name}");
        };
        check("plain.txt", text);
        check("named.gz", &gzip(text));
        check("unnamed", &zstd::encode_all(&text[..], 1).unwrap());
    }

    #[test]
    fn damage_is_an_error_with_path_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..20_000).map(|i| format!("line number {}\n", i * i)).collect();
        let check = |name: &str, bytes: &[u8], expected: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let message = lines(&path, 100).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(expected), "{message}");
        };
        let packed = gzip(text.as_bytes());
        check("cut.gz", &packed[..packed.len() / 2], "gzip data is truncated in or after line");
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        check("cut.zst", &packed[..packed.len() / 2], "zstd data is truncated in or after line");
        check("empty.gz", b"", "promises gzip data, found nothing");
        check("wrong.zst", b"{\"a\":1}", "promises zstd data, found bytes [7b, 22, 61, 22]");
    }
}
