//! Every number with its standard error, interval, documents and the level of chance.

use neo_eval::evaluation::Measure;
use neo_eval::report::TaskResult;
use serde::Serialize;

use super::Measured;
use crate::report::svg::{circle, line, rect};

/// Size of the picture of an interval.
const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 14.0;

/// The tables of one way of asking.
#[derive(Serialize)]
pub(super) struct Table {
    /// Whether rows are of several models.
    has_models: bool,
    /// Tasks and groups.
    rows: Vec<Row>,
    /// Members of each group.
    parts: Vec<Parts>,
    /// Tasks that the files did not ask alike.
    asked_differently: Vec<String>,
}

/// What a group's number is made of.
#[derive(Serialize)]
struct Parts {
    group: String,
    n_tasks: usize,
    rows: Vec<Row>,
}

/// One number.
#[derive(Serialize)]
struct Row {
    /// Empty where it is that of the row before.
    task: String,
    shots: String,
    metric: String,
    model: String,
    value: String,
    error: String,
    interval: String,
    n: usize,
    chance: String,
    /// Whether the interval holds the level of chance.
    is_chance: bool,
    picture: Option<String>,
}

impl Table {
    pub(super) fn of(measured: &[&Measured]) -> Self {
        let names = top_level(measured);
        let differs = |name: &&String| {
            let mut hashes: Vec<&str> =
                results_of(name, measured).map(|(_, t)| t.requests_sha256.as_str()).collect();
            hashes.dedup();
            hashes.len() > 1
        };
        Self {
            has_models: measured.iter().any(|other| other.label != measured[0].label),
            rows: names.iter().flat_map(|name| rows(name, measured)).collect(),
            parts: names.iter().filter_map(|name| Parts::of(name, measured)).collect(),
            asked_differently: names.iter().filter(differs).cloned().collect(),
        }
    }
}

impl Parts {
    fn of(group: &str, measured: &[&Measured]) -> Option<Self> {
        let members = members(group, measured);
        (!members.is_empty()).then(|| Self {
            group: group.to_owned(),
            n_tasks: members.len(),
            rows: members.iter().flat_map(|name| rows(name, measured)).collect(),
        })
    }
}

/// Tasks and groups with numbers that are no part of such a group, in the order of the files.
pub(super) fn top_level(measured: &[&Measured]) -> Vec<String> {
    let tasks = || measured.iter().flat_map(|measured| &measured.results.tasks);
    let with_numbers = || tasks().filter(|task| !task.measures.is_empty());
    let is_part = |name: &String| with_numbers().any(|group| group.members.contains(name));
    let mut names: Vec<String> = Vec::new();
    for TaskResult { name, .. } in with_numbers() {
        if !is_part(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Tasks and groups inside a group.
pub(super) fn members(group: &str, measured: &[&Measured]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, task) in results_of(group, measured) {
        let new = task.members.iter().filter(|name| *name != group);
        let new: Vec<String> = new.filter(|name| !names.contains(name)).cloned().collect();
        names.extend(new);
    }
    names
}

/// What each file has of a task.
pub(super) fn results_of<'a>(
    name: &str,
    measured: &[&'a Measured],
) -> impl Iterator<Item = (&'a Measured, &'a TaskResult)> {
    let found = |m: &&'a Measured| m.results.task(name).map(|task| (*m, task));
    measured.iter().filter_map(found).collect::<Vec<_>>().into_iter()
}

/// Rows of a task: metric by metric, model by model.
fn rows(name: &str, measured: &[&Measured]) -> Vec<Row> {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for (_, task) in results_of(name, measured) {
        for Measure { metric, filter, .. } in &task.measures {
            if !keys.contains(&(metric, filter)) {
                keys.push((metric, filter));
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for (metric, filter) in keys {
        for (measured, task) in results_of(name, measured) {
            let is_it = |m: &&Measure| m.metric == metric && m.filter == filter;
            rows.extend(task.measures.iter().find(is_it).map(|m| Row::of(measured, task, m)));
        }
    }
    rows.iter_mut().skip(1).for_each(|row| row.task.clear());
    rows
}

impl Row {
    fn of(measured: &Measured, task: &TaskResult, measure: &Measure) -> Self {
        let chance = task.chance_of(measure);
        let within = |[low, high]: [f64; 2]| chance.is_some_and(|c| low <= c && c <= high);
        let is_chance = measure.interval.is_some_and(within);
        Self {
            task: task.name.clone(),
            shots: task.n_shots.map_or(String::new(), |n| n.to_string()),
            metric: metric_name(measure),
            model: measured.label.clone(),
            value: number(measure.value),
            error: measure.error.map_or(String::new(), number),
            interval: measure.interval.map_or(String::new(), |[low, high]| {
                format!("{} to {}", number(low), number(high))
            }),
            n: measure.n,
            chance: match chance {
                Some(chance) if is_chance => format!("≈ {}", round(chance)),
                Some(chance) => round(chance),
                None => String::new(),
            },
            is_chance,
            picture: picture(measure, chance),
        }
    }
}

/// Metric and filter, unless there is only the one that does nothing.
pub(super) fn metric_name(measure: &Measure) -> String {
    match measure.filter.as_str() {
        "none" | "ppl" | "gen" => measure.metric.clone(),
        filter => format!("{}, {filter}", measure.metric),
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "–".to_owned() }
}

/// A level of chance in at most four digits.
fn round(chance: f64) -> String {
    let fixed = format!("{chance:.4}");
    fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Value and interval between 0 and 1, with a mark at chance; nothing for other numbers.
fn picture(measure: &Measure, chance: Option<f64>) -> Option<String> {
    let [low, high] = measure.interval.unwrap_or([measure.value; 2]);
    if !(0.0..=1.0).contains(&measure.value) {
        return None;
    }
    let x = |share: f64| 4.0 + (WIDTH - 8.0) * share.clamp(0.0, 1.0);
    let middle = HEIGHT / 2.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{:.4}\">",
        measure.value
    );
    line(&mut svg, "grid", (x(0.0), middle), (x(1.0), middle));
    for end in [0.0, 1.0] {
        line(&mut svg, "grid", (x(end), 3.0), (x(end), HEIGHT - 3.0));
    }
    rect(&mut svg, "c0 interval", (x(low), middle - 3.0), ((x(high) - x(low)).max(1.0), 6.0));
    if let Some(chance) = chance {
        line(&mut svg, "chance", (x(chance), 0.0), (x(chance), HEIGHT));
    }
    circle(&mut svg, "c0", (x(measure.value), middle), 3.0);
    svg += "</svg>";
    Some(svg)
}
