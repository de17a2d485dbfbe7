//! Documents and verdicts on disk between stages: Parquet (zstd) or JSONL, complete or not there at all.
//!
//! A file is written under a temporary name, synced and renamed by [`Writer::finish`]; a writer that is dropped
//! before leaves nothing behind. What is written here is read back by [`crate::read`].

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde::{Deserialize, Serialize};

use crate::{Document, Error, Origin, Result, pending_file::PendingFile};

/// Columns by which a document file is known as our own; `origin` came later.
pub(crate) const DOCUMENT_COLUMNS: [&str; 6] = ["id", "text", "source", "url", "language", "meta"];

/// Rows that may gather before they are encoded.
const BATCH_ROWS: usize = 1024;
/// Bytes that may gather before they are encoded.
const BATCH_BYTES: usize = 8 << 20;

/// How rows are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Apache Parquet, zstd.
    Parquet,
    /// One JSON object a line.
    Jsonl,
}

impl FileFormat {
    /// The file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
        }
    }
}

/// A document that a stage left out, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Id of the document.
    pub id: String,
    /// Stage that dropped it: `filter`, `exact`.
    pub stage: String,
    /// Rule that it failed.
    pub rule: String,
    /// What was measured: a number, or the text that decided (the id of the document it repeats).
    pub value: Value,
    /// How the value stands to the threshold: `<`, `<=`, `>` or `>=`.
    #[serde(default)]
    pub relation: Option<String>,
    /// The limit that was crossed, when the rule has one.
    pub threshold: Option<f64>,
    /// The first characters of the text.
    pub sample: String,
}

/// What a rule measured. A string in Parquet, for a column has one type; numbers in shortest exact form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A quantity.
    Number(f64),
    /// A word or an id.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A type that has a row in Parquet and a line in JSONL.
pub trait Row: Serialize + Clone {
    /// Columns and whether they may be null; all are strings.
    fn columns() -> &'static [(&'static str, bool)];
    /// The value of every column of [`Row::columns`].
    fn cells(&self) -> Vec<Option<String>>;
    /// About how many bytes the row takes.
    fn n_bytes(&self) -> usize;
}

impl Row for Document {
    fn columns() -> &'static [(&'static str, bool)] {
        &[
            ("id", false),
            ("text", false),
            ("source", false),
            ("url", true),
            ("language", false),
            ("meta", false),
            ("origin", true),
        ]
    }

    fn cells(&self) -> Vec<Option<String>> {
        let meta = serde_json::to_string(&self.meta)
            .expect("a JSON map has string keys and so a text form");
        vec![
            Some(self.id.clone()),
            Some(self.text.clone()),
            Some(self.source.clone()),
            self.url.clone(),
            Some(self.language.name().to_owned()),
            Some(meta),
            self.origin.as_ref().map(origin),
        ]
    }

    fn n_bytes(&self) -> usize {
        self.text.len() + self.id.len() + 64
    }
}

fn origin(origin: &Origin) -> String {
    serde_json::to_string(origin).expect("numbers and strings have a JSON form")
}

impl Row for Dropped {
    fn columns() -> &'static [(&'static str, bool)] {
        &[
            ("id", false),
            ("stage", false),
            ("rule", false),
            ("value", false),
            ("relation", true),
            ("threshold", true),
            ("sample", false),
        ]
    }

    fn cells(&self) -> Vec<Option<String>> {
        vec![
            Some(self.id.clone()),
            Some(self.stage.clone()),
            Some(self.rule.clone()),
            Some(self.value.to_string()),
            self.relation.clone(),
            self.threshold.map(|threshold| threshold.to_string()),
            Some(self.sample.clone()),
        ]
    }

    fn n_bytes(&self) -> usize {
        self.sample.len() + self.id.len() + 64
    }
}

/// Writes rows to one file.
pub struct Writer<R: Row> {
    path: PathBuf,
    sink: Sink<R>,
    n_rows: u64,
}

enum Sink<R> {
    Parquet { writer: Box<ArrowWriter<Output>>, schema: SchemaRef, rows: Vec<R>, bytes: usize },
    Jsonl(PendingFile),
}

impl<R: Row> Writer<R> {
    /// Begins `dir/name.parquet` or `dir/name.jsonl`; the folder is made if needed.
    ///
    /// # Errors
    /// The folder or the temporary file cannot be made.
    pub fn create(dir: &Path, name: &str, format: FileFormat) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let path = dir.join(format!("{name}.{}", format.extension()));
        let file = PendingFile::create(&path)?;
        let sink = match format {
            FileFormat::Jsonl => Sink::Jsonl(file),
            FileFormat::Parquet => {
                let fields =
                    R::columns().iter().map(|&(name, null)| Field::new(name, DataType::Utf8, null));
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by("neo".to_owned())
                    .build();
                let writer =
                    ArrowWriter::try_new(Output(file), Arc::clone(&schema), Some(properties));
                let writer = Box::new(writer.map_err(failed(&path))?);
                Sink::Parquet { writer, schema, rows: Vec::new(), bytes: 0 }
            }
        };
        Ok(Self { path, sink, n_rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Writing failed, as on a full disk.
    pub fn push(&mut self, row: &R) -> Result<()> {
        self.n_rows += 1;
        match &mut self.sink {
            Sink::Jsonl(file) => {
                let mut line = serde_json::to_vec(row).map_err(failed(&self.path))?;
                line.push(b'\n');
                file.write(&line)
            }
            Sink::Parquet { writer, schema, rows, bytes } => {
                *bytes += row.n_bytes();
                rows.push(row.clone());
                if rows.len() < BATCH_ROWS && *bytes < BATCH_BYTES {
                    return Ok(());
                }
                *bytes = 0;
                write_batch(writer, schema, rows).map_err(failed(&self.path))
            }
        }
    }

    /// Rows so far.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Makes the file appear under its name, which is returned.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed; nothing is left then.
    pub fn finish(self) -> Result<PathBuf> {
        let Self { path, sink, .. } = self;
        match sink {
            Sink::Jsonl(file) => file.commit()?,
            Sink::Parquet { mut writer, schema, mut rows, .. } => {
                write_batch(&mut writer, &schema, &mut rows).map_err(failed(&path))?;
                writer.into_inner().map_err(failed(&path))?.0.commit()?;
            }
        }
        Ok(path)
    }
}

/// For `map_err`: an encoder's error as one of writing `path`.
fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    path: &Path,
) -> impl FnOnce(E) -> Error + use<E> {
    let path = path.to_owned();
    move |error| Error::io(&path)(std::io::Error::other(error))
}

/// Encodes the gathered rows and forgets them.
fn write_batch<R: Row>(
    writer: &mut ArrowWriter<Output>,
    schema: &SchemaRef,
    rows: &mut Vec<R>,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let cells: Vec<Vec<Option<String>>> = rows.iter().map(R::cells).collect();
    let column = |index: usize| -> ArrayRef {
        Arc::new(cells.iter().map(|row| row[index].as_deref()).collect::<StringArray>())
    };
    let columns = (0..R::columns().len()).map(column).collect();
    writer.write(&RecordBatch::try_new(Arc::clone(schema), columns)?)?;
    rows.clear();
    // Row groups of a few batches keep the memory of writing and reading small.
    if writer.in_progress_size() > 4 * BATCH_BYTES {
        writer.flush()?;
    }
    Ok(())
}

/// Writes a small file whole: under a temporary name, synced, renamed.
///
/// # Errors
/// The folder cannot be made, writing failed.
pub fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
    }
    let mut file = PendingFile::create(path)?;
    file.write(content)?;
    file.commit()
}

/// A pending file as the sink of encoders.
pub(crate) struct Output(pub(crate) PendingFile);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Error::Io { source, .. }) => Err(source),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Language,
        read::{Format, Reader, Record, Source},
    };

    fn documents() -> Vec<Document> {
        let document = |i: usize| Document {
            id: format!("d{i}"),
            text: format!("text {i} 文\n\"quoted\"").repeat(i % 7),
            source: "src".to_owned(),
            url: i.is_multiple_of(2).then(|| format!("http://x/{i}")),
            language: Language::ALL[i % 4],
            meta: [("n".to_owned(), serde_json::json!([i, null]))].into_iter().collect(),
            origin: Some(Origin::at_byte("raw.jsonl", i as u64 * 10)),
        };
        (0..3000).map(document).collect()
    }

    fn check(format: FileFormat, read_as: Format) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), "kept", format).unwrap();
        for document in documents() {
            writer.push(&document).unwrap();
        }
        assert_eq!(writer.n_rows(), 3000);
        let path = writer.finish().unwrap();
        let source = Source::new(
            "ignored",
            Language::Other,
            vec![path.to_string_lossy().into_owned()],
            read_as,
        );
        let records: Vec<Record> = Reader::open(&source).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(records, documents().into_iter().map(Record::Document).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn documents_come_back_from_parquet() {
        check(FileFormat::Parquet, Format::Parquet);
    }

    #[test]
    fn documents_come_back_from_jsonl() {
        check(FileFormat::Jsonl, Format::Jsonl);
    }

    /// A document as it was written before documents had origins.
    #[derive(Clone, Serialize)]
    struct WithoutOrigin(Document);

    impl Row for WithoutOrigin {
        fn columns() -> &'static [(&'static str, bool)] {
            &Document::columns()[..DOCUMENT_COLUMNS.len()]
        }

        fn cells(&self) -> Vec<Option<String>> {
            let mut cells = self.0.cells();
            cells.truncate(DOCUMENT_COLUMNS.len());
            cells
        }

        fn n_bytes(&self) -> usize {
            self.0.n_bytes()
        }
    }

    #[test]
    fn files_of_before_are_read_and_are_the_origin_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), "kept", FileFormat::Parquet).unwrap();
        documents().into_iter().take(3).for_each(|d| writer.push(&WithoutOrigin(d)).unwrap());
        let path = writer.finish().unwrap();
        let input = vec![path.to_string_lossy().into_owned()];
        let source = Source::new("s", Language::Other, input, Format::Parquet);
        let records: Vec<Record> = Reader::open(&source).unwrap().collect::<Result<_>>().unwrap();
        let expected = |(row, document)| {
            let origin = Some(Origin::at_row("kept.parquet", row));
            Record::Document(Document { origin, ..document })
        };
        let expected: Vec<Record> = (0..).zip(documents()).take(3).map(expected).collect();
        assert_eq!(records, expected);
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), "kept", FileFormat::Parquet).unwrap();
        writer.push(&documents()[1]).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn parquet_without_the_text_column_names_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = Writer::<Document>::create(dir.path(), "kept", FileFormat::Parquet)
            .unwrap()
            .finish()
            .unwrap();
        let input = vec![path.to_string_lossy().into_owned()];
        let mut source = Source::new("s", Language::Other, input, Format::Parquet);
        source.text_field = "body".to_owned();
        let error =
            Reader::open(&source).unwrap().collect::<Result<Vec<_>>>().unwrap_err().to_string();
        assert!(error.contains("no column `body`, found `id`, `text`"), "{error}");
    }

    #[test]
    fn damaged_parquet_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        std::fs::write(&path, b"PAR1 not really PAR1").unwrap();
        let source = Source::new(
            "s",
            Language::Other,
            vec![path.to_string_lossy().into_owned()],
            Format::Parquet,
        );
        let error =
            Reader::open(&source).unwrap().collect::<Result<Vec<_>>>().unwrap_err().to_string();
        assert!(
            error.contains("x.parquet") && error.contains("not a readable Parquet file"),
            "{error}"
        );
    }
}
