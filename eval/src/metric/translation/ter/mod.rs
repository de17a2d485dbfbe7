//! TER: the insertions, deletions, substitutions and shifts of words that make the right text of an
//! answer, over its words. Shifts are found greedily, in Tercom's order of preference.

mod alignment;
mod shift;

use self::alignment::Alignment;
use self::shift::best_shift;
use neo_data::python::{lower, split_words};

/// Shifts that are tried for one text, at most.
const MAX_CANDIDATES: usize = 1000;

/// Edits, and words of the right text.
pub(super) fn counts(gold: &str, answer: &str) -> Vec<u64> {
    let [gold, answer] = [gold, answer].map(lower);
    let gold: Vec<&str> = split_words(&gold).collect();
    let answer: Vec<&str> = split_words(&answer).collect();
    vec![edits(&answer, &gold) as u64, gold.len() as u64]
}

/// The score of added counts.
pub(super) fn score(sums: &[u64]) -> f64 {
    match (sums[0], sums[1]) {
        (0, 0) => 0.0,
        (_, 0) => 100.0,
        (edits, words) => 100.0 * (edits as f64 / words as f64),
    }
}

fn edits(answer: &[&str], gold: &[&str]) -> usize {
    if gold.is_empty() {
        return answer.len();
    }
    let mut words = answer.to_vec();
    let (mut n_shifts, mut n_tried) = (0, 0);
    while let Some((gain, shifted)) = best_shift(&words, gold, &mut n_tried) {
        if n_tried >= MAX_CANDIDATES || gain <= 0 {
            break;
        }
        n_shifts += 1;
        words = shifted;
    }
    n_shifts + Alignment::new(&words, gold).n_edits
}
