//! Arithmetic sheets: three small values are given names, then used in sums with right results.
//!
//! A result depends on both operands, and the operands stand further up; the last line repeats the
//! first. Differences are taken so that none is negative.

use super::choice::Chooser;

const NAMES: [[char; 3]; 8] = [
    ['a', 'b', 'c'],
    ['d', 'e', 'f'],
    ['g', 'h', 'i'],
    ['k', 'l', 'm'],
    ['n', 'o', 'p'],
    ['q', 'r', 's'],
    ['t', 'u', 'v'],
    ['x', 'y', 'z'],
];

#[derive(Clone, Copy)]
enum Line {
    Sum,
    Difference,
    Double,
    Compare,
    Largest,
    Count,
}

struct Sheet {
    names: [char; 3],
    values: [usize; 3],
}

/// One sheet of about 150 to 350 characters.
pub(super) fn document(chooser: &mut Chooser) -> String {
    let sheet =
        Sheet { names: chooser.pick(&NAMES), values: [(); 3].map(|()| 1 + chooser.below(9)) };
    let mut lines = vec![format!("Let {}.", sheet.stated())];
    while lines.len() < 5 || (lines.len() < 12 && chooser.chance(0.75)) {
        lines.push(sheet.line(chooser));
    }
    lines.push(format!("So {}.", sheet.stated()));
    lines.join("\n")
}

impl Sheet {
    fn stated(&self) -> String {
        let [a, b, c] = self.names;
        let [x, y, z] = self.values;
        format!("{a} = {x}, {b} = {y} and {c} = {z}")
    }

    fn line(&self, chooser: &mut Chooser) -> String {
        let kind = chooser.weighted(&[
            (Line::Sum, 4.0),
            (Line::Difference, 2.0),
            (Line::Double, 1.5),
            (Line::Compare, 1.5),
            (Line::Largest, 0.5),
            (Line::Count, 1.0),
        ]);
        match kind {
            Line::Sum => {
                let (a, x) = self.named(chooser.below(3));
                let (b, y) = self.named(chooser.below(3));
                format!("{a} plus {b} is {x} + {y} = {}.", x + y)
            }
            Line::Difference => {
                let (first, second) = chooser.pick(&[(0, 1), (0, 2), (1, 2)]);
                let ordered = self.values[first] >= self.values[second];
                let (high, low) = if ordered { (first, second) } else { (second, first) };
                let ((a, x), (b, y)) = (self.named(high), self.named(low));
                format!("{a} minus {b} is {x} - {y} = {}.", x - y)
            }
            Line::Double => {
                let (a, x) = self.named(chooser.below(3));
                format!("Twice {a} is 2 * {x} = {}.", 2 * x)
            }
            Line::Compare => {
                let (first, second) =
                    chooser.pick(&[(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
                let ((a, x), (b, y)) = (self.named(first), self.named(second));
                let answer = if x > y { "Yes" } else { "No" };
                format!("Is {a} larger than {b}? {answer}, {x} and {y}.")
            }
            Line::Largest => {
                let largest = self.values.iter().copied().max().unwrap_or_default();
                format!("The largest of the three is {largest}.")
            }
            Line::Count => {
                let (a, x) = self.named(chooser.below(3));
                let step = 1 + chooser.below(5);
                let terms: Vec<String> = (0..5).map(|n| (x + n * step).to_string()).collect();
                format!("From {a} in steps of {step}: {}.", terms.join(", "))
            }
        }
    }

    fn named(&self, idx: usize) -> (char, usize) {
        (self.names[idx], self.values[idx])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_line_is_as_frequent_as_its_nats_say() {
        let sheet = Sheet { names: NAMES[0], values: [3, 8, 5] };
        let n = 60_000;
        let mut seen: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for idx in 0..n {
            let mut chooser = Chooser::new(1, "line", idx);
            let line = sheet.line(&mut chooser);
            seen.entry(line).or_insert((chooser.nats(), 0)).1 += 1;
        }
        for (line, (nats, count)) in &seen {
            let frequency = *count as f64 / n as f64;
            assert!((frequency.ln() + nats).abs() < 0.15, "{line}: {frequency} {nats}");
        }
        let total: f64 = seen.values().map(|(nats, _)| (-nats).exp()).sum();
        assert!((total - 1.0).abs() < 1e-9, "probabilities add up to {total}");
    }

    #[test]
    fn results_are_right() {
        let mut n_sums = 0;
        for idx in 0..50 {
            let text = document(&mut Chooser::new(5, "math", idx));
            for line in text.lines().filter(|line| line.contains(" plus ")) {
                let sum = line.split(" is ").nth(1).unwrap().trim_end_matches('.');
                let numbers: Vec<usize> =
                    sum.split([' ', '+', '=']).filter_map(|word| word.parse().ok()).collect();
                assert_eq!(numbers[0] + numbers[1], numbers[2], "{line}");
                n_sums += 1;
            }
        }
        assert!(n_sums > 50);
    }

    #[test]
    fn the_last_line_repeats_the_first() {
        let text = document(&mut Chooser::new(6, "math", 0));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].replace("Let ", "So "), lines[lines.len() - 1]);
    }
}
