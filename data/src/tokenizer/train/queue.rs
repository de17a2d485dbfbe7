//! Which pair is next: a binary heap whose order looks into the symbols' texts, so that an entry is
//! a count and two numbers.
//!
//! The highest count is first, then the shorter piece, then the smaller one in byte order, as in
//! SentencePiece; last, of two ways to the same piece, the pair of lower numbers.

use std::cmp::{Ordering, Reverse};

/// Two neighbouring symbols, by their numbers.
pub(super) type Pair = (u32, u32);

/// A pair with the count it had when it was queued.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) count: u64,
    pub(super) pair: Pair,
}

/// The candidates.
#[derive(Default)]
pub(super) struct Queue {
    heap: Vec<Candidate>,
}

/// Texts of the symbols.
#[derive(Default)]
pub(super) struct Texts {
    texts: Vec<Box<str>>,
    n_chars: Vec<u32>,
}

impl Texts {
    /// Adds a symbol and gives its number.
    pub(super) fn push(&mut self, text: &str) -> u32 {
        self.texts.push(text.into());
        self.n_chars.push(text.chars().count() as u32);
        self.texts.len() as u32 - 1
    }

    /// Length of a symbol in characters.
    pub(super) fn n_chars(&self, symbol: u32) -> u32 {
        self.n_chars[symbol as usize]
    }

    /// What a pair becomes.
    pub(super) fn joined(&self, (left, right): Pair) -> String {
        [&*self.texts[left as usize], &*self.texts[right as usize]].concat()
    }

    fn bytes(&self, (left, right): Pair) -> impl Iterator<Item = u8> {
        self.texts[left as usize].bytes().chain(self.texts[right as usize].bytes())
    }

    /// `Greater` if `a` is chosen before `b`.
    fn compare(&self, a: Candidate, b: Candidate) -> Ordering {
        let n_chars = |c: Candidate| Reverse(self.n_chars(c.pair.0) + self.n_chars(c.pair.1));
        let by_count = a.count.cmp(&b.count).then_with(|| n_chars(a).cmp(&n_chars(b)));
        by_count
            .then_with(|| self.bytes(b.pair).cmp(self.bytes(a.pair)))
            .then_with(|| b.pair.cmp(&a.pair))
    }
}

impl Queue {
    /// Adds a candidate.
    pub(super) fn push(&mut self, candidate: Candidate, texts: &Texts) {
        let mut at = self.heap.len();
        self.heap.push(candidate);
        while at > 0 && texts.compare(self.heap[at], self.heap[(at - 1) / 2]).is_gt() {
            self.heap.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    /// Takes the candidate that is chosen before all others.
    pub(super) fn pop(&mut self, texts: &Texts) -> Option<Candidate> {
        if self.heap.is_empty() {
            return None;
        }
        let first = self.heap.swap_remove(0);
        let mut at = 0;
        loop {
            let children = [2 * at + 1, 2 * at + 2].into_iter().filter(|&at| at < self.heap.len());
            let best = children.max_by(|&a, &b| texts.compare(self.heap[a], self.heap[b]));
            match best {
                Some(best) if texts.compare(self.heap[best], self.heap[at]).is_gt() => {
                    self.heap.swap(at, best);
                    at = best;
                }
                _ => return Some(first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts() -> Texts {
        let mut texts = Texts::default();
        for text in ["a", "b", "ab", "ba", "中"] {
            texts.push(text);
        }
        texts
    }

    #[test]
    fn counts_then_length_then_bytes_then_pairs() {
        let texts = texts();
        let order = [(9, (2, 3)), (5, (0, 0)), (5, (0, 4)), (5, (4, 0)), (5, (0, 3)), (5, (2, 0))];
        let mut queue = Queue::default();
        for (count, pair) in order.into_iter().rev() {
            queue.push(Candidate { count, pair }, &texts);
        }
        let popped = std::iter::from_fn(|| queue.pop(&texts).map(|c| (c.count, c.pair)));
        assert_eq!(popped.collect::<Vec<_>>(), order);
    }

    proptest! {
        #[test]
        fn comes_out_in_order(entries in proptest::collection::vec((0..4_u64, 0..5_u32, 0..5_u32), 0..40)) {
            let (texts, mut queue) = (texts(), Queue::default());
            for &(count, left, right) in &entries {
                queue.push(Candidate { count, pair: (left, right) }, &texts);
            }
            let popped: Vec<_> = std::iter::from_fn(|| queue.pop(&texts)).collect();
            prop_assert_eq!(popped.len(), entries.len());
            prop_assert!(popped.is_sorted_by(|&a, &b| texts.compare(a, b).is_ge()));
        }
    }
}
