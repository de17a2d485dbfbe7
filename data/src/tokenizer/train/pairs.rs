//! The merging of the most frequent pairs over all words of a corpus.
//!
//! Words lie one after another in one array, a place for each character. Every pair knows its count
//! and its places, so that a merge costs as much as the pair has places, whatever the length of the
//! words. Memory decides how large a sample can be: a place takes 16 bytes, a pair 24, and only the
//! frequent pairs are queued.

use rustc_hash::{FxHashMap, FxHashSet};

use super::places::{NONE, Places};
use super::queue::{Candidate, Pair, Queue, Texts};
use super::script::is_valid_piece;
use crate::{Error, Result};

/// Pairs at least 1/4 as frequent as the best are queued, then again when those are used up.
const QUEUED_SHARE: u64 = 4;

/// Finds one piece after another.
pub(super) struct PairMerger {
    /// Characters, then merged pieces.
    texts: Texts,
    places: Places,
    /// How often each word is in the corpus.
    word_counts: Vec<u64>,
    occurrences: FxHashMap<Pair, Occurrences>,
    queue: Queue,
    /// Least count of a pair in the queue.
    threshold: u64,
    /// Pieces found; a second way to the same text is passed over, as in SentencePiece.
    found: FxHashSet<String>,
    max_chars: usize,
}

/// Where a pair is.
struct Occurrences {
    count: u64,
    /// The last place that was found; the places know their neighbours in the list.
    head: u32,
    /// Whether the joined text may be a piece; nothing else is kept if not.
    is_valid: bool,
}

impl PairMerger {
    /// Takes the words apart into `characters`; any other character breaks its word.
    ///
    /// # Errors
    /// More text than 31 bits can count.
    pub(super) fn new(
        words: Vec<(Box<str>, u64)>,
        characters: &[char],
        max_chars: usize,
    ) -> Result<Self> {
        let n_places: usize = words.iter().map(|(word, _)| word.len() + 1).sum();
        if n_places >= NONE as usize / 2 {
            return Err(Error::Setting(format!(
                "corpus for the tokenizer has `{n_places}` bytes of different words, expected less \
                 than 2 GiB"
            )));
        }
        let mut texts = Texts::default();
        let symbols: FxHashMap<char, u32> =
            characters.iter().map(|&c| (c, texts.push(c.encode_utf8(&mut [0; 4])))).collect();
        let mut merger = Self {
            texts,
            places: Places::new(words.iter().map(|(word, _)| &**word), &symbols),
            word_counts: words.iter().map(|(_, count)| *count).collect(),
            occurrences: FxHashMap::default(),
            queue: Queue::default(),
            threshold: u64::MAX,
            found: FxHashSet::default(),
            max_chars,
        };
        drop(words);
        for at in merger.places.all() {
            merger.note_pair(at);
        }
        Ok(merger)
    }

    /// The next piece by count, merged wherever it stands; none when no pair is left.
    pub(super) fn next_piece(&mut self) -> Option<String> {
        loop {
            let Some(Candidate { count, pair }) = self.queue.pop(&self.texts) else {
                self.queue_rarer_pairs()?;
                continue;
            };
            let Some(occurrences) = self.occurrences.get(&pair) else { continue };
            if occurrences.count != count {
                self.queue_pair(pair, occurrences.count);
                continue;
            }
            let mut places = self.places.list(occurrences.head);
            self.occurrences.remove(&pair);
            let text = self.texts.joined(pair);
            if self.found.insert(text.clone()) {
                places.sort_unstable();
                self.merge(pair, &text, &places);
                return Some(text);
            }
        }
    }

    /// Goes on with less frequent pairs; none if there are none.
    fn queue_rarer_pairs(&mut self) -> Option<()> {
        let counts = self.occurrences.values().map(|occurrences| occurrences.count);
        let highest = counts.max().filter(|&count| count > 0)?;
        self.threshold = highest.div_ceil(QUEUED_SHARE);
        for (&pair, &Occurrences { count, .. }) in &self.occurrences {
            if count >= self.threshold {
                self.queue.push(Candidate { count, pair }, &self.texts);
            }
        }
        Some(())
    }

    fn queue_pair(&mut self, pair: Pair, count: u64) {
        if count >= self.threshold {
            self.queue.push(Candidate { count, pair }, &self.texts);
        }
    }

    fn merge(&mut self, pair: Pair, text: &str, places: &[u32]) {
        let merged = self.texts.push(text);
        let mut grown = Vec::new();
        for &at in places {
            let next = self.places.next(at, &self.texts);
            // A place before may have taken one of the two.
            if self.places.symbol(at) != Some(pair.0) || self.symbol(next) != Some(pair.1) {
                continue;
            }
            let previous = self.places.previous(at);
            self.forget_pair(previous);
            self.forget_pair(next);
            self.places.join(at, merged, &self.texts);
            grown.extend(self.note_pair(previous));
            grown.extend(self.note_pair(Some(at)));
        }
        grown.sort_unstable();
        grown.dedup();
        for pair in grown {
            self.queue_pair(pair, self.occurrences[&pair].count);
        }
    }

    fn symbol(&self, at: Option<u32>) -> Option<u32> {
        self.places.symbol(at?)
    }

    /// The pair that starts at a place, with its count in the corpus.
    fn pair_at(&self, at: u32) -> Option<(Pair, u64)> {
        let left = self.places.symbol(at)?;
        let right = self.symbol(self.places.next(at, &self.texts))?;
        Some(((left, right), self.word_counts[self.places.word(at)]))
    }

    fn forget_pair(&mut self, at: Option<u32>) {
        let Some(at) = at else { return };
        let Some((pair, count)) = self.pair_at(at) else { return };
        // The pair being merged and those passed over are no longer kept.
        if let Some(occurrences) = self.occurrences.get_mut(&pair)
            && occurrences.is_valid
        {
            occurrences.count -= count;
            occurrences.head = self.places.leave_list(at, occurrences.head);
        }
    }

    fn note_pair(&mut self, at: impl Into<Option<u32>>) -> Option<Pair> {
        let at = at.into()?;
        let (pair, count) = self.pair_at(at)?;
        let occurrences = self.occurrences.entry(pair).or_insert_with(|| {
            let is_valid = is_valid_piece(&self.texts.joined(pair), self.max_chars);
            Occurrences { count: 0, head: NONE, is_valid }
        });
        if !occurrences.is_valid {
            return None;
        }
        occurrences.count += count;
        self.places.join_list(at, occurrences.head);
        occurrences.head = at;
        Some(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[(&str, u64)], expected: &[&str]) {
        let words = words.iter().map(|&(word, count)| (word.into(), count)).collect();
        let characters: Vec<char> = "abc".chars().collect();
        let mut merger = PairMerger::new(words, &characters, 4).unwrap();
        let found: Vec<String> = std::iter::from_fn(|| merger.next_piece()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn counts_decide_then_length_then_order() {
        check(&[("ab", 2), ("bc", 3)], &["bc", "ab"]);
        check(&[("bc", 2), ("ab", 2)], &["ab", "bc"]);
        check(&[("abc", 2)], &["ab", "abc"]);
        check(&[("aab", 1), ("ab", 1)], &["ab", "aab"]);
        check(&[("ab", 100), ("bc", 20), ("ca", 1)], &["ab", "bc", "ca"]);
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
