//! A radar chart as inline SVG: percentages on axes around a centre, one outline for each of those compared.
//!
//! Colours and fonts come from the page's style sheet through class names; this file knows geometry.

use std::f64::consts::TAU;
use std::fmt::Write;

use super::svg::{circle, escaped, line, text};

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 440.0;
const RADIUS: f64 = 165.0;
const CENTRE: (f64, f64) = (WIDTH / 2.0, 215.0);
/// Distance of an axis's name from the outer ring.
const NAME_DISTANCE: f64 = 16.0;
/// Percentages at which a ring is drawn.
const RINGS: [f64; 4] = [25.0, 50.0, 75.0, 100.0];

/// One of those compared.
pub(super) struct Outline {
    /// What it is, for the legend.
    pub(super) name: String,
    /// Percentages by axis; an axis without one interrupts the outline.
    pub(super) values: Vec<Option<f64>>,
    /// Class of the style sheet: `c0` to `c5`, or `level` for a dashed line.
    pub(super) class: String,
}

/// The picture, or nothing when there are fewer than three axes.
pub(super) fn draw(title: &str, axes: &[&str], outlines: &[Outline]) -> Option<String> {
    if axes.len() < 3 {
        return None;
    }
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escaped(title)
    );
    draw_axes(axes, &mut svg);
    for outline in outlines {
        draw_outline(outline, axes.len(), &mut svg);
    }
    draw_legend(outlines, &mut svg);
    svg += "</svg>";
    Some(svg)
}

/// Where a share of the radius lies on an axis; the first points up, the others follow clockwise.
fn place(axis: usize, n_axes: usize, share: f64) -> (f64, f64) {
    let angle = TAU * axis as f64 / n_axes as f64;
    let reach = RADIUS * share;
    (CENTRE.0 + reach * angle.sin(), CENTRE.1 - reach * angle.cos())
}

fn draw_axes(axes: &[&str], svg: &mut String) {
    for ring in RINGS {
        let corners = (0..axes.len()).map(|axis| place(axis, axes.len(), ring / 100.0));
        let _ = write!(svg, "<path class=\"ring\" d=\"{}Z\"/>", path(corners));
    }
    for (axis, name) in axes.iter().enumerate() {
        line(svg, "grid", CENTRE, place(axis, axes.len(), 1.0));
        let (x, y) = place(axis, axes.len(), 1.0 + NAME_DISTANCE / RADIUS);
        let side = match x - CENTRE.0 {
            side if side > 1.0 => "legend",
            side if side < -1.0 => "legend end",
            _ => "legend middle",
        };
        text(svg, side, (x, y + 4.0), name);
    }
    // The outermost would touch the name of the first axis.
    for ring in &RINGS[..RINGS.len() - 1] {
        let (x, y) = place(0, axes.len(), ring / 100.0);
        text(svg, "tick", (x + 4.0, y - 3.0), &format!("{ring}"));
    }
}

fn draw_outline(outline: &Outline, n_axes: usize, svg: &mut String) {
    let Outline { values, class, .. } = outline;
    let at = |axis: usize| {
        values[axis].map(|value| place(axis, n_axes, (value / 100.0).clamp(0.0, 1.0)))
    };
    // Sides between neighbours that both have a value.
    let sides = (0..n_axes).filter_map(|axis| at(axis).zip(at((axis + 1) % n_axes)));
    let sides: String = sides.map(|(from, to)| path([from, to].into_iter())).collect();
    let _ = write!(svg, "<path class=\"{}\" d=\"{sides}\"/>", stroke(class));
    for centre in (0..n_axes).filter_map(at).filter(|_| class != "level") {
        circle(svg, class, centre, 2.8);
    }
}

fn draw_legend(outlines: &[Outline], svg: &mut String) {
    for (row, outline) in outlines.iter().enumerate() {
        let y = HEIGHT - 16.0 * (outlines.len() - row) as f64 + 8.0;
        line(svg, &stroke(&outline.class), (6.0, y - 4.0), (28.0, y - 4.0));
        text(svg, "legend", (34.0, y), &outline.name);
    }
}

fn stroke(class: &str) -> String {
    if class == "level" { class.to_owned() } else { format!("curve {class}") }
}

fn path(mut points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    if let Some((x, y)) = points.next() {
        let _ = write!(path, "M{x:.1} {y:.1}");
    }
    for (x, y) in points {
        let _ = write!(path, "L{x:.1} {y:.1}");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_go_round_from_the_top() {
        assert_eq!(place(0, 4, 1.0), (CENTRE.0, CENTRE.1 - RADIUS));
        assert!((place(1, 4, 0.5).0 - CENTRE.0 - RADIUS / 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_missing_value_interrupts_the_outline() {
        let outline = |values: [Option<f64>; 4]| {
            let outline =
                Outline { name: "a<b".into(), values: values.to_vec(), class: "c1".into() };
            draw("shares", &["A", "B", "C", "D"], &[outline]).unwrap()
        };
        let whole = outline([Some(10.0), Some(20.0), Some(130.0), Some(40.0)]);
        let parted = outline([Some(10.0), None, Some(30.0), Some(40.0)]);
        assert_eq!((whole.matches("<circle").count(), parted.matches("<circle").count()), (4, 3));
        let sides = |svg: &str| svg.split("curve c1").nth(1).unwrap().matches('M').count();
        assert_eq!((sides(&whole), sides(&parted)), (4, 2));
        assert!(whole.contains("a&lt;b") && !whole.contains("NaN"), "{whole}");
        assert_eq!(draw("few", &["A", "B"], &[]), None);
    }
}
