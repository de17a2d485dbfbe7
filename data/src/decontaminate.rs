//! Keeping evaluation sets out of the corpus: documents that repeat a row of a benchmark are dropped or cut.
//!
//! A row is found by any 13 words in a row of its texts, of Chinese by so many characters in a row as
//! [`Settings::characters`] says. A question too short for that is looked for as a whole, with its answer near it.
//! The two kinds are counted apart, for each benchmark. Which fields of an evaluation file are looked for is data
//! (`decontaminate/benchmarks.toml`); normalisation is in `units`, the two ways to look in `grams` and `short`.

mod benchmark;
mod grams;
mod report;
mod short;
mod units;

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::report::{BenchmarkReport, Report};
use self::{
    benchmark::{Row, Table},
    grams::Grams,
    short::{Question, ShortQuestions},
    units::{MAX_UNITS, Sizes, Units},
};
use crate::{Error, Result, dedup::MIN_CHARS};

/// How a corpus is compared with evaluation sets; a stage of a data recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of evaluation sets: `.jsonl`, plain, `.gz` or `.zst`.
    pub against: PathBuf,
    /// Table of the fields that count in each file; the program's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmarks: Option<PathBuf>,
    /// Words of an n-gram.
    #[serde(default = "default_words")]
    pub words: usize,
    /// Characters of an n-gram where words are not spaced.
    #[serde(default = "default_characters")]
    pub characters: usize,
    /// What becomes of a document that repeats a row.
    #[serde(default)]
    pub action: Action,
}

/// What becomes of a document that repeats a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It goes.
    #[default]
    Drop,
    /// The lines that repeat it go; with less than [`MIN_CHARS`] characters left, the document.
    Cut,
}

/// As in GPT-3 and after it.
fn default_words() -> usize {
    13
}

/// The shortest with no false alarm on the shared Chinese corpora; `bench/RESULTS.md` has the counts.
fn default_characters() -> usize {
    16
}

/// How a row was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// By a run of its words or characters.
    Ngram,
    /// By a short question with its answer.
    Exact,
}

/// A row of a benchmark that a document repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Index of the benchmark in [`Decontaminator::benchmarks`].
    pub benchmark: usize,
    /// What the row is called.
    pub row: String,
    /// How it was found.
    pub kind: Kind,
    /// Where the match lies in the text, in bytes.
    pub bytes: Range<usize>,
}

impl Hit {
    /// The row and what matched, as the value of a dropped document.
    pub fn value(&self, text: &str) -> String {
        format!("{}: {}", self.row, &text[self.bytes.clone()])
    }
}

/// What becomes of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays.
    Keep,
    /// It stays without the lines that repeat a row.
    Cut(String),
    /// It goes.
    Drop,
}

/// The evaluation sets, ready to be looked for.
#[derive(Debug)]
pub struct Decontaminator {
    settings: Settings,
    benchmarks: Vec<BenchmarkReport>,
    rows: Vec<RowName>,
    grams: Grams,
    short: ShortQuestions,
}

#[derive(Debug)]
struct RowName {
    benchmark: usize,
    id: String,
}

/// What is looked for of one row.
#[derive(Default)]
struct Keys {
    grams: Vec<u64>,
    questions: Vec<(Question, u64)>,
}

impl Settings {
    /// MAP-Neo's and everyone's n-grams against a folder of evaluation sets.
    pub fn new(against: &Path) -> Self {
        Self {
            against: against.to_owned(),
            benchmarks: None,
            words: default_words(),
            characters: default_characters(),
            action: Action::Drop,
        }
    }

    fn sizes(&self) -> Result<Sizes> {
        for (key, value) in [("words", self.words), ("characters", self.characters)] {
            if !(2..=MAX_UNITS).contains(&value) {
                let problem = format!("`{key}` is {value}, expected 2 to {MAX_UNITS}");
                return Err(Error::Setting(problem));
            }
        }
        Ok(Sizes { words: self.words, characters: self.characters })
    }
}

impl Decontaminator {
    /// Reads the evaluation sets.
    ///
    /// # Errors
    /// The folder, a file in it, or the table cannot be used.
    pub fn open(settings: Settings) -> Result<Self> {
        let sizes = settings.sizes()?;
        let table = Table::read(settings.benchmarks.as_deref())?;
        let files = benchmark::files(&settings.against)?;
        let read = |path: &PathBuf| table.rows(path);
        let of_files: Vec<Vec<Row>> = files.par_iter().map(read).collect::<Result<_>>()?;
        let mut benchmarks = Vec::new();
        let (mut names, mut grams, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for (path, rows) in files.iter().zip(of_files) {
            let mut report = BenchmarkReport::new(benchmark::name_of(path));
            let first = names.len() as u32;
            let keys: Vec<Keys> = (first..)
                .zip(&rows)
                .collect::<Vec<_>>()
                .into_par_iter()
                .map(|(number, row)| Keys::of(row, number, sizes))
                .collect();
            for ((number, row), keys) in (first..).zip(rows).zip(keys) {
                report.add_row(!keys.grams.is_empty(), !keys.questions.is_empty());
                names.push(RowName { benchmark: benchmarks.len(), id: row.id });
                grams.extend(keys.grams.into_iter().map(|hash| (hash, number)));
                questions.extend(keys.questions);
            }
            benchmarks.push(report);
        }
        let grams = Grams::new(grams, |row| names[row as usize].benchmark);
        let short = ShortQuestions::new(questions);
        Ok(Self { settings, benchmarks, rows: names, grams, short })
    }

    /// The settings in use.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The benchmarks with the numbers of their rows.
    pub fn benchmarks(&self) -> &[BenchmarkReport] {
        &self.benchmarks
    }

    /// Every row found in a text: of each benchmark the first of each kind; when texts are cut, all of them.
    pub fn find(&self, text: &str) -> Vec<Hit> {
        let units = Units::of(text);
        let sizes = Sizes { words: self.settings.words, characters: self.settings.characters };
        let mut hits: Vec<Hit> = Vec::new();
        let mut add = |row: u32, kind, at, n| {
            let RowName { benchmark, id } = &self.rows[row as usize];
            let is_known = |hit: &Hit| (hit.benchmark, hit.kind) == (*benchmark, kind);
            if self.settings.action == Action::Cut || !hits.iter().any(is_known) {
                let bytes = units.bytes(at, n);
                hits.push(Hit { benchmark: *benchmark, row: id.clone(), kind, bytes });
            }
        };
        for (at, n, hash) in units.runs(sizes) {
            self.grams.rows(hash).iter().for_each(|&row| add(row, Kind::Ngram, at, n));
        }
        self.short.find(text, &units, |row, at, n| add(row, Kind::Exact, at, n));
        hits
    }

    /// What becomes of a text with these hits.
    pub fn outcome(&self, text: &str, hits: &[Hit]) -> Outcome {
        match (hits, self.settings.action) {
            ([], _) => Outcome::Keep,
            (_, Action::Drop) => Outcome::Drop,
            (_, Action::Cut) => match without_lines(text, hits) {
                rest if rest.chars().take(MIN_CHARS).count() < MIN_CHARS => Outcome::Drop,
                rest => Outcome::Cut(rest),
            },
        }
    }

    /// The name of the rule that a hit stands for: benchmark and kind.
    pub fn rule(&self, hit: &Hit) -> String {
        let kind = match hit.kind {
            Kind::Ngram => "ngram",
            Kind::Exact => "exact",
        };
        format!("{}.{kind}", self.benchmarks[hit.benchmark].name)
    }

    /// A report in which no document is counted yet.
    pub fn report(&self) -> Report {
        Report::new(self.settings.clone(), self.benchmarks.clone())
    }
}

impl Keys {
    fn of(row: &Row, number: u32, sizes: Sizes) -> Self {
        let mut keys = Self::default();
        let all = row.questions.iter().chain(&row.answers).chain(&row.contexts);
        all.for_each(|text| keys.grams.extend(grams(text, sizes)));
        let n_others =
            row.answers.iter().chain(&row.contexts).map(|text| Units::of(text).len() + 2);
        let n_others = n_others.sum::<usize>().min(4 * MAX_UNITS);
        let is_short = |text: &&String| grams(text, sizes).is_empty();
        for question in row.questions.iter().filter(is_short) {
            if row.answers.is_empty() && !keys.grams.is_empty() {
                continue;
            }
            let anchor = ShortQuestions::anchor(question);
            let question = Question::new(question, &row.answers, n_others, number);
            keys.questions.extend(question.map(|question| (question, anchor)));
        }
        keys
    }
}

/// The n-grams of a row's text by which it is found.
fn grams(text: &str, sizes: Sizes) -> Vec<u64> {
    let units = Units::of(text);
    let runs = units.runs(sizes).filter(|&(at, n, _)| !units.is_of_numbers(text, at, n));
    runs.map(|(_, _, hash)| hash).collect()
}

/// A text without the lines in which hits lie.
fn without_lines(text: &str, hits: &[Hit]) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        if !hits.iter().any(|hit| hit.bytes.start < end && start < hit.bytes.end) {
            rest.push_str(line);
        }
        start = end;
    }
    rest
}
