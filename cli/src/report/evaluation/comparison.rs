//! Ours beside MAP-Neo's published values, as a radar like the paper's and as a table.

use neo_eval::report::TaskResult;
use serde::Serialize;

use super::Measured;
use super::published::{AXES, Axis};
use super::table::{metric_name, results_of};
use crate::report::radar::{self, Outline};

/// Models drawn, at most; colours are few and outlines cross.
const MAX_MODELS: usize = 5;

/// What the paper's axes are at, for MAP-Neo and for ours.
#[derive(Serialize)]
pub(super) struct Comparison {
    /// Nothing where there are fewer than three axes.
    radar: Option<String>,
    models: Vec<String>,
    rows: Vec<Row>,
    /// Whether ours were asked as MAP-Neo was.
    is_same_way: bool,
    n_models_left_out: usize,
}

/// One axis.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    task: &'static str,
    metric: String,
    shots: String,
    published: String,
    source: &'static str,
    note: &'static str,
    ours: Vec<String>,
}

impl Comparison {
    /// Over the axes that both have; nothing if there is none.
    pub(super) fn of(measured: &[&Measured], mode: &str) -> Option<Self> {
        let has = |axis: &&Axis| results_of(axis.task, measured).next().is_some();
        let axes: Vec<&Axis> = AXES.iter().filter(has).collect();
        let all = newest(measured);
        let models = &all[..all.len().min(MAX_MODELS)];
        (!axes.is_empty()).then(|| Self {
            radar: draw(&axes, models, measured),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            rows: axes.iter().filter_map(|axis| Row::of(axis, models, measured)).collect(),
            is_same_way: mode == "opencompass",
            n_models_left_out: all.len() - models.len(),
        })
    }
}

/// Labels of all models, of a run the last step only.
fn newest<'a>(measured: &[&'a Measured]) -> Vec<&'a str> {
    let is_newest = |m: &&&'a Measured| {
        let Some((run, step)) = &m.checkpoint else { return true };
        let others = measured.iter().filter_map(|other| other.checkpoint.as_ref());
        !others.into_iter().any(|(other, later)| other == run && later > step)
    };
    let mut labels: Vec<&str> =
        measured.iter().filter(is_newest).map(|m| m.label.as_str()).collect();
    labels.dedup();
    labels
}

/// What a model has on an axis.
fn result<'a>(axis: &Axis, label: &str, measured: &[&'a Measured]) -> Option<&'a TaskResult> {
    results_of(axis.task, measured).find(|(m, _)| m.label == label).map(|(_, task)| task)
}

/// The first metric in percent.
fn percent(task: &TaskResult) -> Option<f64> {
    task.measures.first().map(|measure| 100.0 * measure.value).filter(|value| value.is_finite())
}

fn draw(axes: &[&Axis], models: &[&str], measured: &[&Measured]) -> Option<String> {
    let mut outlines = vec![Outline {
        name: "MAP-Neo-7B, published".into(),
        values: axes.iter().map(|axis| Some(axis.percent)).collect(),
        class: "c1".into(),
    }];
    let colours = ["c0", "c2", "c3", "c4", "c5"];
    for (model, colour) in models.iter().zip(colours) {
        let value = |axis: &&Axis| result(axis, model, measured).and_then(percent);
        let values = axes.iter().map(value).collect();
        outlines.push(Outline { name: (*model).to_owned(), values, class: colour.into() });
    }
    let chance = |axis: &&Axis| {
        let (_, task) = results_of(axis.task, measured).next()?;
        Some(100.0 * task.chance_of(task.measures.first()?).unwrap_or(0.0))
    };
    let values: Vec<Option<f64>> = axes.iter().map(chance).collect();
    outlines.push(Outline { name: "guessing".into(), values, class: "level".into() });
    let names: Vec<&str> = axes.iter().map(|axis| axis.name).collect();
    radar::draw("MAP-Neo's published values and ours, in percent", &names, &outlines)
}

impl Row {
    fn of(axis: &Axis, models: &[&str], measured: &[&Measured]) -> Option<Self> {
        let (_, first) = results_of(axis.task, measured).next()?;
        let cell = |model: &&str| {
            let task = result(axis, model, measured);
            let error = task.and_then(|task| task.measures.first()?.error);
            match (task.and_then(percent), error) {
                (Some(value), Some(error)) => format!("{value:.1} ± {:.1}", 100.0 * error),
                (Some(value), None) => format!("{value:.1}"),
                _ => String::new(),
            }
        };
        Some(Self {
            name: axis.name,
            task: axis.task,
            metric: first.measures.first().map(metric_name).unwrap_or_default(),
            shots: first.n_shots.map_or(String::new(), |n| n.to_string()),
            published: format!("{}", axis.percent),
            source: axis.source.citation(),
            note: axis.note,
            ours: models.iter().map(cell).collect(),
        })
    }
}
