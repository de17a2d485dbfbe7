//! The sample that a vocabulary is trained on: how often each word stands in it.
//!
//! Sources are weighted and memory is bounded while texts stream by. A line counts as often as its
//! source's weight says, its fraction drawn by lot. When the different words outgrow the memory, the
//! sample is halved: every count is, words that fall to none leave, and later lines count half as
//! often. So memory depends on the setting and not on the corpus.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::super::sentence_piece::MARKER;

/// Bytes of memory that a word takes beside its text, here and while pairs are merged.
const WORD_BYTES: usize = 64;
/// Bytes that each of its characters takes while pairs are merged, measured on English and Chinese.
const CHARACTER_BYTES: usize = 32;

/// Words with their counts, as texts come by.
pub(super) struct WordCounts<'s> {
    counts: FxHashMap<Box<str>, u64>,
    /// Memory that the words take, about.
    n_bytes: usize,
    max_bytes: usize,
    weights: &'s BTreeMap<String, f64>,
    /// What a line counts now, times its source's weight.
    share: f64,
    seed: u64,
    /// Numbers drawn so far.
    n_draws: u64,
    word: String,
}

impl<'s> WordCounts<'s> {
    /// Nothing yet.
    pub(super) fn new(weights: &'s BTreeMap<String, f64>, max_bytes: usize, seed: u64) -> Self {
        Self {
            counts: FxHashMap::default(),
            n_bytes: 0,
            max_bytes,
            weights,
            share: 1.0,
            seed,
            n_draws: 0,
            word: String::new(),
        }
    }

    /// Counts the words of a text. A word begins with its U+2581; a run of spaces gives words of
    /// U+2581 alone. No line is too long.
    pub(super) fn add(&mut self, source: &str, text: &str) {
        let weight = self.weights.get(source).copied().unwrap_or(1.0);
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            let times = self.times(weight * self.share);
            if times == 0 {
                continue;
            }
            // One space before the line, as every text gets when it is encoded.
            for part in line.split([' ', MARKER]) {
                self.count(part, times);
            }
            while self.n_bytes > self.max_bytes {
                self.halve();
            }
        }
    }

    /// Every word with its count, in byte order.
    pub(super) fn finish(self) -> Vec<(Box<str>, u64)> {
        if self.share < 1.0 {
            tracing::info!("the tokenizer's sample is {} of the weighted corpus", self.share);
        }
        let mut words: Vec<(Box<str>, u64)> = self.counts.into_iter().collect();
        words.sort_unstable();
        words
    }

    /// `rounds` as a whole number: the fraction is drawn by lot.
    fn times(&mut self, rounds: f64) -> u64 {
        let whole = rounds.floor();
        if whole == rounds {
            return whole as u64;
        }
        self.n_draws += 1;
        let draw = mix(mix(self.seed).wrapping_add(self.n_draws)) >> 11;
        whole as u64 + u64::from((draw as f64) < (rounds - whole) * (1_u64 << 53) as f64)
    }

    fn count(&mut self, part: &str, times: u64) {
        self.word.clear();
        self.word.push(MARKER);
        self.word.push_str(part);
        match self.counts.get_mut(self.word.as_str()) {
            Some(count) => *count += times,
            None => {
                self.n_bytes += memory_of(&self.word);
                self.counts.insert(self.word.as_str().into(), times);
            }
        }
    }

    fn halve(&mut self) {
        self.share /= 2.0;
        let (n_bytes, salt) = (&mut self.n_bytes, mix(self.seed ^ self.share.to_bits()));
        self.counts.retain(|word, count| {
            // Odd counts are rounded up or down by the word's hash, another time for each halving.
            let lot = mix(FxBuildHasher.hash_one(word) ^ salt) & 1;
            *count = (*count + lot) / 2;
            if *count == 0 {
                *n_bytes -= memory_of(word);
            }
            *count > 0
        });
    }
}

fn memory_of(word: &str) -> usize {
    WORD_BYTES + word.len() + CHARACTER_BYTES * word.chars().count()
}

/// A fixed scramble of 64 bits (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of `a` from source `x` and `b` from `y`, each a line 10,000 times.
    fn counts(weights: &[(&str, f64)], max_bytes: usize, seed: u64) -> Vec<u64> {
        let weights = weights.iter().map(|(name, w)| ((*name).to_owned(), *w)).collect();
        let mut words = WordCounts::new(&weights, max_bytes, seed);
        for number in 0..10_000 {
            words.add("x", "a");
            words.add("y", "b");
            words.add("z", &format!("rare{number}"));
        }
        assert!(words.n_bytes <= max_bytes);
        let words = words.finish();
        let count = |text: &str| words.iter().find(|(word, _)| &**word == text).map_or(0, |w| w.1);
        vec![count("\u{2581}a"), count("\u{2581}b"), words.len() as u64]
    }

    #[test]
    fn sources_count_by_their_weights() {
        assert_eq!(counts(&[], usize::MAX, 0), [10_000, 10_000, 10_002]);
        assert_eq!(counts(&[("x", 3.0), ("y", 0.0)], usize::MAX, 0), [30_000, 0, 10_001]);
        let drawn = counts(&[("x", 2.5), ("y", 0.25)], usize::MAX, 1);
        assert!(drawn[0].abs_diff(25_000) < 300 && drawn[1].abs_diff(2_500) < 300, "{drawn:?}");
        assert_eq!(drawn, counts(&[("x", 2.5), ("y", 0.25)], usize::MAX, 1));
        assert_ne!(drawn, counts(&[("x", 2.5), ("y", 0.25)], usize::MAX, 2));
    }

    #[test]
    fn memory_is_bounded_and_proportions_stay() {
        let bounded = counts(&[("x", 2.0)], 200_000, 0);
        assert!(bounded[0] < 20_000 && bounded[2] < 2_000, "{bounded:?}");
        let ratio = bounded[0] as f64 / bounded[1] as f64;
        assert!((ratio - 2.0).abs() < 0.3, "{bounded:?}");
        assert_eq!(counts(&[], 0, 0), [0, 0, 0]);
    }

    #[test]
    fn words_begin_with_their_marker() {
        let weights = BTreeMap::new();
        let mut words = WordCounts::new(&weights, usize::MAX, 0);
        words.add("", "ab  c\n\n\u{2581}ab");
        let words = words.finish();
        let found: Vec<_> = words.iter().map(|(word, count)| (&**word, *count)).collect();
        let expected = [("\u{2581}", 2), ("\u{2581}ab", 2), ("\u{2581}c", 1)];
        assert_eq!(found, expected);
    }
}
