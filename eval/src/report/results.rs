//! Reading results files of `neo eval --tasks`, for comparisons and reports.
//!
//! The inverse of `summary`: numbers come back as the [`Measure`]s they were written from, and with
//! them what says whether two files may be put side by side at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::sample_log::TaskLog;
use super::samples::joined_hash;
use crate::Result;
use crate::evaluation::Measure;

/// A results file.
#[derive(Clone, Debug)]
pub struct Results {
    /// Where it was read from.
    pub path: PathBuf,
    /// What was measured and how.
    pub config: Config,
    /// Tasks, then groups, in the order of the file.
    pub tasks: Vec<TaskResult>,
}

/// What a results file says about the model and the options.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The model's folder.
    #[serde(rename = "model_args")]
    pub model: PathBuf,
    /// Hash of the model's files.
    pub model_sha256: String,
    /// Number format of the computation.
    pub model_dtype: String,
    /// Where it was computed.
    pub device: String,
    /// Whose way of asking: `harness` or `opencompass`.
    pub mode: String,
    /// Documents of each task, at most.
    pub limit: Option<usize>,
    /// Version of the program.
    pub neo_version: String,
}

/// What a file says about one task or group.
#[derive(Clone, Debug)]
pub struct TaskResult {
    /// Name of the task or group.
    pub name: String,
    /// Tasks and groups inside, for a group.
    pub members: Vec<String>,
    /// Documents asked.
    pub n_documents: usize,
    /// Shots before each question; `None` for a group.
    pub n_shots: Option<u64>,
    /// What guessing reaches, where that is known.
    pub chance: Option<f64>,
    /// The numbers; none for a group that only gathers tasks.
    pub measures: Vec<Measure>,
    /// Hash of every request; of its members' hashes for a group.
    pub requests_sha256: String,
    /// Hash of all samples' hashes; empty for a group.
    pub samples_sha256: String,
    /// Score of each document by `metric,filter`.
    pub document_scores: Vec<(String, Vec<f64>)>,
}

/// The file's own layout.
#[derive(Deserialize)]
struct File {
    results: Map<String, Value>,
    config: Config,
    document_scores: BTreeMap<String, Map<String, Value>>,
    #[serde(default)]
    group_subtasks: BTreeMap<String, Vec<String>>,
    #[serde(default, rename = "n-shot")]
    n_shot: BTreeMap<String, u64>,
    #[serde(default)]
    higher_is_better: BTreeMap<String, BTreeMap<String, bool>>,
    #[serde(default)]
    task_hashes: BTreeMap<String, String>,
    #[serde(default)]
    requests_sha256: BTreeMap<String, String>,
}

impl Results {
    /// Reads a file that `neo eval --tasks --out` wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or that is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(neo_data::Error::io(path))?;
        let malformed = |problem| neo_data::Error::Malformed { path: path.to_owned(), problem };
        let value: Value =
            serde_json::from_str(&text).map_err(|problem| malformed(problem.to_string()))?;
        Self::from_value(path, value).map_err(|problem| {
            malformed(format!("{problem}: not a results file of `neo eval --tasks`")).into()
        })
    }

    /// The same from a file's content.
    ///
    /// # Errors
    /// What is missing or of another kind.
    pub fn from_value(path: &Path, value: Value) -> Result<Self, String> {
        let file: File = serde_json::from_value(value).map_err(|problem| problem.to_string())?;
        let read = |(name, entry): (&String, &Value)| file.task(name, entry);
        let tasks = file.results.iter().map(read).collect::<Result<_, _>>()?;
        let mut results = Self { path: path.to_owned(), tasks, config: file.config };
        results.complete_groups();
        Ok(results)
    }

    /// A task or group by its name.
    pub fn task(&self, name: &str) -> Option<&TaskResult> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Whether these results are of the answers in a log.
    pub fn is_of(&self, log: &TaskLog) -> bool {
        self.task(&log.task).is_some_and(|task| {
            let is_same = |(key, scores): &(String, Vec<f64>)| log.scores(key) == *scores;
            task.samples_sha256 == log.hash() && task.document_scores.iter().all(is_same)
        })
    }

    /// Says of groups what their members say alike; inner groups come first.
    fn complete_groups(&mut self) {
        for idx in 0..self.tasks.len() {
            let members = self.tasks[idx].members.iter().filter_map(|name| self.task(name));
            let members: Vec<&TaskResult> = members.collect();
            let Some(first) = members.first() else { continue };
            let is_same = |member: &&TaskResult| member.chance == first.chance;
            let chance = first.chance.filter(|_| members.iter().all(is_same));
            let requests = joined_hash(members.iter().map(|member| &member.requests_sha256));
            self.tasks[idx].chance = chance;
            self.tasks[idx].requests_sha256 = requests;
        }
    }
}

impl File {
    fn task(&self, name: &str, entry: &Value) -> Result<TaskResult, String> {
        let entry = entry.as_object().ok_or_else(|| format!("result `{name}` is no object"))?;
        let n_documents = entry.get("sample_len").and_then(Value::as_u64);
        let n_documents =
            n_documents.ok_or_else(|| format!("result `{name}` has no `sample_len`"))? as usize;
        let of_task = |hashes: &BTreeMap<String, String>| hashes.get(name).cloned();
        let scores = self.document_scores.get(name).into_iter().flatten();
        Ok(TaskResult {
            name: name.to_owned(),
            members: self.group_subtasks.get(name).cloned().unwrap_or_default(),
            n_documents,
            n_shots: self.n_shot.get(name).copied(),
            chance: entry.get("chance").and_then(Value::as_f64),
            measures: self.measures(name, entry, n_documents),
            requests_sha256: of_task(&self.requests_sha256).unwrap_or_default(),
            samples_sha256: of_task(&self.task_hashes).unwrap_or_default(),
            document_scores: scores
                .filter_map(|(key, list)| Some((key.clone(), numbers(list)?)))
                .collect(),
        })
    }

    fn measures(&self, name: &str, entry: &Map<String, Value>, n: usize) -> Vec<Measure> {
        let number = |key: String| entry.get(&key).and_then(Value::as_f64);
        let interval = |key: String| {
            let bounds = entry.get(&key)?;
            Some([bounds.get(0)?.as_f64()?, bounds.get(1)?.as_f64()?])
        };
        let measure = |(metric, filter): (&str, &str)| Measure {
            metric: metric.to_owned(),
            filter: filter.to_owned(),
            value: number(format!("{metric},{filter}")).unwrap_or(f64::NAN),
            error: number(format!("{metric}_stderr,{filter}")),
            interval: interval(format!("{metric}_ci95,{filter}")),
            n,
            higher_is_better: self.is_better_when_higher(name, metric),
        };
        let keys = entry.keys().filter_map(|key| key.split_once(','));
        let is_own =
            |(metric, _): &(&str, &str)| !metric.ends_with("_stderr") && !metric.ends_with("_ci95");
        keys.filter(is_own).map(measure).collect()
    }

    /// A group asks its first member.
    fn is_better_when_higher(&self, name: &str, metric: &str) -> bool {
        match self.higher_is_better.get(name) {
            Some(metrics) => metrics.get(metric).copied().unwrap_or(true),
            None => self
                .group_subtasks
                .get(name)
                .and_then(|members| members.first())
                .is_none_or(|first| first == name || self.is_better_when_higher(first, metric)),
        }
    }
}

impl TaskResult {
    /// Whether a measure is a share of right answers, which guessing reaches by chance.
    pub fn chance_of(&self, measure: &Measure) -> Option<f64> {
        self.chance.filter(|_| measure.metric.starts_with("acc"))
    }
}

/// Scores from a string of digits or a list.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::String(digits) => {
            Some(digits.bytes().map(|b| f64::from(b.wrapping_sub(b'0'))).collect())
        }
        Value::Array(list) => list.iter().map(Value::as_f64).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file() -> Value {
        json!({
            "results": {
                "a": {"name": "a", "sample_len": 4, "acc,none": 0.5, "acc_stderr,none": 0.25,
                      "acc_ci95,none": [0.1, 0.9], "chance": 0.25},
                "b": {"sample_len": 4, "ppl,none": 9.0, "ppl_stderr,none": "N/A", "chance": 0.25},
                "g": {"sample_len": 8, "acc,none": 0.5}
            },
            "group_subtasks": {"g": ["a", "b"]},
            "n-shot": {"a": 2, "b": 0},
            "higher_is_better": {"b": {"ppl": false}},
            "config": {"model_args": "m", "model_sha256": "00", "model_dtype": "float32",
                       "device": "d", "mode": "harness", "limit": null, "neo_version": "0"},
            "document_scores": {"a": {"acc,none": "0110"}, "b": {"ppl,none": [1.5, 2, 3, 4]}}
        })
    }

    #[test]
    fn numbers_come_back_with_their_errors() {
        let results = Results::from_value(Path::new("r.json"), file()).unwrap();
        let [a, b, group] = &results.tasks[..] else { panic!("{results:?}") };
        assert_eq!((a.n_shots, a.n_documents, a.chance), (Some(2), 4, Some(0.25)));
        let [acc] = &a.measures[..] else { panic!("{a:?}") };
        assert_eq!((acc.value, acc.error, acc.interval), (0.5, Some(0.25), Some([0.1, 0.9])));
        assert_eq!(a.document_scores, [("acc,none".to_owned(), vec![0.0, 1.0, 1.0, 0.0])]);
        assert_eq!((b.measures[0].error, b.measures[0].higher_is_better), (None, false));
        assert_eq!((b.chance_of(&b.measures[0]), group.chance), (None, Some(0.25)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |remove: &str, expected: &str| {
            let mut value = file();
            value.as_object_mut().unwrap().remove(remove);
            let problem = Results::from_value(Path::new("r.json"), value).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        };
        check("results", "missing field `results`");
        check("document_scores", "missing field `document_scores`");
        check("config", "missing field `config`");
    }
}
