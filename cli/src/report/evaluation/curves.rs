//! How the numbers moved over the checkpoints of each run.

use std::path::Path;

use super::table::{metric_name, results_of, top_level};
use super::{Figure, Measured};
use crate::report::chart::{Chart, Level, Scale, Series, Stroke, Whisker};
use crate::report::curves::{N_COLOURS, SMALL};

/// A chart for each task of which a run has several steps; a curve for each run.
pub(super) fn draw(measured: &[&Measured]) -> Vec<Figure> {
    top_level(measured).iter().filter_map(|name| draw_task(name, measured)).collect()
}

/// A measured step.
struct Point {
    step: u64,
    value: f64,
    interval: Option<[f64; 2]>,
}

/// The task's first metric, at steps that were asked the same questions as the last.
fn draw_task(name: &str, measured: &[&Measured]) -> Option<Figure> {
    let (_, last) = results_of(name, measured).last()?;
    let first = last.measures.first()?;
    let mut runs: Vec<(&Path, String, Vec<Point>)> = Vec::new();
    for (measured, task) in results_of(name, measured) {
        let Some((run, step)) = &measured.checkpoint else { continue };
        let is_it = |m: &&_| metric_name(m) == metric_name(first);
        let Some(measure) = task.measures.iter().find(is_it) else { continue };
        if task.requests_sha256 != last.requests_sha256 || !measure.value.is_finite() {
            continue;
        }
        let point = Point { step: *step, value: measure.value, interval: measure.interval };
        match runs.iter_mut().find(|(other, ..)| other == run) {
            Some((.., points)) => points.push(point),
            None => runs.push((run, measured.run_name(), vec![point])),
        }
    }
    runs.retain(|(.., points)| points.len() > 1);
    let level = last.chance_of(first);
    let levels = level.map(|y| Level { name: "chance".into(), y, colour: None });
    let svg = Chart {
        title: name,
        x_label: "step",
        y_label: &metric_name(first),
        size: SMALL,
        scale: Scale::FromZero,
        series: series(&runs),
        levels: levels.into_iter().collect(),
        whiskers: whiskers(&runs),
        spans: &[],
    }
    .to_svg()?;
    let note = if first.higher_is_better { "" } else { "lower is better" };
    Some(Figure { title: name.to_owned(), note: note.to_owned(), svg, is_wide: false })
}

/// A curve for each run; a single one needs no name.
fn series(runs: &[(&Path, String, Vec<Point>)]) -> Vec<Series> {
    let curve = |(idx, (_, name, points)): (usize, &(&Path, String, Vec<Point>))| Series {
        name: if runs.len() > 1 { name.clone() } else { String::new() },
        points: points.iter().map(|point| (point.step as f64, point.value)).collect(),
        stroke: Stroke::Dotted,
        colour: idx % N_COLOURS,
    };
    runs.iter().enumerate().map(curve).collect()
}

fn whiskers(runs: &[(&Path, String, Vec<Point>)]) -> Vec<Whisker> {
    let of_run = |(idx, (.., points)): (usize, &(&Path, String, Vec<Point>))| {
        let whisker = |point: &Point| {
            let [low, high] = point.interval?;
            Some(Whisker { x: point.step as f64, range: (low, high), colour: idx % N_COLOURS })
        };
        points.iter().filter_map(whisker).collect::<Vec<_>>()
    };
    runs.iter().enumerate().flat_map(of_run).collect()
}
