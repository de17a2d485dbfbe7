//! Which curves a run has: loss with its comparisons, bits per byte, rate, gradient, speed.

use std::collections::BTreeSet;

use neo_train::metrics::{EvalMetrics, StepMetrics};
use serde::Serialize;

use super::chart::{Chart, Level, Scale, Series, Span, Stroke, smoothed};
use super::{Comparison, RowKind, in_reading_order, language_name};

/// A drawn chart with what is said about it.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What is drawn.
    pub(super) title: String,
    /// How it is to be read.
    pub(super) note: String,
    /// The picture.
    pub(super) svg: String,
    /// Whether it takes the page's width.
    pub(super) is_wide: bool,
}

/// Evaluations of this prefix are bits per byte; the language follows.
const PREFIX: &str = "bpb_";

/// Colours of the style sheet.
pub(super) const N_COLOURS: usize = 6;

const WIDE: (f64, f64) = (920.0, 380.0);
/// Size of a chart of which three stand side by side.
pub(super) const SMALL: (f64, f64) = (330.0, 230.0);

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
        questions(evals, &CHOICES, &spans),
        questions(evals, &ANSWERS, &spans),
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
        whiskers: Vec::new(),
        spans,
    }
    .to_svg()?;
    Some(Figure { title: "Loss".into(), note, svg, is_wide: true })
}

fn bits_per_byte(
    evals: &[EvalMetrics],
    comparison: Option<&Comparison>,
    spans: &[Span],
) -> Option<Figure> {
    let rows = comparison.map(|comparison| comparison.rows.as_slice()).unwrap_or_default();
    let floor = rows.iter().find(|row| row.kind == RowKind::Floor);
    let (mut series, mut levels) = (Vec::new(), Vec::new());
    for (colour, key) in in_reading_order(keys_with(PREFIX, evals)).into_iter().enumerate() {
        let language = key.trim_start_matches(PREFIX);
        let name = language_name(language).to_owned();
        if let Some(&y) = floor.and_then(|row| row.bits_per_byte.get(language)) {
            levels.push(Level { name: format!("floor, {name}"), y, colour: Some(colour) });
        }
        let points = points_of(key, evals);
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
        whiskers: Vec::new(),
        spans,
    }
    .to_svg()?;
    Some(Figure { title: "Held-out text".into(), note: note.into(), svg, is_wide: true })
}

/// Names of the figures that begin with this.
fn keys_with<'a>(prefix: &str, evals: &'a [EvalMetrics]) -> BTreeSet<&'a str> {
    let keys = evals.iter().flat_map(|eval| eval.eval.keys());
    keys.map(String::as_str).filter(|key| key.starts_with(prefix)).collect()
}

/// A figure by step, where it was taken.
fn points_of(key: &str, evals: &[EvalMetrics]) -> Vec<(f64, f64)> {
    let measured = |eval: &EvalMetrics| Some((eval.step as f64, *eval.eval.get(key)?));
    evals.iter().filter_map(measured).collect()
}

/// Figures of benchmarks that make one chart.
struct Questions {
    prefix: &'static str,
    title: &'static str,
    y_label: &'static str,
    note: &'static str,
    scale: Scale,
}

/// Shares of right choices.
const CHOICES: Questions = Questions {
    prefix: "acc_",
    title: "Choices",
    y_label: "share of right answers",
    note: "on the first documents of each task, as the recipe says",
    scale: Scale::FromZero,
};

/// Right answers of tasks that want a text.
const ANSWERS: Questions = Questions {
    prefix: "gold_bpb_",
    title: "Right answers",
    y_label: "bits per byte (log scale)",
    note: "of the right answer after its prompt; lower is better",
    scale: Scale::Log,
};

fn questions(evals: &[EvalMetrics], of: &Questions, spans: &[Span]) -> Option<Figure> {
    let keys = keys_with(of.prefix, evals).into_iter().enumerate();
    let curve = |(idx, key): (usize, &str)| Series {
        name: key.trim_start_matches(of.prefix).to_owned(),
        points: points_of(key, evals),
        stroke: Stroke::Dotted,
        colour: idx % N_COLOURS,
    };
    let svg = Chart {
        title: of.title,
        x_label: "step",
        y_label: of.y_label,
        size: WIDE,
        scale: of.scale,
        series: keys.map(curve).collect(),
        levels: Vec::new(),
        whiskers: Vec::new(),
        spans,
    }
    .to_svg()?;
    Some(Figure { title: of.title.into(), note: of.note.into(), svg, is_wide: true })
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
    title: &str,
    y_label: &str,
    note: &str,
    scale: Scale,
    series: Vec<Series>,
    spans: &[Span],
) -> Option<Figure> {
    let svg = Chart {
        title,
        x_label: "step",
        y_label,
        size: SMALL,
        scale,
        series,
        levels: Vec::new(),
        whiskers: Vec::new(),
        spans,
    }
    .to_svg()?;
    Some(Figure { title: title.to_owned(), note: note.to_owned(), svg, is_wide: false })
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
