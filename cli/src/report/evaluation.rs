//! Results of `neo eval --tasks` as one self-contained page.
//!
//! From the table of every number with its uncertainty over curves across checkpoints and the radar beside
//! MAP-Neo's published values to samples to read. lm-evaluation-harness's and OpenCompass's ways of asking have a
//! section each: their numbers are never in one table or chart. Here is what is read and written; each part is a
//! file below.

mod comparison;
mod curves;
mod measured;
mod published;
mod samples;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use neo_eval::report::Results;
use serde::Serialize;

use self::measured::Measured;
use super::{KeyFigure, chart::short, curves::Figure, render};

/// Writes the page of these results and sample logs to `out`, whole or not at all.
///
/// # Errors
/// A file that is not what it must be, a log of other results, or a page that cannot be written.
pub(crate) fn write(results: &[PathBuf], logs: &[PathBuf], out: &Path) -> Result<()> {
    let read = results.iter().map(|path| Results::read(path));
    let measured = measured::in_reading_order(read.collect::<Result<_, _>>()?);
    let samples = samples::draw(&measured, logs)?;
    let page = Page::of(&measured, samples);
    crate::whole_file::write(out, &render(include_str!("../evaluation.html.j2"), &page)?)
}

/// What the template is given.
#[derive(Serialize)]
struct Page {
    key_figures: Vec<KeyFigure>,
    sections: Vec<Section>,
    samples: Vec<samples::TaskSamples>,
    sample_seed: u64,
    files: Vec<measured::FileRow>,
    version: &'static str,
}

/// Everything of one way of asking.
#[derive(Serialize)]
struct Section {
    name: &'static str,
    about: &'static str,
    table: table::Table,
    curves: Vec<Figure>,
    comparison: Option<comparison::Comparison>,
}

/// The ways of asking: their key, their name, and what is to be known of their numbers.
const MODES: [(&str, &str, &str); 2] = [
    (
        "harness",
        "As lm-evaluation-harness asks",
        "Prompts, scores and standard errors are lm-evaluation-harness's.",
    ),
    (
        "opencompass",
        "As OpenCompass asks",
        "Whole prompts are ranked by their mean loss, or an answer is read out of generated text, as MAP-Neo was evaluated.",
    ),
];

impl Page {
    fn of(measured: &[Measured], samples: Vec<samples::TaskSamples>) -> Self {
        Self {
            key_figures: key_figures(measured),
            sections: MODES.iter().filter_map(|mode| Section::of(mode, measured)).collect(),
            samples,
            sample_seed: samples::SEED,
            files: measured.iter().map(measured::FileRow::of).collect(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Section {
    fn of(
        (key, name, about): &(&str, &'static str, &'static str),
        all: &[Measured],
    ) -> Option<Self> {
        let of_mode = all.iter().filter(|measured| measured.results.config.mode == *key);
        let measured: Vec<&Measured> = of_mode.collect();
        (!measured.is_empty()).then(|| Self {
            name,
            about,
            table: table::Table::of(&measured),
            curves: curves::draw(&measured),
            comparison: comparison::Comparison::of(&measured, key),
        })
    }
}

/// Label, value and unit of the figures at the top.
fn key_figures(measured: &[Measured]) -> Vec<KeyFigure> {
    let distinct = |names: Vec<&str>| short(BTreeSet::from_iter(names).len() as f64);
    let tasks = || {
        let all = measured.iter().flat_map(|measured| &measured.results.tasks);
        all.filter(|task| task.members.is_empty())
    };
    let documents: usize = tasks().map(|task| task.n_documents).sum();
    let models = measured.iter().map(|m| m.results.config.model_sha256.as_str()).collect();
    vec![
        ("measured".to_owned(), distinct(models), "models, by their files"),
        ("on".to_owned(), distinct(tasks().map(|task| task.name.as_str()).collect()), "tasks"),
        ("asked".to_owned(), short(documents as f64), "documents in all"),
    ]
}
