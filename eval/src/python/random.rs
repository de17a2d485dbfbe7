//! CPython's `random.Random(seed)`: MT19937 and the draws that shots and bootstraps are made of.
//!
//! Algorithms of `Modules/_randommodule.c` and `Lib/random.py`; a draw consumes exactly as many words
//! of the generator as CPython's, so sequences of mixed draws stay equal.

use std::collections::HashSet;

use neo_data::python::MersenneTwister;

/// A Mersenne twister seeded as CPython seeds it from an integer.
#[derive(Clone)]
pub struct Random(MersenneTwister);

impl Random {
    /// `random.Random(seed)` for a seed that is not negative.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key = if high == 0 { vec![low] } else { vec![low, high] };
        Self(MersenneTwister::from_key(&key))
    }

    fn word(&mut self) -> u32 {
        self.0.word()
    }

    /// `random()`: 53 bits in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        let (a, b) = (self.word() >> 5, self.word() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    /// `getrandbits(bits)` for 1 to 64 bits.
    pub fn bits(&mut self, bits: u32) -> u64 {
        if bits <= 32 {
            return u64::from(self.word() >> (32 - bits));
        }
        let low = u64::from(self.word());
        low | (u64::from(self.word() >> (64 - bits)) << 32)
    }

    /// `_randbelow(n)`: draws again until the value is below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = self.bits(bits.max(1)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `randint(low, high)`, both ends included.
    pub fn int(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low) as usize + 1) as i64
    }

    /// Indices of `sample(range(n), k)`.
    ///
    /// # Panics
    /// When `k` is more than `n`, which CPython refuses too.
    pub fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        assert!(k <= n, "a sample of {k} from {n}");
        if n <= pool_limit(k) {
            let mut pool: Vec<usize> = (0..n).collect();
            let draw = |i| {
                let j = self.below(n - i);
                let drawn = pool[j];
                pool[j] = pool[n - i - 1];
                drawn
            };
            return (0..k).map(draw).collect();
        }
        let mut selected = HashSet::new();
        let draw = |_| loop {
            let j = self.below(n);
            if selected.insert(j) {
                return j;
            }
        };
        (0..k).map(draw).collect()
    }

    /// Indices of `choices(range(n), k=k)`: with replacement.
    pub fn choices(&mut self, n: usize, k: usize) -> Vec<usize> {
        (0..k).map(|_| (self.random() * n as f64).floor() as usize).collect()
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

/// Largest population of which `sample` copies a pool: a list is then smaller than a set of `k`.
fn pool_limit(k: usize) -> usize {
    let mut limit = 21;
    if k > 5 {
        limit += 4usize.pow((3.0 * k as f64).log(4.0).ceil() as u32);
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values printed by CPython 3.11.
    #[test]
    fn draws_equal_cpython() {
        let mut r = Random::new(1234);
        assert_eq!(r.random(), 0.966_453_535_692_138_8);
        assert_eq!(r.sample(2376, 6), [1805, 478, 30, 371, 143, 343]);
        assert_eq!(r.sample(20, 6), [3, 11, 7, 0, 16, 12]);
        assert_eq!(r.choices(10, 5), [0, 6, 4, 4, 0]);
        assert_eq!(r.int(-3, 3), 2);
        let mut items: Vec<u32> = (0..10).collect();
        r.shuffle(&mut items);
        assert_eq!(items, [6, 2, 5, 3, 4, 8, 9, 7, 0, 1]);
        assert_eq!(r.bits(64), 10_680_714_365_983_390_887);
        assert_eq!(Random::new(1 << 40).bits(32), 445_128_065);
    }
}
