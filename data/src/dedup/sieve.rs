//! Tells keys that cannot be repeats, so that no row is kept for them.
//!
//! Two bits for every place of a table: whether a key fell there, and whether a second one did. A key whose
//! place was hit once occurs once; of the others some only share their place with another key, and are rows for
//! nothing. It costs one more reading of the texts and saves most rows of a method with many.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Key;

/// Places for every expected key: with eight, one key in nine that occurs once is taken for more.
const PLACES_PER_KEY: u64 = 8;

/// What is known of the keys noted so far. Threads may note at the same time.
pub struct Sieve {
    once: Vec<AtomicU64>,
    twice: Vec<AtomicU64>,
}

impl Sieve {
    /// Memory for every expected key.
    pub const BYTES_PER_KEY: u64 = 2 * PLACES_PER_KEY / 8;

    /// Room for about so many keys; more are no error, they are told apart less well.
    pub fn new(n_keys: u64) -> Self {
        let n_words = (n_keys.saturating_mul(PLACES_PER_KEY) / 64).max(1) as usize;
        let words = || std::iter::repeat_with(AtomicU64::default).take(n_words).collect();
        Self { once: words(), twice: words() }
    }

    /// Notes an occurrence of a key.
    pub fn note(&self, key: Key) {
        let (word, bit) = self.place(key);
        if self.once[word].fetch_or(bit, Relaxed) & bit != 0 {
            self.twice[word].fetch_or(bit, Relaxed);
        }
    }

    /// False only if the key was noted less than twice.
    pub fn may_repeat(&self, key: Key) -> bool {
        let (word, bit) = self.place(key);
        self.twice[word].load(Relaxed) & bit != 0
    }

    fn place(&self, key: Key) -> (usize, u64) {
        let hash = (key.0 ^ key.1.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (u128::from(hash) * self.once.len() as u128) >> 64;
        (word as usize, 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_pass_and_most_others_do_not() {
        let sieve = Sieve::new(10_000);
        let key = |i: u64| Key(i.wrapping_mul(0x2545_f491_4f6c_dd1d), i);
        (0..10_000).chain(0..100).for_each(|i| sieve.note(key(i)));
        assert!((0..100).all(|i| sieve.may_repeat(key(i))));
        let n_passed = (100..10_000).filter(|&i| sieve.may_repeat(key(i))).count();
        assert!((900..1400).contains(&n_passed), "{n_passed}");
        let crowded = Sieve::new(0);
        (0..500).chain(0..500).for_each(|i| crowded.note(key(i)));
        assert!((0..500).all(|i| crowded.may_repeat(key(i))));
    }
}
