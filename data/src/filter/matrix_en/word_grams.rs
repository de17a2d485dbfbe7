//! Repeated runs of words, as RefinedWeb meant its rules: for the corrected mode.

use rustc_hash::FxHashMap;

use super::{Outcome, share_or_0};
use crate::python::split_words;

/// The words of a text and its runs of `n` words for a growing `n`.
pub(super) struct WordGrams {
    n_chars: Vec<u64>,
    /// The word at each place.
    words: Vec<u32>,
    /// The run of `n` words that begins at each place: equal runs have equal numbers.
    grams: Vec<u32>,
    n: usize,
}

impl WordGrams {
    pub(super) fn of(text: &str) -> Self {
        let mut numbers = FxHashMap::default();
        let mut words = Vec::new();
        let mut n_chars = Vec::new();
        for word in split_words(text) {
            let next = numbers.len() as u32;
            words.push(*numbers.entry(word).or_insert(next));
            n_chars.push(word.chars().count() as u64);
        }
        Self { n_chars, grams: words.clone(), words, n: 1 }
    }

    /// Goes on to longer runs; the rules ask in the order of their lengths, and from the start again if not.
    fn lengthen(&mut self, n: usize) {
        if n < self.n {
            self.grams.clone_from(&self.words);
            self.n = 1;
        }
        while self.n < n {
            let mut numbers = FxHashMap::default();
            let last_words = self.words.iter().skip(self.n);
            for (gram, last) in self.grams.iter_mut().zip(last_words) {
                let next = numbers.len() as u32;
                *gram = *numbers.entry((*gram, *last)).or_insert(next);
            }
            self.grams.truncate(self.words.len().saturating_sub(self.n));
            self.n += 1;
        }
    }

    /// How often each run occurs.
    fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.grams.iter().max().map_or(0, |&max| max as usize + 1)];
        self.grams.iter().for_each(|&gram| counts[gram as usize] += 1);
        counts
    }

    /// Share of the characters in the most frequent run of `n` words, the first of several; 0 if none repeats.
    pub(super) fn top_share(&mut self, n: usize) -> Outcome {
        self.lengthen(n);
        let counts = self.counts();
        let count = |place: &usize| counts[self.grams[*place] as usize];
        let top = (0..self.grams.len()).rev().max_by_key(count).filter(|place| count(place) > 1);
        let n_top =
            top.map_or(0, |top| count(&top) * self.n_chars[top..top + n].iter().sum::<u64>());
        share_or_0(n_top, self.n_chars.iter().sum())
    }

    /// Share of the characters in runs of `n` words that occur more than once.
    pub(super) fn repeated_share(&mut self, n: usize) -> Outcome {
        self.lengthen(n);
        let counts = self.counts();
        let (mut n_repeated, mut end) = (0, 0);
        for (place, &gram) in self.grams.iter().enumerate() {
            if counts[gram as usize] > 1 {
                n_repeated += self.n_chars[end.max(place)..place + n].iter().sum::<u64>();
                end = place + n;
            }
        }
        share_or_0(n_repeated, self.n_chars.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Outcome, expected: f64) {
        assert!(
            matches!(found, Outcome::Number(value) if value == expected),
            "expected {expected}"
        );
    }

    #[test]
    fn shares_are_of_the_characters_of_words() {
        let mut grams = WordGrams::of("a bb a bb a bb ccc");
        check(grams.top_share(2), 9.0 / 12.0);
        check(grams.top_share(3), 8.0 / 12.0);
        check(grams.repeated_share(5), 0.0);
        check(grams.repeated_share(3), 9.0 / 12.0);
        check(WordGrams::of("a b c").top_share(2), 0.0);
        check(WordGrams::of("").top_share(2), 0.0);
        check(WordGrams::of("a").repeated_share(9), 0.0);
    }
}
