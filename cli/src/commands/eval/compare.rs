//! `neo eval compare`: two results files on the same documents.

use std::path::{Path, PathBuf};

use neo_eval::paired::{self, Comparison};
use serde_json::{Map, Value, json};

use crate::error::Usage;

/// Options of `neo eval compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Results of the first model
    first: PathBuf,
    /// Results of the second model
    second: PathBuf,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (first, second) = (read(&args.first)?, read(&args.second)?);
    if first["config"]["mode"] != second["config"]["mode"] {
        return Err(Usage::with_hint(
            "the two results were taken in different modes",
            "run both with the same `--mode`: their numbers differ by design",
        )
        .into());
    }
    let mut found: Vec<(String, String, Comparison)> = Vec::new();
    for (task, scores) in first["document_scores"].as_object().into_iter().flatten() {
        let other = &second["document_scores"][task];
        if other.is_null() {
            continue;
        }
        if first["requests_sha256"][task] != second["requests_sha256"][task] {
            return Err(Usage::with_hint(
                format!("the two results asked task `{task}` differently"),
                "use the same task file, data, shots and limit for both",
            )
            .into());
        }
        for (metric, first) in scores.as_object().into_iter().flatten() {
            if let (Some(first), Some(second)) = (numbers(first), numbers(&other[metric]))
                && !first.is_empty()
            {
                found.push((task.clone(), metric.clone(), paired::compare(&first, &second)));
            }
        }
    }
    if found.is_empty() {
        return Err(Usage::with_hint(
            "the two results have no task in common",
            "evaluate both models on the same tasks with `neo eval --tasks`",
        )
        .into());
    }
    if args.json {
        print_json(&found)
    } else {
        print_table(&found)
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs_err::read_to_string(path).map_err(neo_data::Error::io(path))?;
    let malformed = |problem: String| neo_data::Error::Malformed { path: path.to_owned(), problem };
    let value: Value = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
    if value["document_scores"].is_null() {
        return Err(
            malformed("no `document_scores`: not a file of `neo eval --tasks`".into()).into()
        );
    }
    Ok(value)
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

fn print_json(found: &[(String, String, Comparison)]) {
    let mut tasks = Map::new();
    for (task, metric, comparison) in found {
        let entry = tasks.entry(task.clone()).or_insert_with(|| json!({}));
        entry[metric] = json!(comparison);
    }
    println!("{:#}", Value::Object(tasks));
}

fn print_table(found: &[(String, String, Comparison)]) {
    println!(
        "{:32} {:18} {:>6} {:>8} {:>8} {:>9}  {:20} {:>10} {:>10}",
        "task",
        "metric",
        "n",
        "first",
        "second",
        "change",
        "95 % interval",
        "McNemar p",
        "n needed"
    );
    for (task, metric, c) in found {
        let interval = format!("{:+.4} to {:+.4}", c.interval[0], c.interval[1]);
        let p = c.mcnemar_p.map_or(String::new(), |p| format!("{p:.4}"));
        let needed = c.n_to_tell_apart.map_or("never".into(), |n| n.to_string());
        println!(
            "{task:32} {metric:18} {:6} {:8.4} {:8.4} {:+9.4}  {interval:20} {p:>10} {needed:>10}",
            c.n, c.means[0], c.means[1], c.difference
        );
    }
}
