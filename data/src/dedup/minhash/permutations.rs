//! The original's random orders: the numbers that numpy's `RandomState(seed)` deals out.
//!
//! datasketch 1.x draws a and b of every order in turn with `randint`, which for 64-bit numbers takes two
//! outputs of MT19937, the first as the high half, masks them to the size of the range and rejects what lies
//! outside.

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
            a.push(random.between(1, PRIME));
            b.push(random.between(0, PRIME));
        }
        Self { a, b }
    }
}

/// Words of the generator's state.
const N: usize = 624;
/// Distance of the word that is mixed in.
const M: usize = 397;

/// MT19937 of Matsumoto and Nishimura (1998), seeded as its `init_genrand`.
struct MersenneTwister {
    state: [u32; N],
    next: usize,
}

impl MersenneTwister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// A number of `low..high`, by rejection.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        let range = high - 1 - low;
        let mask = u64::MAX >> range.leading_zeros();
        loop {
            let drawn = ((u64::from(self.draw()) << 32) | u64::from(self.draw())) & mask;
            if drawn <= range {
                return low + drawn;
            }
        }
    }

    fn draw(&mut self) -> u32 {
        if self.next == N {
            self.renew();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn renew(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_mt19937() {
        // numpy.random.RandomState(5489).randint(0, 2**32, 3, dtype=numpy.uint32); C++ gives the same, and its
        // standard names the 10000th output of this seed.
        let mut random = MersenneTwister::new(5489);
        assert_eq!(
            [random.draw(), random.draw(), random.draw()],
            [3_499_211_612, 581_869_302, 3_890_346_734]
        );
        (3..9_999).for_each(|_| _ = random.draw());
        assert_eq!(random.draw(), 4_123_659_995);
    }

    #[test]
    fn the_first_orders_are_datasketchs() {
        // datasketch 1.6.5, MinHash(num_perm=128, seed=1).permutations
        let orders = Permutations::new(1, 2);
        assert_eq!(orders.a, [775_169_054_918_279_404, 2_109_959_069_025_162]);
        assert!(orders.b.iter().all(|&b| b < PRIME));
    }
}
