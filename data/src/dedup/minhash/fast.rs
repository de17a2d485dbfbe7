//! A signature of our own, with the original's probabilities at a fraction of its cost.
//!
//! A run's hash is a polynomial of its characters modulo 2^64, moved on by one character at a time and mixed
//! to 32 bits; order i maps it to a_i h + b_i modulo 2^32 with odd a_i, a bijection. The set of hashes is as
//! good as random, so every run is equally likely to have the least value of an order.

use super::{EMPTY, SHINGLE_CHARS, simd::widest_simd};

/// Orders evaluated together.
const GROUP: usize = 64;
/// Hashes gathered before the orders are evaluated.
const BATCH: usize = 256;

/// Computes signatures.
#[derive(Clone, Debug)]
pub struct FastSigner {
    n: usize,
    groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    a: [u32; GROUP],
    b: [u32; GROUP],
}

/// Weight of a character against its successor: odd, its bits without pattern (of the golden ratio).
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

impl FastSigner {
    /// Prepares `n` orders, always the same.
    pub fn new(n: usize) -> Self {
        let mut counter = 0u64;
        let mut next = || {
            counter = counter.wrapping_add(BASE);
            mix(counter) as u32
        };
        let group = |_| Group {
            a: std::array::from_fn(|_| next() | 1),
            b: std::array::from_fn(|_| next()),
        };
        Self { n, groups: (0..n.div_ceil(GROUP)).map(group).collect() }
    }

    /// The signature of a text: one value an order, [`EMPTY`] for a text without runs.
    pub fn signature(&self, text: &str) -> Vec<u32> {
        let mut minima = vec![[EMPTY; GROUP]; self.groups.len()];
        let (mut hashes, mut n_pending) = ([0; BATCH], 0);
        for hash in run_hashes(text) {
            hashes[n_pending] = hash;
            n_pending += 1;
            if n_pending == BATCH {
                self.lower(&mut minima, &hashes);
                n_pending = 0;
            }
        }
        self.lower(&mut minima, &hashes[..n_pending]);
        minima.into_iter().flatten().take(self.n).collect()
    }

    fn lower(&self, minima: &mut [[u32; GROUP]], hashes: &[u32]) {
        for (minima, group) in minima.iter_mut().zip(&self.groups) {
            lower_group(minima, &group.a, &group.b, hashes);
        }
    }
}

/// The hash of every run of characters.
fn run_hashes(text: &str) -> impl Iterator<Item = u32> {
    let top = BASE.wrapping_pow(SHINGLE_CHARS as u32);
    let mut oldest = text.chars();
    let mut value = 0u64;
    text.chars().enumerate().filter_map(move |(index, c)| {
        value = value.wrapping_mul(BASE).wrapping_add(digit(c));
        if index >= SHINGLE_CHARS {
            let out = oldest.next().map_or(0, digit);
            value = value.wrapping_sub(out.wrapping_mul(top));
        }
        (index + 1 >= SHINGLE_CHARS).then(|| mix(value) as u32)
    })
}

/// A character as a digit, spread over the word so that low bits are not those of the alphabet.
fn digit(c: char) -> u64 {
    u64::from(c).wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Stafford's mixer 13, a bijection that flips every bit of its result with every bit of its argument.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

widest_simd! {
    /// Lowers the minima of some orders to what they make of new hashes.
    fn lower_group(minima: &mut [u32; GROUP], a: &[u32; GROUP], b: &[u32; GROUP], hashes: &[u32])
        = lower_group_body
}

#[inline(always)]
fn lower_group_body(minima: &mut [u32; GROUP], a: &[u32; GROUP], b: &[u32; GROUP], hashes: &[u32]) {
    let mut least = *minima;
    for &hash in hashes {
        for i in 0..GROUP {
            least[i] = least[i].min(a[i].wrapping_mul(hash).wrapping_add(b[i]));
        }
    }
    *minima = least;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_hash_equals_a_new_one() {
        let text = "the quick brown 狐 jumps over the lazy 犬 and runs away";
        let chars: Vec<char> = text.chars().collect();
        let runs: Vec<u32> = run_hashes(text).collect();
        assert_eq!(runs.len(), chars.len() - SHINGLE_CHARS + 1);
        for (run, hash) in chars.windows(SHINGLE_CHARS).zip(runs) {
            let run: String = run.iter().collect();
            assert_eq!(run_hashes(&run).collect::<Vec<_>>(), [hash]);
        }
    }

    #[test]
    fn a_signature_is_the_minimum_over_runs() {
        let text: String = ('a'..='z').cycle().take(BATCH + 40).chain('0'..='9').collect();
        let signer = FastSigner::new(70);
        let signature = signer.signature(&text);
        assert_eq!(signature.len(), 70);
        for (i, &value) in signature.iter().enumerate() {
            let group = &signer.groups[i / GROUP];
            let (a, b) = (group.a[i % GROUP], group.b[i % GROUP]);
            let least = run_hashes(&text).map(|hash| a.wrapping_mul(hash).wrapping_add(b)).min();
            assert_eq!(Some(value), least);
        }
        assert_eq!(signer.signature("twelve chars"), [EMPTY; 70]);
    }
}
