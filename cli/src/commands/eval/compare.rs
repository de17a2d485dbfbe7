//! `neo eval compare`: two results files on the same documents.

use std::path::PathBuf;

use neo_eval::paired::{self, Comparison};
use neo_eval::report::{Results, TaskResult};
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
    let (first, second) = (Results::read(&args.first)?, Results::read(&args.second)?);
    if first.config.mode != second.config.mode {
        return Err(Usage::with_hint(
            "the two results were taken in different modes",
            "run both with the same `--mode`: their numbers differ by design",
        )
        .into());
    }
    let mut found: Vec<(String, String, Comparison)> = Vec::new();
    for task in first.tasks.iter().filter(|task| task.members.is_empty()) {
        if let Some(other) = second.task(&task.name) {
            compare(task, other, &mut found)?;
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

/// Compares every metric that both results have document by document.
fn compare(
    first: &TaskResult,
    second: &TaskResult,
    found: &mut Vec<(String, String, Comparison)>,
) -> anyhow::Result<()> {
    if first.requests_sha256 != second.requests_sha256 {
        return Err(Usage::with_hint(
            format!("the two results asked task `{}` differently", first.name),
            "use the same task file, data, shots and limit for both",
        )
        .into());
    }
    for (metric, scores) in first.document_scores.iter().filter(|(_, scores)| !scores.is_empty()) {
        let other = second.document_scores.iter().find(|(other, _)| other == metric);
        if let Some((_, other)) = other {
            found.push((first.name.clone(), metric.clone(), paired::compare(scores, other)));
        }
    }
    Ok(())
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
    println!("n needed: documents on which a difference as large is found in 4 of 5 cases, at 5 %");
}
