//! Every number of lm-evaluation-harness's golden run: each record's definition as it stands, on the
//! inputs that the folder names, with the stand-in model of its notes.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neo_eval::Result;
use neo_eval::cache::AnswerCache;
use neo_eval::evaluation::{Measure, Outcome, Sample, Settings, evaluate};
use neo_eval::language_model::{Answers, LanguageModel, Pair, Prompt, WholeText};
use neo_eval::metric::choice::LogLikelihood;
use neo_eval::metric::{Score, error};
use neo_eval::task::source::read_documents;
use neo_eval::task::{Definition, Generation, Splits, Task};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Draws of the golden run's bootstraps.
const DRAWS: usize = 2000;

/// Relative distance that is allowed to means, and to what was resampled.
const MEAN: f64 = 1e-12;
const RESAMPLED: f64 = 1e-9;

#[test]
fn conformance_every_number_of_the_golden_run() {
    let Some(folder) = folder() else { return };
    let inputs: BTreeMap<String, Value> = serde_json::from_str(
        &fs_err::read_to_string(folder.join("golden_lm_eval_inputs.json")).unwrap(),
    )
    .unwrap();
    let records =
        read_documents(&folder.join("golden_lm_eval.jsonl.zst"), &BTreeMap::new()).unwrap();
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut n_tasks = 0;
    for record in &records {
        let record = Value::Object(record.fields.clone());
        let name = record["task"].as_str().unwrap();
        if record["definition"].is_null() {
            check_group(name, &record["results"], &outcomes);
            continue;
        }
        let outcome = run(&folder, &record, &inputs[name]);
        check_task(name, &record, &outcome);
        outcomes.insert(name.to_owned(), outcome);
        n_tasks += 1;
    }
    assert!(n_tasks > 0, "the folder has no record of a task");
    println!("{n_tasks} tasks and {} groups equal", records.len() - n_tasks);
}

/// The evaluation folder, or `None`, said aloud, where there is none.
fn folder() -> Option<PathBuf> {
    let set = std::env::var_os("NEO_DATA").map(PathBuf::from);
    let is_set = set.is_some();
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = set.unwrap_or(default).join("eval");
    let is_there = folder.join("golden_lm_eval.jsonl.zst").is_file();
    assert!(is_there || !is_set, "NEO_DATA is set, but `{}` has no golden run", folder.display());
    if !is_there {
        println!("skipped: no golden run in `{}`", folder.display());
    }
    is_there.then_some(folder)
}

fn run(folder: &Path, record: &Value, inputs: &Value) -> Outcome {
    let definition = Definition::new(record["definition"].as_object().unwrap().clone()).unwrap();
    let filter: BTreeMap<String, Value> = match &inputs["where"] {
        Value::Object(entries) => entries.clone().into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let read = |key: &str| {
        inputs[key].as_str().map(|file| read_documents(&folder.join(file), &filter).unwrap())
    };
    let limit = inputs["limit"].as_u64().map(|n| n as usize);
    let mut test = read("test").unwrap();
    test.truncate(limit.unwrap_or(usize::MAX));
    let mut splits = Splits::new();
    splits.insert(definition.eval_split().unwrap().to_owned(), test.into());
    if let (Some(split), Some(documents)) = (definition.shot_split(), read("fewshot")) {
        splits.insert(split.to_owned(), documents.into());
    }
    let task = Task::new(definition, &splits, None).unwrap();
    let model = StandIn { generations: generations(folder, &inputs["generations"], &task) };
    let settings = Settings { limit, bootstrap_draws: DRAWS };
    evaluate(&task, &model, settings, &mut AnswerCache::in_memory(), None).unwrap()
}

/// Written answers by question.
fn generations(folder: &Path, source: &Value, task: &Task) -> Vec<String> {
    let Some(file) = source["file"].as_str() else { return Vec::new() };
    let field = source["field"].as_str().unwrap();
    let rows = read_documents(&folder.join(file), &BTreeMap::new()).unwrap();
    let by_question: BTreeMap<&str, &str> = rows
        .iter()
        .map(|row| {
            let question = row.fields["question"].as_str().unwrap();
            let answer = &row.fields[field];
            (question, answer.as_str().or(answer["solution"].as_str()).unwrap())
        })
        .collect();
    let text =
        |question: &Value| by_question[question.as_str().unwrap()].replace("\nA: ", "\n#### ");
    task.documents.iter().map(|document| text(&document.fields["question"])).collect()
}

/// The model of the golden run: a hash.
struct StandIn {
    generations: Vec<String>,
}

impl LanguageModel for StandIn {
    fn log_likelihoods(
        &self,
        pairs: &[Pair<'_>],
        answers: &mut Answers<'_, LogLikelihood>,
    ) -> Result<()> {
        for (i, pair) in pairs.iter().enumerate() {
            let mut hash = Sha256::new();
            hash.update(pair.context);
            hash.update([0]);
            hash.update(pair.continuation);
            let digest = hash.finalize();
            let h = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            let sum = -f64::from(h % 100_000) / 1000.0;
            answers.set(i, LogLikelihood { sum, greedy: h % 7 == 0 })?;
        }
        Ok(())
    }

    fn rolling(&self, texts: &[&str], answers: &mut Answers<'_, f64>) -> Result<()> {
        for (i, text) in texts.iter().enumerate() {
            answers.set(i, -0.5 * text.len() as f64)?;
        }
        Ok(())
    }

    fn mean_losses(&self, _: &[WholeText], _: &mut Answers<'_, f64>) -> Result<()> {
        unimplemented!("no record of the golden run asks for it")
    }

    fn generate(
        &self,
        prompts: &[Prompt<'_>],
        _: &Generation,
        answers: &mut Answers<'_, String>,
    ) -> Result<()> {
        let repeats = prompts.len() / self.generations.len();
        for i in 0..prompts.len() {
            answers.set(i, self.generations[i / repeats].clone())?;
        }
        Ok(())
    }
}

fn check_task(name: &str, record: &Value, outcome: &Outcome) {
    assert_eq!(json!(outcome.requests_sha256), record["requests_sha256"], "{name}: requests");
    assert_eq!(json!(outcome.n_documents), record["n_docs"], "{name}: documents");
    check_first_requests(name, &record["first_requests"], &outcome.samples);
    check_first_scores(name, &record["first_scores"], &outcome.samples);
    let results = record["results"].as_object().unwrap();
    let mut n = 0;
    for (key, expected) in results {
        let (metric, filter) = match key.split_once(',') {
            Some(parts) => parts,
            None => {
                assert_eq!(
                    (key.as_str(), expected),
                    ("sample_len", &json!(outcome.n_documents)),
                    "{name}"
                );
                continue;
            }
        };
        let bare = metric.strip_suffix("_stderr").unwrap_or(metric);
        let measure = outcome.measures.iter().find(|m| m.metric == bare && m.filter == filter);
        let measure = measure.unwrap_or_else(|| panic!("{name}: no {bare},{filter}"));
        let is_error = metric.ends_with("_stderr");
        let found = if is_error { measure.error } else { Some(measure.value) };
        let resampled =
            is_error && !["acc", "exact_match"].iter().any(|mean| bare.starts_with(mean));
        check_number(
            &format!("{name}: {key}"),
            found,
            expected,
            if resampled { RESAMPLED } else { MEAN },
        );
        n += 1;
    }
    assert_eq!(n, 2 * outcome.measures.len(), "{name}: numbers");
}

fn check_number(what: &str, found: Option<f64>, expected: &Value, tolerance: f64) {
    let Some(number) = expected.as_f64() else {
        assert_eq!((found, expected), (None, &json!("N/A")), "{what}");
        return;
    };
    let found = found.unwrap_or_else(|| panic!("{what}: none, expected {number}"));
    let distance = (found - number).abs() / number.abs().max(f64::MIN_POSITIVE);
    assert!(distance <= tolerance, "{what}: {found}, expected {number}, {distance:e} apart");
}

fn check_first_requests(name: &str, expected: &Value, samples: &[Sample]) {
    for (sample, expected) in samples.iter().zip(expected.as_array().unwrap()) {
        let found: Vec<Value> = sample
            .requests
            .iter()
            .map(|request| {
                let (context, continuation) = request.parts();
                json!([
                    context,
                    if continuation.is_empty() { Value::Null } else { json!(continuation) }
                ])
            })
            .collect();
        assert_eq!(&json!(found), expected, "{name}: document {}", sample.doc_id);
    }
}

fn check_first_scores(name: &str, expected: &Value, samples: &[Sample]) {
    for (sample, expected) in samples.iter().zip(expected.as_array().unwrap()) {
        for (metric, expected) in expected.as_object().unwrap() {
            let score = &sample.scores.iter().find(|(found, _)| found == metric).unwrap().1;
            let found = match score {
                Score::Number(number) => vec![*number],
                Score::Weighted(sum, weight) => vec![*sum, *weight as f64],
                other => panic!("{name}: {other:?}"),
            };
            let expected: Vec<f64> = match expected {
                Value::Array(several) => several.iter().filter_map(Value::as_f64).collect(),
                one => one.as_f64().into_iter().collect(),
            };
            assert_eq!(found, expected, "{name}: {metric} of document {}", sample.doc_id);
        }
    }
}

fn check_group(name: &str, results: &Value, outcomes: &BTreeMap<String, Outcome>) {
    let group = name.strip_prefix("group:").unwrap_or(name);
    let members = outcomes.iter().filter(|(task, _)| task.starts_with(&format!("{group}_")));
    let members: Vec<&Outcome> = members.map(|(_, outcome)| outcome).collect();
    for (key, expected) in results.as_object().unwrap() {
        let Some((metric, filter)) = key.split_once(',') else { continue };
        let bare = metric.strip_suffix("_stderr").unwrap_or(metric);
        let of = |outcome: &&Outcome| -> Measure {
            outcome
                .measures
                .iter()
                .find(|m| m.metric == bare && m.filter == filter)
                .unwrap()
                .clone()
        };
        let measures: Vec<Measure> = members.iter().map(of).collect();
        let sizes: Vec<usize> = measures.iter().map(|measure| measure.n).collect();
        let total: usize = sizes.iter().sum();
        assert_eq!(json!(total), results["sample_len"], "{name}: documents");
        let found = if metric.ends_with("_stderr") {
            error::pooled(&measures.iter().map(|m| m.error.unwrap()).collect::<Vec<f64>>(), &sizes)
        } else {
            measures.iter().map(|m| m.value * m.n as f64).sum::<f64>() / total as f64
        };
        check_number(&format!("{name}: {key}"), Some(found), expected, MEAN);
    }
}
