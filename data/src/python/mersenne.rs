//! MT19937 of Matsumoto and Nishimura (1998), the generator under `random.Random` and numpy's `RandomState`.

/// Words of the generator's state.
const N: usize = 624;
/// Distance of the word that is mixed in.
const M: usize = 397;

/// The generator with its state.
#[derive(Clone, Debug)]
pub struct MersenneTwister {
    state: [u32; N],
    next: usize,
}

impl MersenneTwister {
    /// Seeded as `init_genrand` of the reference implementation does, and numpy.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// Seeded as `init_by_array` does, and CPython; the key is not empty.
    pub fn from_key(key: &[u32]) -> Self {
        let Self { mut state, next } = Self::new(19_650_218);
        let mut i = 1;
        let mix = |state: &mut [u32; N], i: usize, factor: u32| {
            let before = state[i - 1];
            state[i] ^ (before ^ (before >> 30)).wrapping_mul(factor)
        };
        let advance = |state: &mut [u32; N], i: &mut usize| {
            *i += 1;
            if *i >= N {
                state[0] = state[N - 1];
                *i = 1;
            }
        };
        for round in 0..N.max(key.len()) {
            let j = round % key.len();
            let mixed = mix(&mut state, i, 1_664_525);
            state[i] = mixed.wrapping_add(key[j]).wrapping_add(j as u32);
            advance(&mut state, &mut i);
        }
        for _ in 1..N {
            let mixed = mix(&mut state, i, 1_566_083_941);
            state[i] = mixed.wrapping_sub(i as u32);
            advance(&mut state, &mut i);
        }
        state[0] = 0x8000_0000;
        Self { state, next }
    }

    /// The next 32 bits.
    pub fn word(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if y & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ twist;
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
            [random.word(), random.word(), random.word()],
            [3_499_211_612, 581_869_302, 3_890_346_734]
        );
        (3..9_999).for_each(|_| _ = random.word());
        assert_eq!(random.word(), 4_123_659_995);
    }
}
