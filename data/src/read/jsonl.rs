//! One JSON object a line to documents. What the record holds beside text, id and address stays in `meta`.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    BadReason, Record, Source,
    file::InputFile,
    stream::{Line, Lines},
};
use crate::{Document, Error, Language, Origin, Result};

/// Reads the records of one file.
pub(super) struct Jsonl {
    lines: Lines,
    buffer: Vec<u8>,
    maker: DocumentMaker,
    stored_name: String,
    path: PathBuf,
    /// Whether any record was usable; a file in which none is, is the wrong file.
    any_document: bool,
    first_bad: Option<super::BadRecord>,
    n_bad: u64,
    done: bool,
}

impl Jsonl {
    pub(super) fn open(
        file: &InputFile,
        source: &Source,
        position: Arc<AtomicU64>,
    ) -> Result<Self> {
        Ok(Self {
            lines: Lines::open(file, position)?,
            buffer: Vec::new(),
            maker: DocumentMaker { source: source.clone(), file: file.name.clone() },
            stored_name: file.stored_name(),
            path: file.path.clone(),
            any_document: false,
            first_bad: None,
            n_bad: 0,
            done: false,
        })
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            let Some(line) = self.lines.next(&mut self.buffer)? else { return Ok(None) };
            let bytes = match line {
                Line::Whole(bytes) => bytes,
                Line::TooLong { bytes } => {
                    let detail = format!(
                        "a line of {bytes} bytes, expected at most {}",
                        super::MAX_RECORD_BYTES
                    );
                    return Ok(Some(self.lines.bad(
                        self.lines.line(),
                        BadReason::TooLong,
                        detail,
                        bytes,
                    )));
                }
            };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let number = self.lines.line();
            let record = parse(bytes).and_then(|record| self.maker.document(record, number));
            let origin = || self.lines.origin(&self.stored_name, self.lines.start());
            return Ok(Some(match record {
                Ok(document) => {
                    let origin = document.origin.or_else(|| Some(origin()));
                    Record::Document(Document { origin, ..document })
                }
                Err((reason, detail)) => self.lines.bad(number, reason, detail, bytes.len() as u64),
            }));
        }
    }

    /// At the end of the file: an error if it had records and none was usable.
    fn check_any(&mut self) -> Result<()> {
        match self.first_bad.take() {
            Some(bad) if !self.any_document => {
                let problem = format!(
                    "none of the {} records is usable; the first, at line {}: {}",
                    self.n_bad,
                    bad.place.rsplit(':').next().unwrap_or_default(),
                    bad.detail
                );
                Err(Error::Malformed { path: self.path.clone(), problem })
            }
            _ => Ok(()),
        }
    }
}

impl Iterator for Jsonl {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = match self.next_record() {
            Ok(None) => {
                self.done = true;
                return self.check_any().err().map(Err);
            }
            Ok(Some(record)) => Ok(record),
            Err(error) => Err(error),
        };
        match &record {
            Ok(Record::Document(_)) => self.any_document = true,
            Ok(Record::Bad(bad)) => {
                self.n_bad += 1;
                self.first_bad.get_or_insert_with(|| bad.clone());
            }
            Err(_) => self.done = true,
        }
        Some(record)
    }
}

/// Why a record is no document.
type Refusal = (BadReason, String);

fn parse(bytes: &[u8]) -> std::result::Result<Map<String, Value>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        (
            BadReason::InvalidUtf8,
            format!("invalid UTF-8 at byte {} of the line", error.valid_up_to()),
        )
    })?;
    match serde_json::from_str(text) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(other) => {
            Err((BadReason::BrokenJson, format!("found {}, expected a JSON object", kind(&other))))
        }
        Err(error) => Err((BadReason::BrokenJson, format!("broken JSON: {error}"))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Turns records into documents by the field names of a source.
struct DocumentMaker {
    source: Source,
    file: String,
}

impl DocumentMaker {
    fn document(
        &self,
        mut record: Map<String, Value>,
        line: u64,
    ) -> std::result::Result<Document, Refusal> {
        let source = &self.source;
        let text = match record.shift_remove(&source.text_field) {
            Some(Value::String(text)) => text,
            Some(other) => {
                let detail =
                    format!("field `{}` is {}, expected a string", source.text_field, kind(&other));
                return Err((BadReason::NoText, detail));
            }
            None => return Err((BadReason::NoText, self.no_text_field(&record))),
        };
        let id = match record.shift_remove(&source.id_field) {
            Some(Value::String(id)) if !id.is_empty() => id,
            Some(Value::Number(id)) => id.to_string(),
            _ => format!("{}/{}:{line}", source.name, self.file),
        };
        let url = match record.shift_remove(&source.url_field) {
            Some(Value::String(url)) => Some(url),
            _ => None,
        };
        let mut document = Document {
            id,
            text,
            source: source.name.clone(),
            url,
            language: source.language,
            meta: record,
            origin: None,
        };
        restore_own_fields(&mut document);
        Ok(document)
    }

    fn no_text_field(&self, record: &Map<String, Value>) -> String {
        let wanted = &self.source.text_field;
        let names: Vec<String> = record.keys().take(8).map(|name| format!("`{name}`")).collect();
        match names.len() {
            0 => format!("no field `{wanted}`, the record is empty"),
            _ => format!("no field `{wanted}`, found {}", names.join(", ")),
        }
    }
}

/// What is left of a written document beside text, id and address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFields {
    source: String,
    language: Language,
    meta: Map<String, Value>,
    #[serde(default)]
    origin: Option<Origin>,
}

/// Undoes what writing a document as JSON did: a record with exactly our own remaining fields gets them back.
fn restore_own_fields(document: &mut Document) {
    if !document.meta.contains_key("meta") {
        return;
    }
    let own = OwnFields::deserialize(&document.meta);
    if let Ok(OwnFields { source, language, meta, origin }) = own {
        (document.source, document.language) = (source, language);
        (document.meta, document.origin) = (meta, origin);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Format, Reader},
        *,
    };

    fn read(bytes: &[u8]) -> Result<Vec<Record>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let source = Source::new(
            "s",
            Language::Zh,
            vec![path.to_string_lossy().into_owned()],
            Format::Jsonl,
        );
        Reader::open(&source)?.collect()
    }

    fn summary(record: &Record) -> String {
        match record {
            Record::Document(d) => {
                format!("{} {} {:?} {}", d.id, d.text, d.url, Value::Object(d.meta.clone()))
            }
            Record::Bad(bad) => format!("bad {} {}", bad.reason.name(), bad.detail),
        }
    }

    fn check(bytes: &[u8], expected: &[&str]) {
        let found: Vec<String> = read(bytes).unwrap().iter().map(summary).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn records_become_documents_with_the_rest_as_meta() {
        check(
            "{\"id\":\"a\",\"text\":\"甲\",\"url\":\"u\",\"n\":1.5}\n\n  {\"id\":7,\"text\":\"b\"}\r\n{\"text\":\"c\"}".as_bytes(),
            &["a 甲 Some(\"u\") {\"n\":1.5}", "7 b None {}", "s/in.jsonl:4 c None {}"],
        );
    }

    #[test]
    fn bad_records_are_data() {
        check(
            b"{\"text\":\"ok\"}\n{\"text\":\"\xff\"}\n{\"text\":\n[1]\n{\"txt\":\"x\"}\n{\"text\":3}\n",
            &[
                "s/in.jsonl:1 ok None {}",
                "bad invalid_utf8 invalid UTF-8 at byte 9 of the line",
                "bad broken_json broken JSON: EOF while parsing a value at line 1 column 8",
                "bad broken_json found an array, expected a JSON object",
                "bad no_text no field `text`, found `txt`",
                "bad no_text field `text` is a number, expected a string",
            ],
        );
    }

    #[test]
    fn a_file_without_any_text_field_is_an_error() {
        let message = read(b"{\"body\":\"x\"}\n{\"body\":\"y\"}\n").unwrap_err().to_string();
        assert!(message.contains("in.jsonl"), "{message}");
        assert!(message.contains("none of the 2 records is usable"), "{message}");
        assert!(message.contains("line 1: no field `text`, found `body`"), "{message}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn written_documents_come_back(text in any::<String>(), key in "[a-z]{1,8}") {
            let mut meta = Map::new();
            meta.insert(key, Value::from(3));
            let document = Document {
                id: "i".into(), text, source: "other".into(), url: None, language: Language::Code, meta,
                origin: Some(Origin::in_packed("raw.jsonl.gz", 0, 7)),
            };
            let line = serde_json::to_string(&document).unwrap();
            prop_assert_eq!(read(line.as_bytes()).unwrap(), vec![Record::Document(document)]);
        }
    }
}
