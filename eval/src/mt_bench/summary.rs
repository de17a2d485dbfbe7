//! Ratings as numbers: the benchmark's score, each turn's and each category's, with errors.
//!
//! Replies without a rating are left out of the means, as FastChat does, but not out of sight: they
//! are counted, and the score is given for the case that all of them were 1 and that all were 10.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::judgment::Judgment;
use crate::evaluation::Measure;
use crate::metric::error::normal_interval;
use crate::report::metrics;
use crate::task::source::hex;

/// Name of the task in results.
const TASK: &str = "mt_bench";
/// The worst and the best rating.
const EXTREMES: [f64; 2] = [1.0, 10.0];

/// The results file, in the layout of the other benchmarks.
pub fn summary(judgments: &[Judgment], config: Value) -> Value {
    let mut parts: Vec<(String, Vec<&Judgment>)> = vec![(TASK.into(), judgments.iter().collect())];
    let part = |name: String, is_in: &dyn Fn(&Judgment) -> bool| {
        (format!("{TASK}_{name}"), judgments.iter().filter(|j| is_in(j)).collect())
    };
    parts.extend([1, 2].map(|turn| part(format!("turn_{turn}"), &|j| j.turn == turn)));
    for category in categories(judgments) {
        parts.push(part(category.to_owned(), &|j| j.question.category == category));
    }
    let results: Map<String, Value> =
        parts.into_iter().map(|(name, part)| (name.clone(), entry(&name, &part))).collect();
    json!({
        "results": results,
        "higher_is_better": { TASK: { "score": true } },
        "n-samples": { TASK: { "original": judgments.len(), "effective": judgments.len() } },
        "config": config,
        "judges": judges(judgments),
        "requests_sha256": { TASK: questions_sha256(judgments) },
        "document_scores": document_scores(judgments),
    })
}

fn categories(judgments: &[Judgment]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for judgment in judgments {
        let category = judgment.question.category.as_str();
        if !found.contains(&category) {
            found.push(category);
        }
    }
    found
}

fn entry(name: &str, part: &[&Judgment]) -> Value {
    let scores: Vec<(u64, f64)> =
        part.iter().filter_map(|j| Some((j.question.id, j.score?))).collect();
    let (value, error) = clustered_mean(&scores);
    let measure = Measure {
        metric: "score".into(),
        filter: "none".into(),
        value,
        error,
        interval: error.map(|error| normal_interval(value, error)),
        n: scores.len(),
        higher_is_better: true,
    };
    let mut entry = metrics(name, name, &[measure], part.len());
    let n_unreadable = part.len() - scores.len();
    entry.insert("unreadable".into(), json!(n_unreadable));
    if n_unreadable > 0 {
        let sum: f64 = scores.iter().map(|(_, score)| score).sum();
        let bound = |each: f64| (sum + each * n_unreadable as f64) / part.len() as f64;
        entry.insert("score_bounds".into(), json!(EXTREMES.map(bound)));
    }
    entry.into()
}

/// Mean and its standard error, where the ratings of a question stand and fall together: questions
/// are what was drawn, not turns.
fn clustered_mean(scores: &[(u64, f64)]) -> (f64, Option<f64>) {
    let n = scores.len() as f64;
    let mean = scores.iter().map(|(_, score)| score).sum::<f64>() / n;
    let mut residuals: BTreeMap<u64, f64> = BTreeMap::new();
    for (question, score) in scores {
        *residuals.entry(*question).or_default() += score - mean;
    }
    let k = residuals.len() as f64;
    let squares: f64 = residuals.values().map(|residual| residual.powi(2)).sum();
    let error = (k > 1.0).then(|| (squares * k / (k - 1.0)).sqrt() / n);
    (mean, error)
}

/// Models that the endpoint says it answered with, and how often.
fn judges(judgments: &[Judgment]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for judgment in judgments {
        *counts.entry(judgment.reply.model.as_str()).or_default() += 1;
    }
    counts
}

/// Hash of what every model is asked and of who judges, so that only equals are compared.
fn questions_sha256(judgments: &[Judgment]) -> String {
    let mut hash = Sha256::new();
    for Judgment { question, turn, prompt, reply, .. } in judgments {
        hash.update(json!([question.id, question.turns, turn, prompt, reply.model]).to_string());
    }
    hex(&hash.finalize())
}

/// Ratings one by one, for comparisons, if all could be read.
fn document_scores(judgments: &[Judgment]) -> Value {
    let all: Option<Vec<f64>> = judgments.iter().map(|judgment| judgment.score).collect();
    match all {
        Some(scores) => json!({ TASK: { "score,none": scores } }),
        None => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Reply;
    use crate::mt_bench::Question;

    fn judgment(id: u64, turn: usize, score: Option<f64>) -> Judgment {
        let category = if id < 3 { "math" } else { "writing" }.to_owned();
        Judgment {
            question: Question { id, category, turns: ["a".into(), "b".into()] },
            turn,
            answer: String::new(),
            prompt: "single-v1".into(),
            asked: String::new(),
            reply: Reply { text: String::new(), model: "j-1".into() },
            score,
        }
    }

    #[test]
    fn unreadable_replies_are_counted_and_bounded() {
        let scores = [(1, 8.0), (2, 4.0), (3, 6.0)];
        let mut all: Vec<Judgment> = scores
            .iter()
            .flat_map(|&(id, score)| [1, 2].map(|turn| judgment(id, turn, Some(score))))
            .collect();
        let whole = summary(&all, Value::Null);
        let entry = &whole["results"]["mt_bench"];
        assert_eq!(entry["score,none"], 6.0);
        // As of three questions, not of six ratings: deviation 2 over the root of 3.
        let error = entry["score_stderr,none"].as_f64().unwrap();
        assert!((error - 2.0 / 3.0_f64.sqrt()).abs() < 1e-12, "{error}");
        assert_eq!(entry["unreadable"], 0);
        assert_eq!(whole["results"]["mt_bench_math"]["score,none"], 6.0);
        assert_eq!(whole["results"]["mt_bench_turn_2"]["sample_len"], 3);
        assert_eq!(whole["judges"]["j-1"], 6);
        all[0].score = None;
        let part = summary(&all, Value::Null);
        let entry = &part["results"]["mt_bench"];
        assert_eq!(entry["score,none"], 28.0 / 5.0);
        assert_eq!(entry["unreadable"], 1);
        assert_eq!(entry["score_bounds"], json!([29.0 / 6.0, 38.0 / 6.0]));
        assert_eq!(part["document_scores"], json!({}));
        assert_eq!(part["requests_sha256"], whole["requests_sha256"]);
    }
}
