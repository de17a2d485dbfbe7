//! The merging of the most frequent pairs over all words of a corpus.
//!
//! Words lie one after another in one array of linked symbols. Every pair knows its count and its
//! places, so that a merge costs as much as the pair has places, whatever the length of the words.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::script::is_valid_piece;
use crate::{Error, Result};

/// No place, no symbol.
const NONE: u32 = u32::MAX;

/// Two neighbouring symbols.
type Pair = (u32, u32);

/// Finds one piece after another.
pub(super) struct PairMerger {
    /// Texts of the symbols: characters, then merged pieces.
    texts: Vec<String>,
    places: Vec<Place>,
    /// How often each word is in the corpus.
    word_counts: Vec<u64>,
    occurrences: FxHashMap<Pair, Occurrences>,
    queue: BinaryHeap<Candidate>,
    /// Pieces found; a second way to the same text is passed over, as in SentencePiece.
    found: FxHashSet<String>,
    max_chars: usize,
}

/// One symbol of one word.
struct Place {
    symbol: u32,
    previous: u32,
    next: u32,
    word: u32,
}

#[derive(Default)]
struct Occurrences {
    /// Whether the joined text may be a piece; nothing else is kept if not.
    is_valid: bool,
    count: u64,
    /// Places of the left symbol; some may have changed since.
    places: Vec<u32>,
}

/// A pair with the count it had when it was queued; the order is that of choice.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: u64,
    n_chars: Reverse<usize>,
    text: Reverse<String>,
    pair: Reverse<Pair>,
}

impl PairMerger {
    /// Takes the words apart into `characters`; any other character breaks its word.
    ///
    /// # Errors
    /// More text than 32 bits can count.
    pub(super) fn new(
        words: &[(String, u64)],
        characters: &[char],
        max_chars: usize,
    ) -> Result<Self> {
        let symbols: FxHashMap<char, u32> = characters.iter().copied().zip(0..).collect();
        let n_places: usize = words.iter().map(|(word, _)| word.len()).sum();
        if n_places >= NONE as usize {
            return Err(Error::Setting(format!(
                "corpus for the tokenizer has `{n_places}` bytes of different words, expected less \
                 than 4 GiB"
            )));
        }
        let mut merger = Self {
            texts: characters.iter().map(char::to_string).collect(),
            places: Vec::new(),
            word_counts: words.iter().map(|(_, count)| *count).collect(),
            occurrences: FxHashMap::default(),
            queue: BinaryHeap::new(),
            found: FxHashSet::default(),
            max_chars,
        };
        for ((word, _), idx) in words.iter().zip(0..) {
            merger.add_word(word, idx, &symbols);
        }
        for at in 0..merger.places.len() as u32 {
            merger.note_pair(at);
        }
        let pairs: Vec<Pair> = merger.occurrences.keys().copied().collect();
        pairs.into_iter().for_each(|pair| merger.queue_pair(pair));
        Ok(merger)
    }

    /// The next piece by count, merged wherever it stands; none when no pair is left.
    pub(super) fn next_piece(&mut self) -> Option<String> {
        loop {
            let candidate = self.queue.pop()?;
            let Reverse(pair) = candidate.pair;
            let Some(occurrences) = self.occurrences.get(&pair) else { continue };
            if occurrences.count != candidate.count {
                self.queue_pair(pair);
                continue;
            }
            let mut places = self.occurrences.remove(&pair).unwrap_or_default().places;
            let Reverse(text) = candidate.text;
            if self.found.insert(text.clone()) {
                places.sort_unstable();
                self.merge(pair, &text, &places);
                return Some(text);
            }
        }
    }

    fn add_word(&mut self, word: &str, idx: u32, symbols: &FxHashMap<char, u32>) {
        let mut previous = NONE;
        for character in word.chars() {
            let Some(&symbol) = symbols.get(&character) else {
                previous = NONE;
                continue;
            };
            let at = self.places.len() as u32;
            self.places.push(Place { symbol, previous, next: NONE, word: idx });
            if previous != NONE {
                self.places[previous as usize].next = at;
            }
            previous = at;
        }
    }

    fn merge(&mut self, pair: Pair, text: &str, places: &[u32]) {
        let merged = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        let mut grown = Vec::new();
        for &at in places {
            let Place { symbol, previous, next, .. } = self.places[at as usize];
            if symbol != pair.0 || next == NONE || self.places[next as usize].symbol != pair.1 {
                continue;
            }
            self.forget_pair(previous);
            self.forget_pair(next);
            let after = self.places[next as usize].next;
            self.places[next as usize].symbol = NONE;
            self.places[at as usize].symbol = merged;
            self.places[at as usize].next = after;
            if after != NONE {
                self.places[after as usize].previous = at;
            }
            grown.extend(self.note_pair(previous));
            grown.extend(self.note_pair(at));
        }
        grown.sort_unstable();
        grown.dedup();
        grown.into_iter().for_each(|pair| self.queue_pair(pair));
    }

    /// The pair that starts at a place, with its count in the corpus.
    fn pair_at(&self, at: u32) -> Option<(Pair, u64)> {
        let place = self.places.get(at as usize)?;
        let next = self.places.get(place.next as usize)?;
        Some(((place.symbol, next.symbol), self.word_counts[place.word as usize]))
    }

    fn forget_pair(&mut self, at: u32) {
        let Some((pair, count)) = self.pair_at(at) else { return };
        // The pair being merged and those passed over are no longer kept.
        if let Some(occurrences) = self.occurrences.get_mut(&pair)
            && occurrences.is_valid
        {
            occurrences.count -= count;
        }
    }

    fn note_pair(&mut self, at: u32) -> Option<Pair> {
        let (pair, count) = self.pair_at(at)?;
        let occurrences = self.occurrences.entry(pair).or_insert_with(|| {
            let text = joined(&self.texts, pair);
            Occurrences { is_valid: is_valid_piece(&text, self.max_chars), ..Default::default() }
        });
        if !occurrences.is_valid {
            return None;
        }
        occurrences.count += count;
        occurrences.places.push(at);
        Some(pair)
    }

    fn queue_pair(&mut self, pair: Pair) {
        let Some(occurrences) = self.occurrences.get(&pair) else { return };
        if occurrences.count == 0 {
            return;
        }
        let text = joined(&self.texts, pair);
        self.queue.push(Candidate {
            count: occurrences.count,
            n_chars: Reverse(text.chars().count()),
            text: Reverse(text),
            pair: Reverse(pair),
        });
    }
}

fn joined(texts: &[String], (left, right): Pair) -> String {
    [texts[left as usize].as_str(), &texts[right as usize]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[(&str, u64)], expected: &[&str]) {
        let words: Vec<(String, u64)> =
            words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        let characters: Vec<char> = "abc".chars().collect();
        let mut merger = PairMerger::new(&words, &characters, 4).unwrap();
        let found: Vec<String> = std::iter::from_fn(|| merger.next_piece()).collect();
        assert_eq!(found, expected, "{words:?}");
    }

    #[test]
    fn counts_decide_then_length_then_order() {
        check(&[("ab", 2), ("bc", 3)], &["bc", "ab"]);
        check(&[("bc", 2), ("ab", 2)], &["ab", "bc"]);
        check(&[("abc", 2)], &["ab", "abc"]);
        check(&[("aab", 1), ("ab", 1)], &["ab", "aab"]);
    }

    #[test]
    fn runs_merge_from_the_left() {
        check(&[("aaa", 1)], &["aa", "aaa"]);
        check(&[("aaaa", 1)], &["aa", "aaaa"]);
        // `aa`, `aa`, `a`: the shorter of the two pairs is next, then nothing fits into 4.
        check(&[("aaaaa", 1)], &["aa", "aaa"]);
    }

    #[test]
    fn other_characters_break_words() {
        check(&[("abxab", 1)], &["ab"]);
        check(&[("", 5), ("x", 5)], &[]);
    }
}
