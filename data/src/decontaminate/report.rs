//! What was looked for and what was found, benchmark by benchmark: `report.json`.

use std::{
    collections::BTreeSet,
    ops::AddAssign,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Hit, Kind, Settings};
use crate::{Result, write::write_file};

/// Everything that a run of decontamination tells. Reports of shards add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it was looked for.
    pub settings: Settings,
    /// Documents looked at.
    pub documents: u64,
    /// Documents that repeat a row of any benchmark.
    pub contaminated: u64,
    /// By benchmark.
    pub benchmarks: Vec<BenchmarkReport>,
}

/// What was looked for and found of one benchmark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchmarkReport {
    /// Name of its file up to `.jsonl`.
    pub name: String,
    /// Rows of the file.
    pub rows: u64,
    /// Rows that are looked for by n-grams.
    pub rows_by_ngram: u64,
    /// Rows that are looked for by question and answer only, being too short for an n-gram.
    pub rows_by_exact: u64,
    /// Rows with too little text to be looked for.
    pub rows_without_key: u64,
    /// Documents in which an n-gram was found.
    pub documents_by_ngram: u64,
    /// Documents in which a short question was found with its answer.
    pub documents_by_exact: u64,
}

impl BenchmarkReport {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Counts a row by how it can be found.
    pub(super) fn add_row(&mut self, by_ngram: bool, by_exact: bool) {
        self.rows += 1;
        match (by_ngram, by_exact) {
            (true, _) => self.rows_by_ngram += 1,
            (false, true) => self.rows_by_exact += 1,
            (false, false) => self.rows_without_key += 1,
        }
    }
}

impl Report {
    /// A report of benchmarks in which no document is counted yet.
    pub(super) fn new(settings: Settings, benchmarks: Vec<BenchmarkReport>) -> Self {
        Self { settings, documents: 0, contaminated: 0, benchmarks }
    }

    /// Counts a document with what was found in it.
    pub fn add(&mut self, hits: &[Hit]) {
        self.documents += 1;
        self.contaminated += u64::from(!hits.is_empty());
        let found: BTreeSet<(usize, Kind)> =
            hits.iter().map(|hit| (hit.benchmark, hit.kind)).collect();
        for (benchmark, kind) in found {
            match kind {
                Kind::Ngram => self.benchmarks[benchmark].documents_by_ngram += 1,
                Kind::Exact => self.benchmarks[benchmark].documents_by_exact += 1,
            }
        }
    }

    /// Writes `report.json` into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("report.json");
        let mut json =
            serde_json::to_vec_pretty(self).expect("numbers and strings have a JSON form");
        json.push(b'\n');
        write_file(&path, &json)?;
        Ok(path)
    }
}

/// Adds what was found in other documents; both must be of the same benchmarks.
impl AddAssign<&Self> for Report {
    fn add_assign(&mut self, other: &Self) {
        self.documents += other.documents;
        self.contaminated += other.contaminated;
        for (benchmark, other) in self.benchmarks.iter_mut().zip(&other.benchmarks) {
            benchmark.documents_by_ngram += other.documents_by_ngram;
            benchmark.documents_by_exact += other.documents_by_exact;
        }
    }
}
