//! Plain text to documents: the whole file, or its lines, paragraphs or articles.

use std::sync::{Arc, atomic::AtomicU64};

use super::{
    BadReason, MAX_RECORD_BYTES, Record, Source,
    file::InputFile,
    stream::{Line, Lines},
};
use crate::{Document, Origin, Result};

/// What part of a text file is one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Line,
    Paragraph,
    Article,
}

/// A file that is one document, with the id `source/file`.
pub(super) struct WholeFile {
    file: InputFile,
    id: String,
    source: Source,
    position: Option<Arc<AtomicU64>>,
}

impl WholeFile {
    pub(super) fn new(file: &InputFile, source: &Source, position: Arc<AtomicU64>) -> Self {
        let id = format!("{}/{}", source.name, file.name);
        Self { file: file.clone(), id, source: source.clone(), position: Some(position) }
    }

    fn read(&self, position: Arc<AtomicU64>) -> Result<Record> {
        let lines = Lines::open(&self.file, position)?;
        let whole = |reason, detail| super::BadRecord {
            place: format!("{}:1", self.file.path.display()),
            reason,
            detail,
            bytes: 0,
        };
        let origin = lines.origin(&self.file.stored_name(), 0);
        let Some(bytes) = lines.rest()? else {
            let detail = format!("the file has more than {MAX_RECORD_BYTES} bytes");
            return Ok(Record::Bad(super::BadRecord {
                bytes: MAX_RECORD_BYTES as u64 + 1,
                ..whole(BadReason::TooLong, detail)
            }));
        };
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Record::Document(document(&self.source, self.id.clone(), text, origin)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Record::Bad(super::BadRecord {
                    bytes: error.as_bytes().len() as u64,
                    ..whole(BadReason::InvalidUtf8, format!("invalid UTF-8 at byte {at}"))
                })
            }
        })
    }
}

impl Iterator for WholeFile {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.position.take()?;
        Some(self.read(position))
    }
}

/// The pieces of a file, each a document with the id `source/file:line` of its first line.
pub(super) struct Pieces {
    lines: Lines,
    buffer: Vec<u8>,
    source: Source,
    file: String,
    stored_name: String,
    unit: Unit,
    piece: Piece,
    done: bool,
}

/// Lines collected for the next document.
#[derive(Default)]
struct Piece {
    first_line: u64,
    start: u64,
    bytes: Vec<u8>,
    total_bytes: u64,
}

impl Piece {
    fn push(&mut self, line: u64, start: u64, text: &[u8]) {
        if self.total_bytes == 0 {
            (self.first_line, self.start) = (line, start);
        } else {
            self.bytes.push(b'\n');
        }
        self.total_bytes += text.len() as u64 + 1;
        if self.total_bytes <= MAX_RECORD_BYTES as u64 {
            self.bytes.extend_from_slice(text);
        } else {
            self.bytes.clear();
        }
    }
}

impl Pieces {
    pub(super) fn open(
        file: &InputFile,
        source: &Source,
        unit: Unit,
        position: Arc<AtomicU64>,
    ) -> Result<Self> {
        Ok(Self {
            lines: Lines::open(file, position)?,
            buffer: Vec::new(),
            source: source.clone(),
            file: file.name.clone(),
            stored_name: file.stored_name(),
            unit,
            piece: Piece::default(),
            done: false,
        })
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        while !self.done {
            let (mut finished, mut buffer) = (None, std::mem::take(&mut self.buffer));
            match self.lines.next(&mut buffer)? {
                None => {
                    self.done = true;
                    finished = self.take_piece();
                }
                Some(Line::TooLong { bytes }) => {
                    if self.piece.total_bytes == 0 {
                        self.piece.first_line = self.lines.line();
                    }
                    self.piece.total_bytes += bytes;
                    self.piece.bytes.clear();
                    if self.unit == Unit::Line {
                        finished = self.take_piece();
                    }
                }
                Some(Line::Whole(line)) => {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if self.unit == Unit::Article && is_title(line) {
                        finished = self.take_piece();
                    }
                    if self.unit == Unit::Article || !line.trim_ascii().is_empty() {
                        self.piece.push(self.lines.line(), self.lines.start(), line);
                    } else if self.unit == Unit::Paragraph {
                        finished = self.take_piece();
                    }
                    if self.unit == Unit::Line {
                        finished = self.take_piece();
                    }
                }
            }
            self.buffer = buffer;
            if finished.is_some() {
                return Ok(finished);
            }
        }
        Ok(None)
    }

    /// The collected lines as a record; `None` when they are blank.
    fn take_piece(&mut self) -> Option<Record> {
        let piece = std::mem::take(&mut self.piece);
        let (line, bytes) = (piece.first_line, piece.total_bytes);
        if bytes > MAX_RECORD_BYTES as u64 {
            let detail = format!("a piece of {bytes} bytes, expected at most {MAX_RECORD_BYTES}");
            return Some(self.lines.bad(line, BadReason::TooLong, detail, bytes));
        }
        match String::from_utf8(piece.bytes) {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => {
                let id = format!("{}/{}:{line}", self.source.name, self.file);
                let origin = self.lines.origin(&self.stored_name, piece.start);
                Some(Record::Document(document(&self.source, id, text, origin)))
            }
            Err(error) => {
                let detail = format!(
                    "invalid UTF-8 at byte {} of the piece",
                    error.utf8_error().valid_up_to()
                );
                Some(self.lines.bad(line, BadReason::InvalidUtf8, detail, bytes))
            }
        }
    }
}

impl Iterator for Pieces {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record().transpose();
        self.done |= matches!(record, Some(Err(_)));
        record
    }
}

/// Whether a line is a WikiText title of the first level: ` = Title = `.
fn is_title(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let inner = line.strip_prefix(b"= ").and_then(|line| line.strip_suffix(b" ="));
    inner.is_some_and(|title| {
        !title.is_empty() && !title.starts_with(b"=") && !title.ends_with(b"=")
    })
}

fn document(source: &Source, id: String, text: String, origin: Origin) -> Document {
    Document {
        id,
        text,
        source: source.name.clone(),
        url: None,
        language: source.language,
        meta: serde_json::Map::new(),
        origin: Some(origin),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Format, Reader},
        *,
    };
    use crate::Language;

    fn check(format: Format, text: &[u8], expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        std::fs::write(&path, text).unwrap();
        let source =
            Source::new("s", Language::En, vec![path.to_string_lossy().into_owned()], format);
        let found: Vec<String> = Reader::open(&source)
            .unwrap()
            .map(|record| match record.unwrap() {
                Record::Document(document) => format!("{}|{}", document.id, document.text),
                Record::Bad(bad) => format!("bad {}", bad.detail),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn whole_files() {
        check(Format::Text, b"a\n\nb\n", &["s/in.txt|a\n\nb\n"]);
        check(Format::Text, b"ab\xffc", &["bad invalid UTF-8 at byte 2"]);
    }

    #[test]
    fn lines() {
        check(
            Format::Lines,
            b"one\r\n \ntwo\n\xff\n",
            &["s/in.txt:1|one", "s/in.txt:3|two", "bad invalid UTF-8 at byte 0 of the piece"],
        );
    }

    #[test]
    fn paragraphs() {
        check(
            Format::Paragraphs,
            b"\n\none\nmore\n\n\ntwo",
            &["s/in.txt:3|one\nmore", "s/in.txt:7|two"],
        );
    }

    #[test]
    fn articles() {
        check(
            Format::Articles,
            b" \n = First = \n \n text\n = = Part = = \n more\n = Second = \n text\n",
            &[
                "s/in.txt:2| = First = \n \n text\n = = Part = = \n more",
                "s/in.txt:7| = Second = \n text",
            ],
        );
    }
}
