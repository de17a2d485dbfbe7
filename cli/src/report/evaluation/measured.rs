//! What the page calls each results file, and which of them are checkpoints of one run.
//!
//! A results file names the folder of its model. `RUN/checkpoints/step-N`, as `neo train` lays it out, is step N of
//! the run RUN; any other folder is a model by itself.

use std::path::{Path, PathBuf};

use neo_eval::report::Results;
use neo_train::checkpoint;
use serde::Serialize;

/// Characters of a model's hash that the page shows.
const HASH_CHARS: usize = 12;

/// A results file with its place.
pub(super) struct Measured {
    pub(super) results: Results,
    /// What the page calls the model.
    pub(super) label: String,
    /// Run folder and step, for a checkpoint.
    pub(super) checkpoint: Option<(PathBuf, u64)>,
}

/// A file as the page lists it.
#[derive(Serialize)]
pub(super) struct FileRow {
    label: String,
    file: String,
    model: String,
    hash: String,
    mode: String,
    limit: String,
    format: String,
    version: String,
}

/// Files in the order given, but checkpoints of a run together and by step.
pub(super) fn in_reading_order(results: Vec<Results>) -> Vec<Measured> {
    let mut all: Vec<Measured> = results.into_iter().map(Measured::of).collect();
    let runs: Vec<PathBuf> = all.iter().map(|measured| measured.run().to_owned()).collect();
    let first = |run: &Path| runs.iter().position(|other| other == run);
    all.sort_by_key(|m| (first(m.run()), m.checkpoint.as_ref().map(|(_, step)| *step)));
    let is_one_run = all.iter().all(|m| m.checkpoint.is_some() && m.run() == all[0].run());
    for measured in &mut all {
        measured.label = measured.name(is_one_run);
    }
    tell_apart(&mut all);
    all
}

/// Other models of the same label get the name of their file.
fn tell_apart(all: &mut [Measured]) {
    let known: Vec<(String, String)> =
        all.iter().map(|m| (m.label.clone(), m.results.config.model_sha256.clone())).collect();
    for measured in all {
        let hash = &measured.results.config.model_sha256;
        if known.iter().any(|(label, other)| *label == measured.label && other != hash) {
            let file = measured.results.path.file_name().unwrap_or_default().to_string_lossy();
            measured.label = format!("{} ({file})", measured.label);
        }
    }
}

impl Measured {
    fn of(results: Results) -> Self {
        let checkpoint = checkpoint_of(&results.config.model);
        Self { results, label: String::new(), checkpoint }
    }

    /// The run folder of a checkpoint, else the model's.
    fn run(&self) -> &Path {
        match &self.checkpoint {
            Some((run, _)) => run,
            None => &self.results.config.model,
        }
    }

    fn name(&self, is_one_run: bool) -> String {
        match &self.checkpoint {
            Some((_, step)) if is_one_run => format!("step {step}"),
            Some((run, step)) => format!("{}, step {step}", name_of(run)),
            None => name_of(&self.results.config.model),
        }
    }

    /// What the page calls the run.
    pub(super) fn run_name(&self) -> String {
        name_of(self.run())
    }
}

/// Run folder and step of a checkpoint's folder.
fn checkpoint_of(model: &Path) -> Option<(PathBuf, u64)> {
    let step = checkpoint::step_of(model.file_name()?.to_str()?)?;
    let folder = model.parent()?;
    (folder.file_name()? == "checkpoints").then(|| Some((folder.parent()?.to_owned(), step)))?
}

/// The folder's name; a folder called `run` has its parent's before it.
fn name_of(folder: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = name(folder).unwrap_or_else(|| folder.display().to_string());
    match folder.parent().and_then(name) {
        Some(parent) if own == "run" => format!("{parent}/{own}"),
        _ => own,
    }
}

impl FileRow {
    pub(super) fn of(measured: &Measured) -> Self {
        let config = &measured.results.config;
        Self {
            label: measured.label.clone(),
            file: measured.results.path.display().to_string(),
            model: config.model.display().to_string(),
            hash: config.model_sha256.chars().take(HASH_CHARS).collect(),
            mode: config.mode.clone(),
            limit: config.limit.map_or("all".to_owned(), |limit| limit.to_string()),
            format: format!("{}, {}", config.model_dtype, config.device),
            version: config.neo_version.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_known_by_its_folder() {
        let check = |model: &str, expected: Option<(&str, u64)>| {
            let expected = expected.map(|(run, step)| (PathBuf::from(run), step));
            assert_eq!(checkpoint_of(Path::new(model)), expected, "{model}");
        };
        check("out/a/run/checkpoints/step-00000040", Some(("out/a/run", 40)));
        check("run/checkpoints/step-00000040/", Some(("run", 40)));
        check("checkpoints/step-00000040", Some(("", 40)));
        check("models/step-00000040", None);
        check("run/checkpoints/step-40", None);
        check("hf", None);
        assert_eq!(name_of(Path::new("out/a/run")), "a/run");
        assert_eq!(name_of(Path::new("out/hf")), "hf");
    }
}
