//! Reading sample logs of `neo eval --samples`.
//!
//! A log does not name the model, but its hashes and scores say which results file it belongs to
//! ([`super::Results::is_of`]).

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::samples::joined_hash;
use crate::Result;

/// One document as one filter saw it.
#[derive(Clone, Debug, Deserialize)]
pub struct LoggedSample {
    /// Name of the task.
    pub task: String,
    /// Index of the document.
    pub doc_id: usize,
    /// `doc_to_target`.
    pub target: Value,
    /// Requests: context and continuation, a text, or context and settings.
    pub arguments: Vec<Vec<Value>>,
    /// Answers behind the filter.
    pub filtered_resps: Vec<Value>,
    /// Answers as they came, each a list of one.
    pub resps: Vec<Value>,
    /// Name of the filter pipeline.
    pub filter: String,
    /// Names of the scores.
    pub metrics: Vec<String>,
    doc_hash: String,
    prompt_hash: String,
    target_hash: String,
    /// The document's other keys, scores among them.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl LoggedSample {
    /// Its score under a metric, where that is one number.
    pub fn score(&self, metric: &str) -> Option<f64> {
        self.rest.get(metric).and_then(Value::as_f64)
    }
}

/// The samples of one task.
#[derive(Clone, Debug)]
pub struct TaskLog {
    /// Name of the task.
    pub task: String,
    /// In the order of the log.
    pub samples: Vec<LoggedSample>,
}

impl TaskLog {
    /// Hash of all samples' hashes: what the results file has under `task_hashes`.
    pub fn hash(&self) -> String {
        let parts = self.samples.iter().flat_map(|sample| {
            let LoggedSample { doc_hash, prompt_hash, target_hash, .. } = sample;
            [doc_hash, prompt_hash, target_hash]
        });
        joined_hash(parts)
    }

    /// Score of each document under a `metric,filter`.
    pub fn scores(&self, key: &str) -> Vec<f64> {
        let (metric, filter) = key.split_once(',').unwrap_or((key, ""));
        let of_filter = self.samples.iter().filter(|sample| sample.filter == filter);
        of_filter.filter_map(|sample| sample.score(metric)).collect()
    }
}

/// Reads a file that `neo eval --tasks --samples` wrote, task by task.
///
/// # Errors
/// A file that cannot be read, or a line that is no sample.
pub fn read_samples(path: &Path) -> Result<Vec<TaskLog>> {
    let text = fs_err::read_to_string(path).map_err(neo_data::Error::io(path))?;
    let mut logs: Vec<TaskLog> = Vec::new();
    for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let sample: LoggedSample = serde_json::from_str(line).map_err(|problem| {
            let problem = format!("line {}: {problem}: not a sample of `neo eval`", idx + 1);
            neo_data::Error::Malformed { path: path.to_owned(), problem }
        })?;
        match logs.iter_mut().find(|log| log.task == sample.task) {
            Some(log) => log.samples.push(sample),
            None => logs.push(TaskLog { task: sample.task.clone(), samples: vec![sample] }),
        }
    }
    Ok(logs)
}
