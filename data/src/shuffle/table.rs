//! Tables of numbers on disk, in Arrow's file format: what maps hand to plans, and plans to maps.
//!
//! A table has named columns of 64-bit numbers and maybe one of texts, `id`, after them. It is written row by row and
//! read row by row or by a plan; neither holds more than a batch.

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, UInt64Array, cast::AsArray, types::UInt64Type,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::{reader::FileReader, writer::FileWriter};

use crate::{Error, Result, pending_file::PendingFile, write::Output};

/// Rows that are encoded together.
const BATCH_ROWS: usize = 8192;

/// The columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns<const N: usize> {
    /// Names of the numbers.
    pub(crate) numbers: [&'static str; N],
    /// Whether a text `id` comes after them.
    pub(crate) has_id: bool,
}

/// Keys of whole documents.
pub(crate) const DOCUMENT_KEYS: Columns<3> =
    Columns { numbers: ["key_hi", "key_lo", "document"], has_id: false };
/// Keys of parts: `place` is the document's rank in the upper half, the position in it in the lower.
pub(crate) const PART_KEYS: Columns<4> =
    Columns { numbers: ["key_hi", "key_lo", "place", "document"], has_id: false };
/// A document and its id, or that of another.
pub(crate) const IDS: Columns<1> = Columns { numbers: ["document"], has_id: true };
/// A document and the one that stays for it.
pub(crate) const COPIES: Columns<2> = Columns { numbers: ["document", "first"], has_id: false };
/// A part that goes.
pub(crate) const REPEATS: Columns<2> = Columns { numbers: ["document", "place"], has_id: false };
/// The rank of every document, in their order.
pub(crate) const RANKS: Columns<1> = Columns { numbers: ["rank"], has_id: false };

impl<const N: usize> Columns<N> {
    /// The table's schema in Arrow's terms.
    pub(crate) fn schema(&self) -> SchemaRef {
        let number = |name: &&str| Field::new(*name, DataType::UInt64, false);
        let mut fields: Vec<Field> = self.numbers.iter().map(number).collect();
        if self.has_id {
            fields.push(Field::new("id", DataType::Utf8, false));
        }
        Arc::new(Schema::new(fields))
    }
}

/// Writes a table, whole or not at all.
pub(crate) struct TableWriter<const N: usize> {
    writer: FileWriter<Output>,
    schema: SchemaRef,
    path: std::path::PathBuf,
    numbers: [Vec<u64>; N],
    ids: Option<Vec<String>>,
}

impl<const N: usize> TableWriter<N> {
    /// Begins a table.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn create(path: &Path, columns: Columns<N>) -> Result<Self> {
        let schema = columns.schema();
        let output = Output(PendingFile::create(path)?);
        let writer = FileWriter::try_new(output, &schema).map_err(failed(path))?;
        let numbers = std::array::from_fn(|_| Vec::with_capacity(BATCH_ROWS));
        let ids = columns.has_id.then(Vec::new);
        Ok(Self { writer, schema, path: path.to_owned(), numbers, ids })
    }

    /// Adds a row of a table without ids.
    ///
    /// # Errors
    /// Writing failed.
    pub(crate) fn push(&mut self, row: [u64; N]) -> Result<()> {
        self.numbers.iter_mut().zip(row).for_each(|(column, number)| column.push(number));
        match self.numbers[0].len() < BATCH_ROWS {
            true => Ok(()),
            false => self.write_batch(),
        }
    }

    /// Adds a row of a table with ids.
    ///
    /// # Errors
    /// Writing failed.
    pub(crate) fn push_with_id(&mut self, row: [u64; N], id: &str) -> Result<()> {
        self.ids.iter_mut().for_each(|ids| ids.push(id.to_owned()));
        self.push(row)
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed.
    pub(crate) fn finish(mut self) -> Result<()> {
        if !self.numbers[0].is_empty() {
            self.write_batch()?;
        }
        let failed = failed(&self.path);
        self.writer.into_inner().map_err(failed)?.0.commit()
    }

    fn write_batch(&mut self) -> Result<()> {
        let numbers = self
            .numbers
            .iter_mut()
            .map(|column| -> ArrayRef { Arc::new(column.drain(..).collect::<UInt64Array>()) });
        let mut columns: Vec<ArrayRef> = numbers.collect();
        columns.extend(
            self.ids.iter_mut().map(|ids| -> ArrayRef {
                Arc::new(ids.drain(..).map(Some).collect::<StringArray>())
            }),
        );
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        batch.and_then(|batch| self.writer.write(&batch)).map_err(failed(&self.path))
    }
}

/// Reads a table row by row.
pub(crate) struct TableReader<const N: usize> {
    reader: FileReader<BufReader<File>>,
    path: std::path::PathBuf,
    batch: Option<Rows<N>>,
    row: usize,
}

/// A batch by columns.
pub(crate) struct Rows<const N: usize> {
    numbers: [UInt64Array; N],
    ids: Option<StringArray>,
    n_rows: usize,
}

impl<const N: usize> Rows<N> {
    /// The columns of a batch whose first `N` are numbers.
    pub(crate) fn of(batch: &RecordBatch) -> Option<Self> {
        let mut numbers = Vec::with_capacity(N);
        for column in batch.columns().iter().take(N) {
            numbers.push(column.as_primitive_opt::<UInt64Type>()?.clone());
        }
        let ids = batch.columns().get(N).and_then(|column| column.as_string_opt::<i32>().cloned());
        Some(Self { numbers: numbers.try_into().ok()?, ids, n_rows: batch.num_rows() })
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The numbers of a row.
    pub(crate) fn numbers(&self, row: usize) -> [u64; N] {
        std::array::from_fn(|column| self.numbers[column].value(row))
    }

    /// The text of a row; empty in a table without.
    pub(crate) fn id(&self, row: usize) -> &str {
        self.ids.as_ref().map_or("", |ids| ids.value(row))
    }
}

impl<const N: usize> TableReader<N> {
    /// Opens a table.
    ///
    /// # Errors
    /// The file cannot be read or is no such table.
    pub(crate) fn open(path: &Path, columns: Columns<N>) -> Result<Self> {
        let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
        let reader = FileReader::try_new(file, None).map_err(failed(path))?;
        match reader.schema() == columns.schema() {
            true => Ok(Self { reader, path: path.to_owned(), batch: None, row: 0 }),
            false => Err(other_columns(path)),
        }
    }

    /// The next row, if a function wants it; rows that it does not want stay the next.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn next_if<T>(
        &mut self,
        take: impl FnOnce([u64; N], &str) -> Option<T>,
    ) -> Result<Option<T>> {
        while self.batch.as_ref().is_none_or(|batch| self.row == batch.n_rows()) {
            let Some(batch) = self.reader.next() else { return Ok(None) };
            let batch = batch.map_err(failed(&self.path))?;
            self.batch = Some(Rows::of(&batch).ok_or_else(|| other_columns(&self.path))?);
            self.row = 0;
        }
        let Some(batch) = &self.batch else { return Ok(None) };
        let taken = take(batch.numbers(self.row), batch.id(self.row));
        self.row += usize::from(taken.is_some());
        Ok(taken)
    }

    /// The numbers of the next row.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn next(&mut self) -> Result<Option<[u64; N]>> {
        self.next_if(|row, _| Some(row))
    }
}

fn other_columns(path: &Path) -> Error {
    let problem = "a table with other columns than expected".to_owned();
    Error::Malformed { path: path.to_owned(), problem }
}

/// For `map_err`: an encoder's error as one of the file.
pub(crate) fn failed(path: &Path) -> impl FnOnce(ArrowError) -> Error + use<> {
    let path = path.to_owned();
    move |error| match error {
        ArrowError::IoError(_, source) => Error::Io { path, source },
        error => Error::Malformed { path, problem: format!("not a readable Arrow file: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.arrow");
        let mut writer = TableWriter::create(&path, IDS).unwrap();
        for i in 0..20_000_u64 {
            writer.push_with_id([i], &format!("é{i}")).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = TableReader::open(&path, IDS).unwrap();
        for i in 0..20_000_u64 {
            assert_eq!(reader.next_if(|_, _| None::<()>).unwrap(), None);
            let row = reader.next_if(|[n], id| Some((n, id.to_owned()))).unwrap();
            assert_eq!(row, Some((i, format!("é{i}"))));
        }
        assert_eq!(reader.next().unwrap(), None);
        assert!(TableReader::open(&path, COPIES).is_err());
        std::fs::write(&path, b"ARROW1 not really").unwrap();
        assert!(TableReader::open(&path, IDS).err().unwrap().is_input());
    }

    #[test]
    fn an_empty_table_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.arrow");
        TableWriter::create(&path, COPIES).unwrap().finish().unwrap();
        assert_eq!(TableReader::open(&path, COPIES).unwrap().next().unwrap(), None);
    }
}
