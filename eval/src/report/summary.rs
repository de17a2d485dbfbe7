//! The results file: lm-evaluation-harness's keys, with intervals beside its numbers.
//!
//! Nothing in it depends on time or place, so an evaluation that was continued writes the same
//! bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::samples::task_hash;
use crate::evaluation::{Measure, Outcome};
use crate::metric::{Score, error};
use crate::task::Task;
use crate::task::library::Group;

/// A task with what it gave.
pub struct Evaluated<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its numbers and samples.
    pub outcome: &'a Outcome,
}

/// The whole file; `config` tells the model and the options.
pub fn summary(evaluated: &[Evaluated<'_>], groups: &[Group], config: Value) -> Value {
    let mut results = Map::new();
    let mut by_name: BTreeMap<String, Vec<Measure>> = BTreeMap::new();
    for Evaluated { task, outcome } in evaluated {
        let name = &task.definition.task;
        let mut entry =
            metrics(name, &task.definition.alias, &outcome.measures, outcome.n_documents);
        if let Some(chance) = task.definition.own.chance {
            entry.insert("chance".into(), json!(chance));
        }
        results.insert(name.clone(), entry.into());
        by_name.insert(name.clone(), outcome.measures.clone());
    }
    let mut group_results = Map::new();
    for group in groups {
        let members = leaves(group, groups);
        let measures = group_measures(group, &members, &by_name);
        let size = |name: &String| by_name.get(name).and_then(|m| m.first()).map_or(0, |m| m.n);
        let entry = metrics(&group.name, &group.alias, &measures, members.iter().map(size).sum());
        results.insert(group.name.clone(), entry.clone().into());
        if !group.metrics.is_empty() {
            group_results.insert(group.name.clone(), entry.into());
        }
    }
    let of_tasks = |f: &dyn Fn(&Evaluated<'_>) -> Value| -> Value {
        let entries = evaluated.iter().map(|e| (e.task.definition.task.clone(), f(e)));
        Value::Object(entries.collect::<BTreeMap<_, _>>().into_iter().collect())
    };
    let subtasks: Map<String, Value> =
        groups.iter().map(|group| (group.name.clone(), json!(group.children))).collect();
    let mut file = json!({ "results": results });
    if !group_results.is_empty() {
        file["groups"] = group_results.into();
    }
    file["group_subtasks"] = subtasks.into();
    file["configs"] = of_tasks(&|e| Value::Object(e.task.definition.given.clone()));
    file["versions"] = of_tasks(&|e| e.task.definition.version());
    file["n-shot"] = of_tasks(&|e| json!(e.task.n_shots));
    file["higher_is_better"] = of_tasks(&|e| {
        let higher =
            e.outcome.measures.iter().map(|m| (m.metric.clone(), json!(m.higher_is_better)));
        Value::Object(higher.collect())
    });
    file["n-samples"] = of_tasks(
        &|e| json!({ "original": e.task.documents.len(), "effective": e.outcome.n_documents }),
    );
    file["config"] = config;
    file["task_hashes"] = of_tasks(&|e| json!(task_hash(e.task, &e.outcome.samples)));
    file["requests_sha256"] = of_tasks(&|e| json!(e.outcome.requests_sha256));
    file["document_scores"] = of_tasks(&|e| document_scores(e.outcome));
    file
}

/// Scores of each document under each metric, for comparisons: a string of digits where all are 0
/// or 1, else a list.
fn document_scores(outcome: &Outcome) -> Value {
    let mut lists: Map<String, Value> = Map::new();
    for measure in &outcome.measures {
        let of_filter = outcome.samples.iter().filter(|sample| sample.filter == measure.filter);
        let scores = of_filter.flat_map(|sample| &sample.scores);
        let of_metric = scores.filter(|(name, _)| *name == measure.metric);
        // Classes and sums mean nothing document by document.
        let numbers: Vec<f64> = of_metric
            .filter_map(|(_, score)| match score {
                Score::Number(number) => Some(*number),
                _ => None,
            })
            .collect();
        if numbers.is_empty() {
            continue;
        }
        let are_marks = numbers.iter().all(|number| *number == 0.0 || *number == 1.0);
        let digits =
            || numbers.iter().map(|n| if *n == 1.0 { '1' } else { '0' }).collect::<String>();
        let list = if are_marks { digits().into() } else { json!(numbers) };
        lists.insert(format!("{},{}", measure.metric, measure.filter), list);
    }
    lists.into()
}

/// Numbers, errors and intervals under that program's keys.
pub(crate) fn metrics(
    name: &str,
    alias: &str,
    measures: &[Measure],
    n: usize,
) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert("alias".into(), alias.into());
    entry.insert("sample_len".into(), json!(n));
    for measure in measures {
        let Measure { metric, filter, value, error, interval, .. } = measure;
        entry.insert(format!("{metric},{filter}"), json!(value));
        entry.insert(format!("{metric}_stderr,{filter}"), error.map_or("N/A".into(), |e| json!(e)));
        if let Some(interval) = interval {
            entry.insert(format!("{metric}_ci95,{filter}"), json!(interval));
        }
    }
    entry
}

/// Tasks of a group and of the groups inside it.
pub(crate) fn leaves(group: &Group, groups: &[Group]) -> Vec<String> {
    let mut found = Vec::new();
    for child in &group.children {
        match groups.iter().find(|group| group.name == *child && group.children != [child.clone()])
        {
            Some(inner) => found.extend(leaves(inner, groups)),
            None => found.push(child.clone()),
        }
    }
    found
}

/// What a group's metrics come to over its tasks.
pub fn group_measures(
    group: &Group,
    members: &[String],
    by_name: &BTreeMap<String, Vec<Measure>>,
) -> Vec<Measure> {
    let mut found = Vec::new();
    for metric in &group.metrics {
        let all = members.iter().filter_map(|name| by_name.get(name)).flatten();
        let of_metric: Vec<&Measure> = all.filter(|m| m.metric == metric.metric).collect();
        let mut filters: Vec<String> = of_metric.iter().map(|m| m.filter.clone()).collect();
        filters.sort();
        filters.dedup();
        for filter in metric.filters.clone().unwrap_or(filters) {
            let parts: Vec<&Measure> =
                of_metric.iter().copied().filter(|m| m.filter == filter).collect();
            found.extend(joined(&parts, metric.weight_by_size));
        }
    }
    found
}

/// The mean of the tasks' values with its error.
fn joined(parts: &[&Measure], weight_by_size: bool) -> Option<Measure> {
    let first = parts.first()?;
    let sizes: Vec<usize> = parts.iter().map(|part| part.n).collect();
    let weight = |part: &Measure| if weight_by_size { part.n as f64 } else { 1.0 };
    let total: f64 = parts.iter().map(|part| weight(part)).sum();
    let value = parts.iter().map(|part| part.value * weight(part)).sum::<f64>() / total;
    let errors: Option<Vec<f64>> = parts.iter().map(|part| part.error).collect();
    let error = errors.map(|errors| match weight_by_size {
        true => error::pooled(&errors, &sizes),
        false => error::unweighted(&errors),
    });
    Some(Measure {
        value,
        error,
        interval: error.map(|error| error::normal_interval(value, error)),
        n: sizes.iter().sum(),
        ..(*first).clone()
    })
}
