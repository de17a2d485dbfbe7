//! After the shuffle: what goes, in one table for each shard, so that a shard is judged by its own table alone.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use datafusion::{dataframe::DataFrame, error::DataFusionError};

use super::{
    Comparison,
    keys::{document_keys, tables},
};
use crate::{
    Error, Result,
    dedup::{Compares, Components, Order},
    engine::{Fingerprint, Unit},
    shuffle::{
        Effort,
        table::{COPIES, Columns, IDS, REPEATS, Rows, TableReader, TableWriter},
    },
};

/// Name of the table of a shard.
pub(super) fn file_name(index: usize) -> String {
    format!("{index:05}.arrow")
}

impl Comparison<'_, '_> {
    /// Of documents that keys connect, all but the first.
    pub(super) fn copies(&self, ids: &[Unit<()>], order: Order) -> Result<(Unit<Effort>, Effort)> {
        let (ranks, effort) = match order {
            Order::Id => self.ranks(ids)?,
            Order::Reading => ((0..self.n_documents() as u32).collect(), Effort::default()),
        };
        let known = self.known.as_ref();
        let contents = known.map(|known| known.content.clone()).into_iter();
        let key = self.verdict_key(ids.iter().map(Unit::fingerprint).chain(contents));
        let unit = self.place.work.unit(&self.label("verdicts"), "all", &key, |dir| {
            let mut components = Components::new(&ranks);
            let links = self.shuffle.links(with_known(document_keys(ids), known.map(|k| &k.keys)));
            let mut effort = self.ask(links, |[document, other]| {
                components.join(document as u32, other as u32);
                Ok(())
            })?;
            let copies = self.write_copies(&mut components)?;
            let mut slices = Slices::create(dir, &self.starts, IDS)?;
            let ids = with_known(tables(ids), known.map(|known| &known.ids));
            let named = self.shuffle.name_firsts(copies, ids);
            effort += self.ask_rows::<1>(named, |rows, row| {
                let [document] = rows.numbers(row);
                let (table, place) = slices.of(document)?;
                table.push_with_id([place], rows.id(row))
            })?;
            slices.finish().map(|()| effort)
        })?;
        Ok((unit, effort))
    }

    /// Notes every document that goes, and which stays for it.
    fn write_copies(&self, components: &mut Components<'_>) -> Result<PathBuf> {
        let path = self.place.work.spill().join(format!("{}.copies.arrow", self.step.label));
        let mut table = TableWriter::create(&path, COPIES)?;
        for document in self.starts[0] as u32..self.n_documents() as u32 {
            let first = components.root(document);
            if first != document {
                table.push([u64::from(document), u64::from(first)])?;
            }
        }
        table.finish().map(|()| path)
    }

    /// Of equal parts, all but the first.
    pub(super) fn repeats(&self, ids: &[Unit<()>]) -> Result<(Unit<Effort>, Effort)> {
        let (ranks, effort) = self.ranks(ids)?;
        let keys = self.part_keys(&ranks)?;
        drop(ranks);
        let key = self.verdict_key(keys.iter().map(Unit::fingerprint));
        let unit = self.place.work.unit(&self.label("verdicts"), "all", &key, |dir| {
            let found = self.place.work.spill().join(format!("{}.repeats.arrow", self.step.label));
            let mut table = TableWriter::create(&found, REPEATS)?;
            let mut effort =
                self.ask(self.shuffle.repeats(tables(&keys)), |row| table.push(row))?;
            table.finish()?;
            let mut slices = Slices::create(dir, &self.starts, REPEATS)?;
            let sorted = self.shuffle.in_order_of_place(found);
            effort.spilled_bytes += self
                .ask(sorted, |[document, place]| {
                    let (table, row) = slices.of(document)?;
                    table.push([row, place])
                })?
                .spilled_bytes;
            slices.finish().map(|()| effort)
        })?;
        Ok((unit, effort))
    }

    fn verdict_key(&self, tables: impl Iterator<Item = Fingerprint>) -> Fingerprint {
        let tables = Fingerprint::of_all(&tables.collect::<Vec<_>>());
        let starts = format!("{:?}", self.starts);
        Fingerprint::of(&["verdicts", self.stage.as_str(), tables.as_str(), &starts])
    }

    /// Runs a plan and goes through the numbers of its result.
    pub(super) fn ask<const N: usize>(
        &self,
        plan: impl Future<Output = std::result::Result<DataFrame, DataFusionError>>,
        mut take: impl FnMut([u64; N]) -> Result<()>,
    ) -> Result<Effort> {
        self.ask_rows(plan, |rows: &Rows<N>, row| take(rows.numbers(row)))
    }

    fn ask_rows<const N: usize>(
        &self,
        plan: impl Future<Output = std::result::Result<DataFrame, DataFusionError>>,
        mut take: impl FnMut(&Rows<N>, usize) -> Result<()>,
    ) -> Result<Effort> {
        self.shuffle.run(plan, self.place.work.observer(), |batch: &RecordBatch| {
            let problem = || "a result with other columns than asked for".to_owned();
            let rows = Rows::of(batch).ok_or_else(|| Error::Query { problem: problem() })?;
            (0..rows.n_rows()).try_for_each(|row| take(&rows, row))
        })
    }
}

fn with_known(mut tables: Vec<PathBuf>, known: Option<&PathBuf>) -> Vec<PathBuf> {
    tables.extend(known.cloned());
    tables
}

/// Writes a table for each shard, from rows that come in the order of documents.
struct Slices<'a, const N: usize> {
    dir: &'a Path,
    starts: &'a [u64],
    columns: Columns<N>,
    index: usize,
    table: TableWriter<N>,
}

impl<'a, const N: usize> Slices<'a, N> {
    fn create(dir: &'a Path, starts: &'a [u64], columns: Columns<N>) -> Result<Self> {
        let table = TableWriter::create(&dir.join(file_name(0)), columns)?;
        Ok(Self { dir, starts, columns, index: 0, table })
    }

    /// The table of a document's shard, those before being finished, and the document's number in it.
    fn of(&mut self, document: u64) -> Result<(&mut TableWriter<N>, u64)> {
        while document >= self.starts[self.index + 1] {
            self.next()?;
        }
        Ok((&mut self.table, document - self.starts[self.index]))
    }

    fn next(&mut self) -> Result<()> {
        self.index += 1;
        let next = TableWriter::create(&self.dir.join(file_name(self.index)), self.columns)?;
        std::mem::replace(&mut self.table, next).finish()
    }

    fn finish(mut self) -> Result<()> {
        while self.index + 2 < self.starts.len() {
            self.next()?;
        }
        self.table.finish()
    }
}

/// What was found about a document.
pub(super) enum Verdict {
    /// It is a copy of the document with this id.
    CopyOf(String),
    /// These parts of it are repeats.
    Without(Vec<u32>),
}

/// The verdicts on a shard, taken in the order of its documents.
pub(super) struct Slice {
    table: Table,
    row: u64,
}

enum Table {
    Copies(TableReader<1>),
    Repeats(TableReader<2>),
}

impl Slice {
    pub(super) fn open(path: &Path, compares: Compares) -> Result<Self> {
        let table = match compares {
            Compares::Documents(_) => Table::Copies(TableReader::open(path, IDS)?),
            Compares::Parts | Compares::Nothing => {
                Table::Repeats(TableReader::open(path, REPEATS)?)
            }
        };
        Ok(Self { table, row: 0 })
    }

    /// The verdicts on the next documents.
    pub(super) fn next(&mut self, n_documents: usize) -> Result<Vec<Verdict>> {
        (0..n_documents).map(|_| self.next_one()).collect()
    }

    fn next_one(&mut self) -> Result<Verdict> {
        let row = self.row;
        self.row += 1;
        match &mut self.table {
            Table::Copies(table) => {
                let copy = table.next_if(|[of], first| (of == row).then(|| first.to_owned()))?;
                Ok(copy.map_or(Verdict::Without(Vec::new()), Verdict::CopyOf))
            }
            Table::Repeats(table) => {
                let mut parts = Vec::new();
                // The position is in the lower half of the place.
                while let Some(part) =
                    table.next_if(|[of, place], _| (of == row).then_some(place as u32))?
                {
                    parts.push(part);
                }
                Ok(Verdict::Without(parts))
            }
        }
    }
}
