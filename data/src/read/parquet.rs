//! Rows of a Parquet file to documents: ours between stages, or any with a text column.
//!
//! Read are the text, id and url columns of the source and, in files of our own writing, source, language, meta and
//! origin; those of before had no origin.
//! Other columns of foreign files are left out.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::{Array, LargeStringArray, RecordBatch, StringArray, StringViewArray};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
};

use super::{BadReason, BadRecord, Record, Source, file::InputFile, guarded::guarded};
use crate::{Document, Error, Language, Origin, Result, write::DOCUMENT_COLUMNS};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 256;

/// Reads the rows of one file.
pub(super) struct Parquet {
    path: PathBuf,
    name: String,
    source: Source,
    batches: ParquetRecordBatchReader,
    records: std::vec::IntoIter<Record>,
    n_rows: u64,
    n_file_rows: u64,
    file_bytes: u64,
    position: Arc<AtomicU64>,
    failed: bool,
}

impl Parquet {
    pub(super) fn open(
        input: &InputFile,
        source: &Source,
        position: Arc<AtomicU64>,
    ) -> Result<Self> {
        let path = &input.path;
        let malformed = |error: ParquetError| malformed(path, error);
        // Arrow's own schema in the file says nothing that strings need, and its decoder trusts it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let chunks = input.chunks()?;
        let open = || ParquetRecordBatchReaderBuilder::try_new_with_options(chunks, options);
        let builder = decode(path, open)?.map_err(malformed)?;
        let names: Vec<String> =
            builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        if !names.contains(&source.text_field) {
            let problem =
                format!("no column `{}`, found `{}`", source.text_field, names.join("`, `"));
            return Err(Error::Malformed { path: path.clone(), problem });
        }
        let wanted = [
            source.text_field.as_str(),
            &source.id_field,
            &source.url_field,
            "source",
            "language",
            "meta",
            "origin",
        ];
        let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
        let n_file_rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let build = || builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let batches = decode(path, build)?.map_err(malformed)?;
        Ok(Self {
            path: path.clone(),
            name: input.name.clone(),
            source: source.clone(),
            batches,
            records: Vec::new().into_iter(),
            n_rows: 0,
            n_file_rows,
            file_bytes: input.bytes,
            position,
            failed: false,
        })
    }

    fn records_of(&mut self, batch: &RecordBatch) -> Result<Vec<Record>> {
        let columns = Columns::of(batch, &self.source, &self.path)?;
        let records = (0..batch.num_rows()).map(|row| {
            let number = self.n_rows + row as u64 + 1;
            columns.document(row, number, &self.source, &self.name).map_or_else(
                |detail| {
                    let place = format!("{}:{number}", self.path.display());
                    Record::Bad(BadRecord { place, reason: BadReason::NoText, detail, bytes: 0 })
                },
                Record::Document,
            )
        });
        let records: Vec<Record> = records.collect();
        let done_before = self.share_of_file(self.n_rows);
        self.n_rows += batch.num_rows() as u64;
        self.position.fetch_add(self.share_of_file(self.n_rows) - done_before, Ordering::Relaxed);
        Ok(records)
    }

    /// Bytes of the file that so many rows stand for.
    fn share_of_file(&self, rows: u64) -> u64 {
        let share =
            u128::from(self.file_bytes) * u128::from(rows) / u128::from(self.n_file_rows.max(1));
        u64::try_from(share).unwrap_or(self.file_bytes).min(self.file_bytes)
    }
}

impl Iterator for Parquet {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(Ok(record));
            }
            if self.failed {
                return None;
            }
            let records = match decode(&self.path, || self.batches.next()) {
                Ok(None) => return None,
                Ok(Some(Ok(batch))) => self.records_of(&batch),
                Ok(Some(Err(error))) => Err(malformed(&self.path, error.into())),
                Err(error) => Err(error),
            };
            self.failed = records.is_err();
            match records {
                Ok(records) => self.records = records.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Calls the decoder, whose checks of damaged files have holes.
fn decode<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T> {
    guarded(call).ok_or_else(|| no_parquet(path, "the decoder gave up on it"))
}

/// An error of the decoder: one of reading the file, if that is what it was, else of what the file holds.
fn malformed(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => no_parquet(path, inner),
        },
        error => no_parquet(path, error),
    }
}

fn no_parquet(path: &Path, problem: impl std::fmt::Display) -> Error {
    let problem = format!("not a readable Parquet file: {problem}");
    Error::Malformed { path: path.to_owned(), problem }
}

/// The columns of a batch that make documents.
struct Columns<'a> {
    text: Strings<'a>,
    id: Option<Strings<'a>>,
    url: Option<Strings<'a>>,
    /// Source, language and meta, when the file has every column of our own.
    own: Option<[Strings<'a>; 3]>,
    /// Where records were first read from, in files of our own.
    origin: Option<Strings<'a>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch, source: &Source, path: &Path) -> Result<Self> {
        let column = |name: &str| match batch.column_by_name(name) {
            None => Ok(None),
            Some(array) => Strings::of(array.as_ref()).map(Some).ok_or_else(|| Error::Malformed {
                path: path.to_owned(),
                problem: format!(
                    "column `{name}` has type `{}`, expected strings",
                    array.data_type()
                ),
            }),
        };
        let text = column(&source.text_field)?;
        let text = text.ok_or_else(|| {
            no_parquet(path, format!("column `{}` is missing", source.text_field))
        })?;
        let is_own = DOCUMENT_COLUMNS.iter().all(|name| batch.column_by_name(name).is_some());
        let own = if is_own {
            [column("source")?, column("language")?, column("meta")?]
        } else {
            [None; 3]
        };
        let own = match own {
            [Some(source), Some(language), Some(meta)] => Some([source, language, meta]),
            _ => None,
        };
        let origin = if own.is_some() { column("origin")? } else { None };
        let (id, url) = (column(&source.id_field)?, column(&source.url_field)?);
        Ok(Self { text, id, url, own, origin })
    }

    fn document(
        &self,
        row: usize,
        number: u64,
        source: &Source,
        file: &str,
    ) -> std::result::Result<Document, String> {
        let text =
            self.text.get(row).ok_or_else(|| format!("column `{}` is null", source.text_field))?;
        let id = self.id.and_then(|id| id.get(row)).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("{}/{file}:{number}", source.name), str::to_owned);
        let url = self.url.and_then(|url| url.get(row)).map(str::to_owned);
        let mut document = Document {
            id,
            text: text.to_owned(),
            source: source.name.clone(),
            url,
            language: source.language,
            meta: serde_json::Map::new(),
            origin: Some(Origin::at_row(file, number - 1)),
        };
        if let Some([own_source, language, meta]) = self.own {
            document.source = own_source.get(row).unwrap_or(&source.name).to_owned();
            document.language =
                language.get(row).and_then(Language::from_name).unwrap_or(source.language);
            document.meta = serde_json::from_str(meta.get(row).unwrap_or("{}"))
                .map_err(|error| format!("column `meta` is not a JSON object: {error}"))?;
        }
        if let Some(origin) = self.origin.and_then(|origin| origin.get(row)) {
            let origin = serde_json::from_str(origin);
            document.origin =
                Some(origin.map_err(|error| format!("column `origin` is no place: {error}"))?);
        }
        Ok(document)
    }
}

/// A column of strings in any of Arrow's layouts.
#[derive(Clone, Copy)]
enum Strings<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        let array = array.as_any();
        (array.downcast_ref().map(Self::Small))
            .or_else(|| array.downcast_ref().map(Self::Large))
            .or_else(|| array.downcast_ref().map(Self::View))
    }

    fn get(self, row: usize) -> Option<&'a str> {
        match self {
            Self::Small(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}
