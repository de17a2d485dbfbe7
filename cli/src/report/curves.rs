//! Which curves a run has: loss with its comparisons, bits per byte, rate, gradient, speed.

use std::collections::BTreeSet;

use neo_train::metrics::{EvalMetrics, StepMetrics};
use serde::Serialize;

use super::chart::{Chart, Level, Scale, Series, Span, Stroke, smoothed};
use super::{Comparison, RowKind, in_reading_order, language_name};

/// A drawn chart with what is said about it.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    title: &'static str,
    note: String,
    svg: String,
    is_wide: bool,
}

/// Evaluations of this prefix are bits per byte; the language follows.
const PREFIX: &str = "bpb_";

const WIDE: (f64, f64) = (920.0, 380.0);
const SMALL: (f64, f64) = (330.0, 230.0);

/// All charts that the metrics allow.
pub(super) fn draw(
    steps: &[StepMetrics],
    evals: &[EvalMetrics],
    comparison: Option<&Comparison>,
) -> Vec<Figure> {
    let spans = phases(steps);
    let window = (steps.len() / 25).clamp(1, 501);
    let figures = [
        loss(steps, comparison, &spans, window),
        bits_per_byte(evals, comparison, &spans),
        rate(steps, &spans),
        gradient(steps, &spans, window),
        speed(steps, &spans),
    ];
    figures.into_iter().flatten().collect()
}

fn loss(
    steps: &[StepMetrics],
    comparison: Option<&Comparison>,
    spans: &[Span],
    window: usize,
) -> Option<Figure> {
    let points = series_of(steps, |step| step.loss);
    let rows = comparison.map(|comparison| comparison.rows.as_slice()).unwrap_or_default();
    let references = rows.iter().filter(|row| row.kind != RowKind::Model);
    let levels: Vec<Level> = references
        .map(|row| Level { name: row.name.clone(), y: row.nats_per_token, colour: None })
        .collect();
    let lines = if levels.is_empty() { "" } else { "; lines: held-out loss of other predictors" };
    let note = format!("each batch pale, moving average over {window} lines dark{lines}");
    let svg = Chart {
        title: "training loss by step",
        x_label: "step",
        y_label: "loss, nats per token (log scale)",
        size: WIDE,
        scale: Scale::Log,
        series: vec![
            Series {
                name: String::new(),
                points: points.clone(),
                stroke: Stroke::Faint,
                colour: 0,
            },
            Series {
                name: String::new(),
                points: smoothed(&points, window),
                stroke: Stroke::Solid,
                colour: 0,
            },
        ],
        levels,
        spans,
    }
    .to_svg()?;
    Some(Figure { title: "Loss", note, svg, is_wide: true })
}

fn bits_per_byte(
    evals: &[EvalMetrics],
    comparison: Option<&Comparison>,
    spans: &[Span],
) -> Option<Figure> {
    let rows = comparison.map(|comparison| comparison.rows.as_slice()).unwrap_or_default();
    let floor = rows.iter().find(|row| row.kind == RowKind::Floor);
    let (mut series, mut levels) = (Vec::new(), Vec::new());
    for (colour, key) in in_reading_order(bits_per_byte_keys(evals)).into_iter().enumerate() {
        let measured = |eval: &EvalMetrics| Some((eval.step as f64, *eval.eval.get(key)?));
        let language = key.trim_start_matches(PREFIX);
        let name = language_name(language).to_owned();
        if let Some(&y) = floor.and_then(|row| row.bits_per_byte.get(language)) {
            levels.push(Level { name: format!("floor, {name}"), y, colour: Some(colour) });
        }
        let points = evals.iter().filter_map(measured).collect();
        series.push(Series { name, points, stroke: Stroke::Dotted, colour });
    }
    let note = if levels.is_empty() {
        "lower is better"
    } else {
        "dashed: what the text's own entropy allows"
    };
    let svg = Chart {
        title: "held-out bits per byte by step",
        x_label: "step",
        y_label: "bits per byte (log scale)",
        size: WIDE,
        scale: Scale::Log,
        series,
        levels,
        spans,
    }
    .to_svg()?;
    Some(Figure { title: "Held-out text", note: note.into(), svg, is_wide: true })
}

/// Names of the evaluations that are bits per byte of a language.
fn bits_per_byte_keys(evals: &[EvalMetrics]) -> BTreeSet<&str> {
    let keys = evals.iter().flat_map(|eval| eval.eval.keys());
    keys.map(String::as_str).filter(|key| key.starts_with(PREFIX)).collect()
}

fn rate(steps: &[StepMetrics], spans: &[Span]) -> Option<Figure> {
    let points = series_of(steps, |step| step.lr);
    let series = Series { name: String::new(), points, stroke: Stroke::Solid, colour: 1 };
    small("Learning rate", "learning rate", "", Scale::FromZero, vec![series], spans)
}

fn gradient(steps: &[StepMetrics], spans: &[Span], window: usize) -> Option<Figure> {
    let points = series_of(steps, |step| step.grad_norm);
    let average = smoothed(&points, window);
    let series = vec![
        Series { name: String::new(), points, stroke: Stroke::Faint, colour: 2 },
        Series { name: String::new(), points: average, stroke: Stroke::Solid, colour: 2 },
    ];
    small("Gradient norm", "norm (log scale)", "before clipping", Scale::Log, series, spans)
}

fn speed(steps: &[StepMetrics], spans: &[Span]) -> Option<Figure> {
    let points = series_of(steps, |step| step.tokens_per_sec);
    let series = Series { name: String::new(), points, stroke: Stroke::Solid, colour: 3 };
    small("Throughput", "tokens per second", "", Scale::FromZero, vec![series], spans)
}

fn small(
    title: &'static str,
    y_label: &str,
    note: &str,
    scale: Scale,
    series: Vec<Series>,
    spans: &[Span],
) -> Option<Figure> {
    let levels = Vec::new();
    let chart =
        Chart { title, x_label: "step", y_label, size: SMALL, scale, series, levels, spans };
    Some(Figure { title, note: note.to_owned(), svg: chart.to_svg()?, is_wide: false })
}

fn series_of(steps: &[StepMetrics], value: impl Fn(&StepMetrics) -> f64) -> Vec<(f64, f64)> {
    steps.iter().map(|step| (step.step as f64, value(step))).collect()
}

/// Stretches of steps with the same phase name.
fn phases(steps: &[StepMetrics]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for step in steps {
        let x = step.step as f64;
        match spans.last_mut() {
            Some(span) if span.name == step.phase => span.end = x,
            _ => spans.push(Span { name: step.phase.clone(), start: x, end: x }),
        }
    }
    spans
}
