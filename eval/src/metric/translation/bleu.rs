//! BLEU: precisions of n-grams up to four words, smoothed as mteval does, times a penalty for being
//! short; words as mteval-v13a cuts them.

use std::sync::LazyLock;

use super::tally;
use crate::python::regex::Pattern;
use crate::python::rstrip;
use neo_data::python::split_words;

/// Words of the longest n-gram.
const ORDER: usize = 4;

/// Where mteval-v13a puts spaces, in this order.
static SPACED: LazyLock<[(Pattern, &str); 4]> = LazyLock::new(|| {
    let pattern = |source| Pattern::new(source).expect("a valid pattern");
    [
        // Punctuation but for full stop, comma, dash and apostrophe.
        (pattern(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
        // Full stop and comma unless a digit stands before, or behind.
        (pattern(r"([^0-9])([\.,])"), r"\1 \2 "),
        (pattern(r"([\.,])([^0-9])"), r" \1 \2"),
        // A dash behind a digit.
        (pattern(r"([0-9])(-)"), r"\1 \2 "),
    ]
});

/// Words of the answer and of the right text, then right and all n-grams of each length.
pub(super) fn counts(gold: &str, answer: &str) -> Vec<u64> {
    let (gold, answer) = (words(gold), words(answer));
    let lengths = [answer.len() as u64, gold.len() as u64];
    let per_order = |n: usize| {
        let wanted = tally(gold.windows(n));
        let found = tally(answer.windows(n));
        let right = found
            .iter()
            .map(|(ngram, &count)| wanted.get(ngram).map_or(0, |&most| count.min(most)));
        (right.sum::<u64>(), found.values().sum::<u64>())
    };
    let (right, all): (Vec<u64>, Vec<u64>) = (1..=ORDER).map(per_order).unzip();
    lengths.into_iter().chain(right).chain(all).collect()
}

/// The score of added counts.
pub(super) fn score(sums: &[u64]) -> f64 {
    let (lengths, ngrams) = sums.split_at(2);
    let (right, all) = ngrams.split_at(ORDER);
    if right.iter().all(|&count| count == 0) {
        return 0.0;
    }
    let [answer, gold] = [lengths[0] as f64, lengths[1] as f64];
    let penalty = if answer < gold { (1.0 - gold / answer).exp() } else { 1.0 };
    let mut precisions = [0.0; ORDER];
    let mut smoothing = 1.0;
    for ((precision, &right), &all) in precisions.iter_mut().zip(right).zip(all) {
        match (right, all) {
            (_, 0) => break,
            (0, all) => {
                smoothing *= 2.0;
                *precision = 100.0 / (smoothing * all as f64);
            }
            (right, all) => *precision = 100.0 * right as f64 / all as f64,
        }
    }
    // A length without n-grams makes the score 0.
    let logs = precisions.iter().map(|precision: &f64| precision.ln());
    penalty * (logs.sum::<f64>() / ORDER as f64).exp()
}

fn words(text: &str) -> Vec<String> {
    let mut text = rstrip(text).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    for (entity, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
        text = text.replace(entity, character);
    }
    let spaced = SPACED.iter().fold(format!(" {text} "), |text, (pattern, replacement)| {
        pattern.replace(&text, replacement, 0).expect("a pattern without lookaround")
    });
    split_words(&spaced).map(str::to_owned).collect()
}
