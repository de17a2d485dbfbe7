//! What a judge's reply says.

use crate::python::regex::{Found, Pattern};

/// The scale of ratings.
const SCALE: std::ops::RangeInclusive<f64> = 0.0..=10.0;

/// Which of two answers a judge prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither.
    Tie,
}

/// The rating of a reply: a number in two brackets, or else in one. FastChat takes any number; one
/// off the scale is none here.
pub fn rating(reply: &str) -> Option<f64> {
    let number = [r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]"].iter().find_map(|pattern| {
        let found = Pattern::new(pattern).ok()?.find_all(reply).ok()?;
        match found.first() {
            Some(Found::Text(number)) => number.parse().ok(),
            _ => None,
        }
    });
    number.filter(|number| SCALE.contains(number))
}

/// The verdict of a reply, in the order in which FastChat looks for it.
pub fn verdict(reply: &str) -> Option<Verdict> {
    let marks = [("[[A]]", Verdict::First), ("[[B]]", Verdict::Second), ("[[C]]", Verdict::Tie)];
    marks.into_iter().find(|(mark, _)| reply.contains(mark)).map(|(_, verdict)| verdict)
}

/// What two verdicts come to when the answers changed places for the second: a preference counts
/// only when both agree.
pub fn agreed(first: Option<Verdict>, swapped: Option<Verdict>) -> Option<Verdict> {
    let swapped = swapped.map(|verdict| match verdict {
        Verdict::First => Verdict::Second,
        Verdict::Second => Verdict::First,
        Verdict::Tie => Verdict::Tie,
    });
    match (first, swapped) {
        (Some(a), Some(b)) => Some(if a == b { a } else { Verdict::Tie }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_fastchat_reads_them() {
        assert_eq!(rating("Good. Rating: [[7.5]]"), Some(7.5));
        assert_eq!(rating("Rating: [8], not [[x]]"), Some(8.0));
        assert_eq!(rating("Rating: 8"), None);
        assert_eq!(rating("Rating: [[100]]"), None);
        assert_eq!(verdict("so [[B]]"), Some(Verdict::Second));
        assert_eq!(verdict("[[C]] or [[A]]"), Some(Verdict::First));
        assert_eq!(verdict("B"), None);
        assert_eq!(agreed(verdict("[[A]]"), verdict("[[B]]")), Some(Verdict::First));
        assert_eq!(agreed(verdict("[[A]]"), verdict("[[A]]")), Some(Verdict::Tie));
        assert_eq!(agreed(None, verdict("[[A]]")), None);
    }
}
