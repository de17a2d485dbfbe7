//! Line charts as inline SVG, drawn by our own few lines of code so that a report needs no script.
//!
//! Colours and fonts come from the page's style sheet through class names; this file knows geometry.

use std::fmt::Write;

use super::svg::{circle, escaped, line, rect, text};

/// Points kept of a series; more than the chart has pixels would only make the file large.
const MAX_POINTS: usize = 1200;
/// Space for tick labels left of the plot and for what stands above and below it.
const MARGIN_LEFT: f64 = 62.0;
const MARGIN_TOP: f64 = 26.0;
const MARGIN_BOTTOM: f64 = 44.0;
/// Height of a line of labels.
const LINE_HEIGHT: f64 = 14.0;

/// How an axis maps values to lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// In proportion, from zero.
    FromZero,
    /// By the logarithm.
    Log,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stroke {
    /// Pale and thin: raw values behind their smoothed form.
    Faint,
    /// A full line.
    Solid,
    /// A full line with a dot at every point.
    Dotted,
}

/// One curve.
pub(crate) struct Series {
    /// What it is, for the legend; empty for none.
    pub(crate) name: String,
    /// (x, y), x rising; values that are not finite are left out.
    pub(crate) points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub(crate) stroke: Stroke,
    /// Colour of the style sheet, `c0` to `c5`.
    pub(crate) colour: usize,
}

/// A horizontal line to compare with, labelled at the right.
pub(crate) struct Level {
    /// What it is.
    pub(crate) name: String,
    /// Where it lies.
    pub(crate) y: f64,
    /// Colour of the style sheet; `None` for the colour of text.
    pub(crate) colour: Option<usize>,
}

/// How far off a value may be.
pub(crate) struct Whisker {
    /// Where it stands.
    pub(crate) x: f64,
    /// Lowest and highest value.
    pub(crate) range: (f64, f64),
    /// Colour of the style sheet.
    pub(crate) colour: usize,
}

/// A stretch of the x axis with a name.
pub(crate) struct Span {
    /// What it is.
    pub(crate) name: String,
    /// First x.
    pub(crate) start: f64,
    /// Last x.
    pub(crate) end: f64,
}

/// A chart, complete with its axis labels.
pub(crate) struct Chart<'a> {
    /// Read out where the picture cannot be seen.
    pub(crate) title: &'a str,
    /// Name and unit of x.
    pub(crate) x_label: &'a str,
    /// Name and unit of y.
    pub(crate) y_label: &'a str,
    /// Width and height in pixels.
    pub(crate) size: (f64, f64),
    /// Of the y axis; x is always in proportion.
    pub(crate) scale: Scale,
    /// The curves, later ones above.
    pub(crate) series: Vec<Series>,
    /// Lines to compare with.
    pub(crate) levels: Vec<Level>,
    /// Uncertainty of points, behind the curves.
    pub(crate) whiskers: Vec<Whisker>,
    /// Phases.
    pub(crate) spans: &'a [Span],
}

impl Chart<'_> {
    /// The SVG element, or nothing when there is no point to draw.
    pub(crate) fn to_svg(&self) -> Option<String> {
        let plot = Plot::of(self)?;
        let (width, height) = self.size;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escaped(self.title)
        );
        self.draw_spans(&plot, &mut svg);
        self.draw_axes(&plot, &mut svg);
        self.draw_levels(&plot, &mut svg);
        for Whisker { x, range, colour } in &self.whiskers {
            let x = plot.x(*x);
            line(
                &mut svg,
                &format!("whisker c{colour}"),
                (x, plot.y(range.0)),
                (x, plot.y(range.1)),
            );
        }
        for series in &self.series {
            draw_series(series, &plot, &mut svg);
        }
        self.draw_legend(&plot, &mut svg);
        svg += "</svg>";
        Some(svg)
    }

    fn draw_spans(&self, plot: &Plot, svg: &mut String) {
        for (idx, span) in self.spans.iter().enumerate() {
            let (start, end) = (plot.x(span.start), plot.x(span.end));
            if idx % 2 == 1 {
                let (top, height) = (plot.top, plot.bottom - plot.top);
                rect(svg, "band", (start, top), (end - start, height));
            }
            if idx > 0 {
                line(svg, "phase", (start, plot.top), (start, plot.bottom));
            }
            // A name that has no room is left out; the recipe has it.
            if end - start > 7.0 * span.name.chars().count() as f64 {
                text(svg, "phase-name", (start + 5.0, plot.top - 7.0), &span.name);
            }
        }
    }

    fn draw_axes(&self, plot: &Plot, svg: &mut String) {
        for tick in plot.y_ticks(self.scale) {
            let y = plot.y(tick);
            line(svg, "grid", (plot.left, y), (plot.right, y));
            text(svg, "tick end", (plot.left - 8.0, y + 4.0), &short(tick));
        }
        let n_ticks = ((plot.right - plot.left) / 75.0).floor().max(2.0);
        for tick in linear_ticks(plot.x_range, n_ticks) {
            let x = plot.x(tick);
            line(svg, "mark", (x, plot.bottom), (x, plot.bottom + 4.0));
            text(svg, "tick middle", (x, plot.bottom + 17.0), &short(tick));
        }
        line(svg, "axis", (plot.left, plot.bottom), (plot.right, plot.bottom));
        let middle = (plot.left + plot.right) / 2.0;
        text(svg, "label middle", (middle, plot.bottom + 36.0), self.x_label);
        let (x, y) = (14.0, (plot.top + plot.bottom) / 2.0);
        let _ = write!(
            svg,
            "<text class=\"label middle\" transform=\"translate({x},{y:.1}) rotate(-90)\">{}</text>",
            escaped(self.y_label)
        );
    }

    fn draw_levels(&self, plot: &Plot, svg: &mut String) {
        let heights: Vec<f64> = self.levels.iter().map(|level| plot.y(level.y)).collect();
        let places = spread(&heights, LINE_HEIGHT);
        for ((level, &y), &place) in self.levels.iter().zip(&heights).zip(&places) {
            let colour = level.colour.map(|idx| format!(" c{idx}")).unwrap_or_default();
            line(svg, &format!("level{colour}"), (plot.left, y), (plot.right, y));
            let start = (plot.right + 2.0, y);
            line(svg, &format!("leader{colour}"), start, (plot.right + 11.0, place));
            let words = format!("{} {}", level.name, short(level.y));
            text(svg, &format!("level-name{colour}"), (plot.right + 14.0, place + 4.0), &words);
        }
    }

    fn draw_legend(&self, plot: &Plot, svg: &mut String) {
        let named = self.series.iter().filter(|series| !series.name.is_empty());
        for (row, series) in named.enumerate() {
            let y = plot.top + 14.0 + LINE_HEIGHT * row as f64;
            let class = format!("{} c{}", class_of(series.stroke), series.colour);
            let x = plot.right - 12.0;
            line(svg, &class, (x - 18.0, y - 4.0), (x, y - 4.0));
            text(svg, "legend end", (x - 24.0, y), &series.name);
        }
    }
}

/// Where things lie.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_range: (f64, f64),
    y_range: (f64, f64),
    is_log: bool,
}

impl Plot {
    fn of(chart: &Chart) -> Option<Self> {
        let is_log = chart.scale == Scale::Log;
        let drawable =
            |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!is_log || y > 0.0);
        let points =
            || chart.series.iter().flat_map(|series| &series.points).filter(|p| drawable(p));
        let x_range = range(points().map(|p| p.0))?;
        let levels = chart.levels.iter().map(|level| level.y).filter(|&y| drawable(&(0.0, y)));
        let whiskers = chart.whiskers.iter().flat_map(|whisker| [whisker.range.0, whisker.range.1]);
        let whiskers = whiskers.filter(|&y| drawable(&(0.0, y)));
        let values = points().map(|p| p.1).chain(levels).chain(whiskers);
        let y_range = padded(range(values)?, chart.scale);
        let longest = chart.levels.iter().map(|level| level.name.chars().count()).max();
        let margin_right = longest.map_or(12.0, |n| 52.0 + 6.4 * n as f64);
        Some(Self {
            left: MARGIN_LEFT,
            right: chart.size.0 - margin_right,
            top: MARGIN_TOP,
            bottom: chart.size.1 - MARGIN_BOTTOM,
            x_range,
            y_range,
            is_log,
        })
    }

    fn x(&self, value: f64) -> f64 {
        let (low, high) = self.x_range;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.y_range;
        let share = if self.is_log {
            (value.max(low) / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    fn y_ticks(&self, scale: Scale) -> Vec<f64> {
        let n_ticks = ((self.bottom - self.top) / 45.0).floor().max(2.0);
        match scale {
            Scale::Log => log_ticks(self.y_range, n_ticks),
            Scale::FromZero => linear_ticks(self.y_range, n_ticks),
        }
    }
}

/// Mean over the `window` points around each. At the start, where a loss is steep, the window shrinks
/// on both sides alike; at the end only its later side is missing.
pub(crate) fn smoothed(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> =
        points.iter().filter(|point| point.1.is_finite()).copied().collect();
    let around = |idx: usize| {
        let reach = (window / 2).min(idx);
        let part = &points[idx - reach..=(idx + reach).min(points.len() - 1)];
        part.iter().map(|point| point.1).sum::<f64>() / part.len() as f64
    };
    points.iter().enumerate().map(|(idx, point)| (point.0, around(idx))).collect()
}

fn draw_series(series: &Series, plot: &Plot, svg: &mut String) {
    let finite =
        |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite() && (!plot.is_log || p.1 > 0.0);
    let points: Vec<(f64, f64)> = series.points.iter().filter(finite).copied().collect();
    let points = thinned(&points);
    let mut path = String::new();
    for (idx, &(x, y)) in points.iter().enumerate() {
        let letter = if idx == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.1} {:.1}", plot.x(x), plot.y(y));
    }
    let class = class_of(series.stroke);
    let _ = write!(svg, "<path class=\"{class} c{}\" d=\"{path}\"/>", series.colour);
    if series.stroke == Stroke::Dotted {
        for &(x, y) in &points {
            circle(svg, &format!("dot c{}", series.colour), (plot.x(x), plot.y(y)), 2.6);
        }
    }
}

/// At most [`MAX_POINTS`] points, each bucket by its lowest and highest, so that spikes stay visible.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let bucket = points.len().div_ceil(MAX_POINTS / 2);
    let mut kept = Vec::with_capacity(MAX_POINTS);
    for part in points.chunks(bucket) {
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = part.iter().min_by(by_height).zip(part.iter().max_by(by_height));
        let Some((low, high)) = ends else { continue };
        let mut pair = [*low, *high];
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(pair);
    }
    kept
}

/// Moves heights apart so that labels of the given height do not overlap, as little as needed.
fn spread(heights: &[f64], distance: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut places = heights.to_vec();
    // From the lowest label upwards: each gives way to the one below it.
    for pair in order.windows(2).rev() {
        let [upper, lower] = [pair[0], pair[1]];
        places[upper] = places[upper].min(places[lower] - distance);
    }
    places
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

fn padded((low, high): (f64, f64), scale: Scale) -> (f64, f64) {
    match scale {
        Scale::Log => {
            let ratio = (high / low).max(1.05).powf(0.05);
            (low / ratio, high * ratio)
        }
        Scale::FromZero => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
    }
}

/// Round values within the range, at most about `n`, a step being 1, 2 or 5 times a power of ten.
fn linear_ticks((low, high): (f64, f64), n: f64) -> Vec<f64> {
    let rough = (high - low) / n;
    if rough <= 0.0 || !rough.is_finite() {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|&step| step >= rough * 0.999).unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|idx| idx as f64 * step).collect()
}

/// 1, 2 and 5 times powers of ten, or finer within less than a decade.
fn log_ticks((low, high): (f64, f64), n: f64) -> Vec<f64> {
    let mut ticks = Vec::new();
    for exponent in low.log10().floor() as i32..=high.log10().ceil() as i32 {
        ticks.extend([1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(exponent)));
    }
    ticks.retain(|tick| (low..=high).contains(tick));
    if ticks.len() < 3 {
        return linear_ticks((low, high), n);
    }
    if ticks.len() as f64 > 1.5 * n {
        ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
    }
    ticks
}

/// A number in at most about four digits, large ones with `k`, `M`, `B`, tiny ones with an exponent.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        _ if size >= 1e9 => (value / 1e9, " B"),
        _ if size >= 1e6 => (value / 1e6, " M"),
        _ if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    if size > 0.0 && size < 1e-3 {
        return format!("{value:e}")
            .split('e')
            .collect::<Vec<_>>()
            .join("e")
            .chars()
            .take(9)
            .collect();
    }
    let digits = match scaled.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let fixed = format!("{scaled:.digits$}");
    let fixed = if fixed.contains('.') {
        fixed.trim_end_matches('0').trim_end_matches('.')
    } else {
        &fixed
    };
    format!("{fixed}{unit}")
}

fn class_of(stroke: Stroke) -> &'static str {
    match stroke {
        Stroke::Faint => "faint",
        Stroke::Solid | Stroke::Dotted => "curve",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Option<String> {
        let series = Series { name: "a<b".into(), points, stroke: Stroke::Dotted, colour: 1 };
        let level = Level { name: "floor".into(), y: 0.5, colour: None };
        let spans = [
            Span { name: "one".into(), start: 0.0, end: 50.0 },
            Span { name: "two".into(), start: 50.0, end: 100.0 },
        ];
        Chart {
            title: "loss",
            x_label: "step",
            y_label: "nats",
            size: (600.0, 300.0),
            scale: Scale::Log,
            series: vec![series],
            levels: vec![level],
            whiskers: vec![Whisker { x: 100.0, range: (0.8, 1.2), colour: 1 }],
            spans: &spans,
        }
        .to_svg()
    }

    #[test]
    fn a_chart_holds_what_was_asked_for() {
        let svg = chart(vec![(0.0, 4.0), (50.0, f64::NAN), (100.0, 1.0)]).unwrap();
        for part in
            ["floor 0.5", "a&lt;b", "two", "nats", "step", "whisker c1", "aria-label=\"loss\""]
        {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2, "the value that is not a number is left out");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert_eq!(chart(vec![]), None);
        assert_eq!(chart(vec![(1.0, f64::NAN)]), None);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let check = |range, n, expected: &[f64]| assert_eq!(linear_ticks(range, n), expected);
        check((0.0, 10.0), 5.0, &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        check((3.0, 3.0), 5.0, &[3.0]);
        assert_eq!(log_ticks((0.4, 8.0), 5.0), [0.5, 1.0, 2.0, 5.0]);
        assert_eq!(log_ticks((11.0, 19.0), 4.0), [12.0, 14.0, 16.0, 18.0]);
    }

    #[test]
    fn numbers_are_short() {
        let check = |value, expected: &str| assert_eq!(short(value), expected);
        check(0.0, "0");
        check(0.0003, "3e-4");
        check(0.125, "0.125");
        check(2.0, "2");
        check(14.25, "14.2");
        check(1500.0, "1500");
        check(64_000.0, "64 k");
        check(1_250_000.0, "1.25 M");
    }

    #[test]
    fn labels_do_not_overlap() {
        let check = |heights: &[f64], expected: &[f64]| assert_eq!(spread(heights, 10.0), expected);
        check(&[10.0, 50.0], &[10.0, 50.0]);
        check(&[48.0, 50.0, 45.0], &[40.0, 50.0, 30.0]);
        check(&[], &[]);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[5_000].1 = 9.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MAX_POINTS && thin.contains(&(5_000.0, 9.0)));
    }

    #[test]
    fn smoothing_is_centred() {
        let check = |window, expected: &[f64]| {
            let points = [1.0, 2.0, 6.0, f64::NAN, 4.0, 3.0].map(|y| (0.0, y));
            let means: Vec<f64> = smoothed(&points, window).iter().map(|point| point.1).collect();
            assert_eq!(means, expected);
        };
        check(1, &[1.0, 2.0, 6.0, 4.0, 3.0]);
        check(3, &[1.0, 3.0, 4.0, 13.0 / 3.0, 3.5]);
        check(99, &[1.0, 3.0, 3.2, 3.2, 3.2]);
    }
}
