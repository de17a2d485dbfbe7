//! A shard of tokens on its way into a corpus: the ids of each document, with what decides where they go.

use std::{
    borrow::Cow,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, LargeBinaryArray, RecordBatch, StringArray,
    UInt64Array,
    cast::AsArray,
    types::{Float64Type, UInt64Type},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::{reader::FileReader, writer::FileWriter};

use crate::{
    Document, Error, Language, Result, corpus::Split, pending_file::PendingFile,
    shuffle::table::failed, write::Output,
};

/// Documents that are encoded together.
const BATCH_DOCUMENTS: usize = 512;

/// The tokens of a document.
pub(super) struct Piece<'a> {
    pub(super) source: Cow<'a, str>,
    pub(super) language: Language,
    pub(super) split: Split,
    /// UTF-8 bytes of the text.
    pub(super) bytes: u64,
    /// The document's own entropy, where its generator states it.
    pub(super) nats: Option<f64>,
    pub(super) ids: Cow<'a, [u32]>,
}

impl<'a> Piece<'a> {
    /// The piece of a document with these ids.
    pub(super) fn of(document: &'a Document, ids: &'a [u32]) -> Self {
        Self {
            source: document.source.as_str().into(),
            language: document.language,
            split: if document.is_held_out() { Split::HeldOut } else { Split::Train },
            bytes: document.text.len() as u64,
            nats: document.meta.get("nats").and_then(serde_json::Value::as_f64),
            ids: ids.into(),
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("language", DataType::Utf8, false),
        Field::new("held_out", DataType::Boolean, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("nats", DataType::Float64, true),
        Field::new("ids", DataType::LargeBinary, false),
    ]))
}

/// Writes pieces, whole or not at all.
pub(super) struct PieceWriter {
    path: PathBuf,
    writer: FileWriter<Output>,
    batch: Batch,
}

/// Columns that gather.
#[derive(Default)]
struct Batch {
    source: Vec<String>,
    language: Vec<&'static str>,
    held_out: Vec<bool>,
    bytes: Vec<u64>,
    nats: Vec<Option<f64>>,
    /// Little-endian, four bytes each.
    ids: Vec<Vec<u8>>,
}

impl PieceWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let output = Output(PendingFile::create(path)?);
        let writer = FileWriter::try_new(output, &schema()).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), writer, batch: Batch::default() })
    }

    pub(super) fn push(&mut self, piece: &Piece<'_>) -> Result<()> {
        let batch = &mut self.batch;
        batch.source.push(piece.source.clone().into_owned());
        batch.language.push(piece.language.name());
        batch.held_out.push(piece.split == Split::HeldOut);
        batch.bytes.push(piece.bytes);
        batch.nats.push(piece.nats);
        batch.ids.push(piece.ids.iter().flat_map(|id| id.to_le_bytes()).collect());
        match batch.source.len() < BATCH_DOCUMENTS {
            true => Ok(()),
            false => self.write_batch(),
        }
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.write_batch()?;
        self.writer.into_inner().map_err(failed(&self.path))?.0.commit()
    }

    fn write_batch(&mut self) -> Result<()> {
        let Batch { source, language, held_out, bytes, nats, ids } =
            std::mem::take(&mut self.batch);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(source)),
            Arc::new(StringArray::from(language)),
            Arc::new(BooleanArray::from(held_out)),
            Arc::new(UInt64Array::from(bytes)),
            Arc::new(Float64Array::from(nats)),
            Arc::new(ids.iter().map(Some).collect::<LargeBinaryArray>()),
        ];
        let batch = RecordBatch::try_new(schema(), columns);
        batch.and_then(|batch| self.writer.write(&batch)).map_err(failed(&self.path))
    }
}

/// Reads pieces back in order.
pub(super) struct PieceReader {
    path: PathBuf,
    reader: FileReader<BufReader<File>>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl PieceReader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        let reader = FileReader::try_new(file, None).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), reader, batch: None, row: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece<'static>>> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.num_rows()) {
            let Some(batch) = self.reader.next() else { return Ok(None) };
            self.batch = Some(batch.map_err(failed(&self.path))?);
            self.row = 0;
        }
        let row = self.row;
        self.row += 1;
        let piece = self.batch.as_ref().and_then(|batch| piece(batch, row));
        let malformed = || Error::Malformed {
            path: self.path.clone(),
            problem: "not a table of tokens".to_owned(),
        };
        piece.map(Some).ok_or_else(malformed)
    }
}

fn piece(batch: &RecordBatch, row: usize) -> Option<Piece<'static>> {
    let [source, language, held_out, bytes, nats, ids] = batch.columns() else { return None };
    let nats = nats.as_primitive_opt::<Float64Type>()?;
    let ids = ids.as_binary_opt::<i64>()?.value(row).as_chunks::<4>().0;
    Some(Piece {
        source: source.as_string_opt::<i32>()?.value(row).to_owned().into(),
        language: Language::from_name(language.as_string_opt::<i32>()?.value(row))?,
        split: match held_out.as_boolean_opt()?.value(row) {
            true => Split::HeldOut,
            false => Split::Train,
        },
        bytes: bytes.as_primitive_opt::<UInt64Type>()?.value(row),
        nats: nats.is_valid(row).then(|| nats.value(row)),
        ids: ids.iter().map(|id| u32::from_le_bytes(*id)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::laws::document;

    #[test]
    fn pieces_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.arrow");
        let mut documents: Vec<Document> =
            (0..1500).map(|i| document(&i.to_string(), &"字".repeat(i % 5))).collect();
        documents[7].meta.insert("nats".to_owned(), serde_json::json!(0.1));
        let ids: Vec<u32> = (0..9).map(|i| i * 0x0102_0304).collect();
        let mut writer = PieceWriter::create(&path).unwrap();
        for document in &documents {
            writer.push(&Piece::of(document, &ids)).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = PieceReader::open(&path).unwrap();
        for document in &documents {
            let (found, expected) = (reader.next().unwrap().unwrap(), Piece::of(document, &ids));
            assert_eq!((&found.source, &found.ids), (&expected.source, &expected.ids));
            assert_eq!((found.language, found.split), (expected.language, expected.split));
            assert_eq!((found.bytes, found.nats), (expected.bytes, expected.nats));
        }
        assert!(reader.next().unwrap().is_none());
    }
}
