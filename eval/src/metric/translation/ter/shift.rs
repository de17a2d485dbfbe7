//! The shift of a run of words that brings an answer closest to the right text.

use super::MAX_CANDIDATES;
use super::alignment::Alignment;

/// Words of the longest run that is shifted.
const MAX_LENGTH: usize = 10;
/// Words between the places of a run in both texts, at most.
const MAX_DISTANCE: usize = 50;

/// A run of words that occurs in both texts.
struct Run {
    in_answer: usize,
    in_gold: usize,
    length: usize,
}

/// Edits that the best shift saves, and the answer after it, if any can be tried. The highest saving
/// wins, then the longest run, the earliest run and the earliest place.
pub(super) fn best_shift<'a>(
    answer: &[&'a str],
    gold: &[&str],
    n_tried: &mut usize,
) -> Option<(isize, Vec<&'a str>)> {
    let alignment = Alignment::new(answer, gold);
    let mut best = None;
    for run in runs(answer, gold).into_iter().filter(|run| is_sensible(run, &alignment)) {
        for target in targets(&run, &alignment) {
            let shifted = shifted(answer, &run, target);
            let after = Alignment::new(&shifted, gold).n_edits;
            let gain = alignment.n_edits as isize - after as isize;
            let order = |n: usize| std::cmp::Reverse(n);
            let candidate = (gain, run.length, order(run.in_answer), order(target), shifted);
            *n_tried += 1;
            if best.as_ref().is_none_or(|best| candidate > *best) {
                best = Some(candidate);
            }
        }
        if *n_tried >= MAX_CANDIDATES {
            break;
        }
    }
    best.map(|(gain, .., shifted)| (gain, shifted))
}

/// Runs of words that both texts have, with all their beginnings.
fn runs(answer: &[&str], gold: &[&str]) -> Vec<Run> {
    let mut found = Vec::new();
    for in_answer in 0..answer.len() {
        for in_gold in 0..gold.len() {
            if in_gold.abs_diff(in_answer) > MAX_DISTANCE {
                continue;
            }
            let both = answer[in_answer..].iter().zip(&gold[in_gold..]);
            let equal = both.take(MAX_LENGTH).take_while(|(a, b)| a == b).count();
            found.extend((1..=equal).map(|length| Run { in_answer, in_gold, length }));
        }
    }
    found
}

/// Whether both places of a run are wrong, and it is not its own place.
fn is_sensible(run: &Run, alignment: &Alignment) -> bool {
    let Run { in_answer, in_gold, length } = *run;
    let has_error = |errors: &[bool], start: usize| errors[start..start + length].contains(&true);
    // Counted from 1, so that nothing stands before the first word.
    let reached = alignment.reached[in_gold];
    has_error(&alignment.answer_errors, in_answer)
        && has_error(&alignment.gold_errors, in_gold)
        && !(in_answer < reached && reached <= in_answer + length)
}

/// Places in the answer before which the run may be put.
fn targets(run: &Run, alignment: &Alignment) -> Vec<usize> {
    let before = run.in_gold.checked_sub(1).map_or(0, |place| alignment.reached[place]);
    let inside = alignment.reached[run.in_gold..].iter().take(run.length).copied();
    let mut targets: Vec<usize> = std::iter::once(before).chain(inside).collect();
    targets.dedup();
    targets
}

/// The answer with a run taken out and put before the word at `target`.
fn shifted<'a>(answer: &[&'a str], run: &Run, target: usize) -> Vec<&'a str> {
    let Run { in_answer: start, length, .. } = *run;
    let (words, end) = (answer, start + length);
    let inside = (length + target).min(words.len());
    let parts: [&[&str]; 4] = if target < start {
        [&words[..target], &words[start..end], &words[target..start], &words[end..]]
    } else if target > end {
        [&words[..start], &words[end..target], &words[start..end], &words[target..]]
    } else {
        [&words[..start], &words[end..inside], &words[start..end], &words[inside..]]
    };
    parts.concat()
}
