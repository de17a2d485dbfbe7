//! Lengths of documents, kept beside dropped, as bars in one inline SVG.

use neo_data::pipeline::Lengths;

use crate::report::{
    chart::short,
    svg::{line, rect, text},
};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 8.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 36.0;

/// The picture, or nothing when there is no document.
pub(super) fn draw(kept: &Lengths, dropped: &Lengths) -> Option<String> {
    let at = |lengths: &Lengths, bucket: usize| lengths.buckets().get(bucket).copied().unwrap_or(0);
    let both = |bucket: usize| (at(kept, bucket), at(dropped, bucket));
    let n_buckets = kept.buckets().len().max(dropped.buckets().len());
    let first = (0..n_buckets).find(|&bucket| both(bucket) != (0, 0))?;
    let most = (first..n_buckets).map(|bucket| both(bucket).0.max(both(bucket).1)).max()?;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"lengths of kept and dropped documents\">"
    );
    let floor = HEIGHT - BOTTOM;
    let slot = (WIDTH - 2.0 * LEFT) / (n_buckets - first).max(8) as f64;
    for bucket in first..n_buckets {
        let x = LEFT + slot * (bucket - first) as f64;
        let (kept, dropped) = both(bucket);
        for (n, class, place) in [(kept, "c0", 0.06), (dropped, "c4", 0.5)] {
            let height = (floor - TOP) * n as f64 / most as f64;
            rect(&mut svg, class, (x + place * slot, floor - height), (0.44 * slot, height));
        }
        let total = kept.max(dropped);
        let top = floor - (floor - TOP) * total as f64 / most as f64 - 4.0;
        if total > 0 {
            text(&mut svg, "middle", (x + slot / 2.0, top), &short(total as f64));
        }
        text(&mut svg, "middle", (x + slot / 2.0, floor + 15.0), &least(bucket));
    }
    line(&mut svg, "axis", (LEFT, floor), (WIDTH - LEFT, floor));
    text(&mut svg, "label middle", (WIDTH / 2.0, HEIGHT - 4.0), "characters, from this many on");
    svg += "</svg>";
    Some(svg)
}

/// Where a bucket begins, in powers of two as they are spoken of.
fn least(bucket: usize) -> String {
    let least = Lengths::least_chars(bucket);
    match least {
        0..1024 => least.to_string(),
        _ if least < 1 << 20 => format!("{}k", least >> 10),
        _ => format!("{}M", least >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_bars_of_both_kinds() {
        let (mut kept, mut dropped) = (Lengths::default(), Lengths::default());
        [100, 100, 3000].into_iter().for_each(|n| kept.add(n));
        dropped.add(50);
        let svg = draw(&kept, &dropped).unwrap();
        for part in ["class=\"c0\"", "class=\"c4\"", ">64</text>", ">2k</text>", ">2</text>"] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
        assert_eq!(draw(&Lengths::default(), &Lengths::default()), None);
    }
}
