//! The plot of `neo tokenizer compare`: characters per token, a pair of bars for each language.

use std::fmt::Write as _;

use super::compare::Row;

/// Characters per token that MAP-Neo's paper reports for its tokenizer (map-neo.md 2.3).
pub(super) const PAPER: [(&str, f64); 2] = [("zh", 1.577), ("en", 3.311)];

const HEIGHT: f64 = 320.0;
const BAR_WIDTH: f64 = 56.0;
/// Distance from one pair of bars to the next.
const PAIR_WIDTH: f64 = 170.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 70.0;
const COLORS: [&str; 2] = ["#3b6ea5", "#d08a2e"];

/// One SVG document.
pub(super) fn svg(names: &[String; 2], rows: &[Row]) -> String {
    let scale = Scale::of(rows);
    let (width, bottom) = (LEFT + PAIR_WIDTH * rows.len() as f64 + 170.0, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">characters per token</text>\n",
        bottom + 40.0
    );
    legend(&mut svg, names);
    axis(&mut svg, &scale, width);
    for (idx, row) in rows.iter().enumerate() {
        pair(&mut svg, &scale, LEFT + 30.0 + PAIR_WIDTH * idx as f64, row);
    }
    for (language, chars_per_token) in PAPER {
        let y = scale.y(chars_per_token);
        line(&mut svg, width, y, "#a33", "stroke-dasharray=\"6 4\"");
        text(
            &mut svg,
            width - 12.0,
            y - 5.0,
            "end",
            &format!("paper, {language}: {chars_per_token}"),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// From characters per token to pixels.
struct Scale {
    highest: f64,
}

impl Scale {
    /// Up to the next whole number above all bars and lines.
    fn of(rows: &[Row]) -> Self {
        let bars = rows.iter().flat_map(|row| &row.measured).map(|sums| sums.chars_per_token());
        let values = bars.chain(PAPER.map(|(_, value)| value));
        Self { highest: values.fold(1.0, f64::max).ceil() }
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - value / self.highest)
    }
}

fn legend(svg: &mut String, names: &[String; 2]) {
    for (idx, (name, color)) in names.iter().zip(COLORS).enumerate() {
        let x = LEFT + 260.0 * idx as f64;
        rectangle(svg, [x, 38.0, 12.0, 12.0], color);
        text(svg, x + 18.0, 49.0, "start", name);
    }
}

fn axis(svg: &mut String, scale: &Scale, width: f64) {
    for value in 0..=scale.highest as u32 {
        let y = scale.y(f64::from(value));
        line(svg, width, y, "#ddd", "");
        text(svg, LEFT - 8.0, y + 4.0, "end", &value.to_string());
    }
}

fn pair(svg: &mut String, scale: &Scale, x: f64, row: &Row) {
    for (idx, (sums, color)) in row.measured.iter().zip(COLORS).enumerate() {
        let value = sums.chars_per_token();
        let (x, y) = (x + BAR_WIDTH * idx as f64, scale.y(value));
        rectangle(svg, [x, y, BAR_WIDTH - 4.0, TOP + HEIGHT - y], color);
        text(svg, x + BAR_WIDTH / 2.0 - 2.0, y - 5.0, "middle", &format!("{value:.3}"));
    }
    text(svg, x + BAR_WIDTH - 2.0, TOP + HEIGHT + 20.0, "middle", row.language);
}

// Writing into a String cannot fail.

fn rectangle(svg: &mut String, [x, y, width, height]: [f64; 4], color: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
    );
}

fn line(svg: &mut String, width: f64, y: f64, color: &str, style: &str) {
    let right = width - 12.0;
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" {style}/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

#[cfg(test)]
mod tests {
    use neo_data::tokenizer::Compression;

    use super::*;

    #[test]
    fn bars_lines_and_names_are_drawn() {
        let sums = |chars| Compression { chars, tokens: 2, ..Compression::default() };
        let rows = [Row { language: "en", measured: [sums(9), sums(6)] }];
        let svg = svg(&["a<b".to_owned(), "c".to_owned()], &rows);
        for part in ["a&lt;b", ">4.500<", ">3.000<", ">en<", "paper, zh: 1.577", "paper, en: 3.311"]
        {
            assert!(svg.contains(part), "no `{part}` in {svg}");
        }
        assert_eq!(svg.matches("stroke-dasharray").count(), 2);
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 2);
    }
}
