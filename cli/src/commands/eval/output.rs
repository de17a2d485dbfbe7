//! How evaluations show what they found: answers beside the results, and a table.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Usage;

/// Refuses to write over a file.
pub(super) fn refuse_used(path: &Path) -> anyhow::Result<()> {
    match path.exists() {
        false => Ok(()),
        true => Err(Usage::with_hint(
            format!("`{}` is there already", path.display()),
            "remove it, or name another file",
        )
        .into()),
    }
}

/// The path with something behind its name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Prints every number of the results with its error and interval.
pub(super) fn print_table(results: &Value) {
    println!(
        "{:36} {:22} {:>10} {:>9}  {:19} {:>6}",
        "task", "metric", "value", "stderr", "95 % interval", "n"
    );
    let tasks = results["results"].as_object().into_iter().flatten();
    for (task, entry) in tasks {
        for (key, value) in entry.as_object().into_iter().flatten() {
            let Some((metric, filter)) = key.split_once(',') else { continue };
            if !metric.ends_with("_stderr") && !metric.ends_with("_ci95") {
                print_row(task, entry, (metric, filter), value);
            }
        }
    }
}

fn print_row(task: &str, entry: &Value, (metric, filter): (&str, &str), value: &Value) {
    let error = entry[format!("{metric}_stderr,{filter}")].as_f64();
    let error = error.map_or("".into(), |error| format!("{error:.4}"));
    let bound = |i: usize| entry[format!("{metric}_ci95,{filter}")][i].as_f64();
    let interval = match (bound(0), bound(1)) {
        (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
        _ => String::new(),
    };
    let value = value.as_f64().unwrap_or(f64::NAN);
    let n = &entry["sample_len"];
    let chance = match (entry["chance"].as_f64(), bound(0), bound(1)) {
        (Some(chance), Some(low), Some(high))
            if metric == "acc" && low <= chance && chance <= high =>
        {
            format!("  chance is {chance}")
        }
        _ => String::new(),
    };
    let key = format!("{metric},{filter}");
    println!("{task:36} {key:22} {value:10.4} {error:>9}  {interval:19} {n:>6}{chance}");
}
