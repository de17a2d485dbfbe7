//! The sample log: one JSON line for each document and filter, with lm-evaluation-harness's keys.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::evaluation::Sample;
use crate::metric::Score;
use crate::task::source::hex;
use crate::task::{Request, Task, as_text};

/// Lines of a task's samples.
pub fn sample_lines(task: &Task, samples: &[Sample]) -> Vec<Value> {
    samples.iter().map(|sample| line(task, sample)).collect()
}

fn line(task: &Task, sample: &Sample) -> Value {
    let document = &task.documents[sample.doc_id];
    let target = task.target(document).unwrap_or_default();
    let [doc_hash, prompt_hash, target_hash] = hashes(task, sample);
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
    put("task", task.definition.task.clone().into());
    put("doc_id", json!(sample.doc_id));
    put("doc", Value::Object(document.fields.clone()));
    put("target", target);
    put("arguments", sample.requests.iter().map(|request| arguments(task, request)).collect());
    put("resps", sample.responses.iter().map(|response| json!([response])).collect());
    put("filtered_resps", json!(sample.filtered));
    put("filter", sample.filter.clone().into());
    put("metrics", sample.scores.iter().map(|(name, _)| Value::from(name.as_str())).collect());
    put("doc_hash", doc_hash.into());
    put("prompt_hash", prompt_hash.into());
    put("target_hash", target_hash.into());
    for (name, score) in &sample.scores {
        put(name, of_score(score));
    }
    Value::Object(line)
}

fn arguments(task: &Task, request: &Request) -> Value {
    match request {
        Request::LogLikelihood { context, continuation } => json!([context, continuation]),
        Request::Rolling { text } => json!([text]),
        Request::Generate { context } => {
            json!([context, { "until": task.definition.generation.until }])
        }
    }
}

fn of_score(score: &Score) -> Value {
    match score {
        Score::Number(number) => json!(number),
        Score::Classes { gold, predicted } => json!([gold, predicted]),
        Score::Weighted(sum, weight) => json!([sum, weight]),
        Score::Probabilities { gold, probabilities } => json!([gold, probabilities]),
        Score::Counts(counts) => json!(counts),
    }
}

/// Hashes of the document, its first prompt and its target.
fn hashes(task: &Task, sample: &Sample) -> [String; 3] {
    let document = &task.documents[sample.doc_id];
    let printed = serde_json::to_string_pretty(&document.fields).unwrap_or_default();
    let prompt = sample.requests.first().map_or("", |request| request.parts().0);
    let target = task.target(document).unwrap_or_default();
    [&printed, prompt, &as_text(&target)].map(|text| hex(&Sha256::digest(text)))
}

/// Hash of all samples' hashes: equal when documents, prompts and targets are.
pub(super) fn task_hash(task: &Task, samples: &[Sample]) -> String {
    joined_hash(samples.iter().flat_map(|sample| hashes(task, sample)))
}

/// Hash of hashes in hexadecimal, one after the other.
pub(super) fn joined_hash(parts: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}
