//! The documents of files named on the command line, one after another.

use neo_data::read::{Format, Reader, Record, Source};
use neo_data::{Document, Language};

use crate::progress::{Progress, write_line};

/// Files to read, and what their documents are taken for when they do not say so themselves.
pub(super) struct Input<'a> {
    /// Files, folders or patterns.
    pub(super) path: &'a str,
    pub(super) language: Language,
    pub(super) text_field: &'a str,
}

/// The documents of all inputs; the first error ends them and is kept.
pub(super) struct Texts {
    readers: std::vec::IntoIter<Reader>,
    current: Option<Reader>,
    n_bad: u64,
    bytes_before: u64,
    failure: Option<neo_data::Error>,
    progress: Progress,
}

impl Texts {
    /// Finds all files.
    pub(super) fn open<'a>(inputs: impl Iterator<Item = Input<'a>>) -> anyhow::Result<Self> {
        let readers: Vec<Reader> =
            inputs.map(|input| Reader::open(&input.source())).collect::<Result<_, _>>()?;
        let total_bytes = readers.iter().map(|reader| reader.progress().1).sum();
        Ok(Self {
            readers: readers.into_iter(),
            current: None,
            n_bad: 0,
            bytes_before: 0,
            failure: None,
            progress: Progress::new("reading bytes", Some(total_bytes)),
        })
    }

    /// Tells of records without text; the error that ended the reading, if one did.
    pub(super) fn finish(self) -> Result<(), neo_data::Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.n_bad > 0 {
            write_line(&format!("{} records hold no text and were left out", self.n_bad));
        }
        Ok(())
    }
}

impl Input<'_> {
    /// A source named as its file is, up to the first point.
    fn source(&self) -> Source {
        let name = self.path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
        let name = name.split('.').find(|part| !part.is_empty()).unwrap_or_default();
        let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let name = if name.is_empty() { "input" } else { &name };
        let format = Format::of_path(self.path);
        Source {
            text_field: self.text_field.to_owned(),
            ..Source::new(name, self.language, vec![self.path.to_owned()], format)
        }
    }
}

impl Iterator for Texts {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        loop {
            if self.current.is_none() {
                self.current = Some(self.readers.next()?);
            }
            let reader = self.current.as_mut()?;
            let (read, total) = reader.progress();
            self.progress.set(self.bytes_before + read, "");
            match reader.next() {
                Some(Ok(Record::Document(document))) => return Some(document),
                Some(Ok(Record::Bad(_))) => self.n_bad += 1,
                Some(Err(failure)) => {
                    self.failure = Some(failure);
                    self.readers = Vec::new().into_iter();
                    self.current = None;
                }
                None => {
                    self.bytes_before += total;
                    self.current = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_as_their_files() {
        let check = |path: &str, expected: &str| {
            let input = Input { path, language: Language::Other, text_field: "text" };
            assert_eq!(input.source().name, expected);
        };
        check("a/b/books.jsonl.zst", "books");
        check("out/documents/", "documents");
        check("raw/*.txt", "_");
        check("..", "input");
    }
}
