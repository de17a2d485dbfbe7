//! The original's random orders: the numbers that numpy's `RandomState(seed)` deals out.
//!
//! datasketch 1.x draws a and b of every order in turn with `randint`, which for 64-bit numbers takes two
//! outputs of MT19937, the first as the high half, masks them to the size of the range and rejects what lies
//! outside.

use crate::python::MersenneTwister;

/// Modulus of the original's arithmetic, a Mersenne prime.
pub(super) const PRIME: u64 = (1 << 61) - 1;

/// Orders h -> ((a h + b) mod 2^64 mod (2^61 - 1)) mod 2^32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutations {
    /// Factors, from 1 to 2^61 - 2.
    pub a: Vec<u64>,
    /// Summands, from 0 to 2^61 - 2.
    pub b: Vec<u64>,
}

impl Permutations {
    /// The first `n` orders of a seed.
    pub fn new(seed: u32, n: usize) -> Self {
        let mut random = MersenneTwister::new(seed);
        let (mut a, mut b) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for _ in 0..n {
            a.push(between(&mut random, 1, PRIME));
            b.push(between(&mut random, 0, PRIME));
        }
        Self { a, b }
    }
}

/// A number of `low..high`, by rejection.
fn between(random: &mut MersenneTwister, low: u64, high: u64) -> u64 {
    let range = high - 1 - low;
    let mask = u64::MAX >> range.leading_zeros();
    loop {
        let drawn = ((u64::from(random.word()) << 32) | u64::from(random.word())) & mask;
        if drawn <= range {
            return low + drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_orders_are_datasketchs() {
        // datasketch 1.6.5, MinHash(num_perm=128, seed=1).permutations
        let orders = Permutations::new(1, 2);
        assert_eq!(orders.a, [775_169_054_918_279_404, 2_109_959_069_025_162]);
        assert!(orders.b.iter().all(|&b| b < PRIME));
    }
}
