//! chrF: the F score, recall counting twice, of n-grams of up to six characters without white space;
//! chrF++ counts words and pairs of words as well.

use std::hash::Hash;

use super::tally;
use neo_data::python::{is_punctuation, split_words};

/// Characters of the longest n-gram.
const CHAR_ORDER: usize = 6;
/// Words of the longest n-gram of chrF++.
pub(super) const WORD_ORDER: usize = 2;
/// How much more recall counts than precision, squared.
const FACTOR: f64 = 4.0;

/// For each length n-grams of the answer, of the right text, and of both.
pub(super) fn counts(gold: &str, answer: &str, word_order: usize) -> Vec<u64> {
    let mut counts = Vec::new();
    let [gold_chars, answer_chars] = [gold, answer].map(characters);
    for n in 1..=CHAR_ORDER {
        counts.extend(matches(&gold_chars, &answer_chars, n));
    }
    let [gold_words, answer_words] = [gold, answer].map(words);
    for n in 1..=word_order {
        counts.extend(matches(&gold_words, &answer_words, n));
    }
    counts
}

/// The score of added counts.
pub(super) fn score(sums: &[u64]) -> f64 {
    let (mut precision, mut recall, mut n_lengths) = (0.0, 0.0, 0.0);
    for counts in sums.chunks_exact(3) {
        let [answer, gold, both] = [counts[0] as f64, counts[1] as f64, counts[2] as f64];
        if answer > 0.0 && gold > 0.0 {
            precision += both / answer;
            recall += both / gold;
            n_lengths += 1.0;
        }
    }
    if n_lengths == 0.0 || precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / n_lengths, recall / n_lengths);
    100.0 * ((1.0 + FACTOR) * precision * recall / (FACTOR * precision + recall))
}

fn matches<T: Hash + Eq>(gold: &[T], answer: &[T], n: usize) -> [u64; 3] {
    let wanted = tally(gold.windows(n));
    let found = tally(answer.windows(n));
    let n_wanted: u64 = wanted.values().sum();
    let n_found: u64 = found.values().sum();
    let both =
        found.iter().map(|(ngram, &count)| wanted.get(ngram).map_or(0, |&most| count.min(most)));
    // What the right text is too short for is not held against the answer.
    [if n_wanted == 0 { 0 } else { n_found }, n_wanted, both.sum()]
}

fn characters(text: &str) -> Vec<char> {
    split_words(text).flat_map(str::chars).collect()
}

/// Words, with the punctuation mark at the end or else the one at the beginning apart.
fn words(text: &str) -> Vec<&str> {
    split_words(text).flat_map(parts).filter(|part| !part.is_empty()).collect()
}

fn parts(word: &str) -> [&str; 2] {
    let is_mark = |c: &char| is_punctuation(*c);
    let (first, last) = (word.chars().next(), word.chars().last());
    match (first.filter(is_mark), last.filter(is_mark)) {
        _ if word.chars().nth(1).is_none() => [word, ""],
        (_, Some(_)) => word.split_at(word.len() - 1).into(),
        (Some(_), None) => word.split_at(1).into(),
        (None, None) => [word, ""],
    }
}
