//! The original's signature, bit for bit: datasketch 1.x over SHA-1.
//!
//! h is the first four bytes of the SHA-1 of a run, little-endian. Order i maps it to
//! ((a_i h + b_i) mod 2^64 mod (2^61 - 1)) mod 2^32; the signature holds the least value of every order.
//! Runs are hashed 64 at a time and all orders of a batch are evaluated in vectors.

use super::{
    EMPTY, Permutations, SHINGLE_CHARS,
    permutations::PRIME,
    sha1::{Blocks, LANES, WINDOW_BYTES},
    shingles::shingles,
    simd::widest_simd,
};

/// Orders evaluated together: as many as keep their factors, summands and minima in vector registers.
const GROUP: usize = 40;

/// Computes signatures under given orders.
#[derive(Clone, Debug)]
pub struct Signer {
    n: usize,
    groups: Vec<Group>,
}

/// Some orders; unused places repeat nothing and are cut off the signature.
#[derive(Clone, Copy, Debug)]
struct Group {
    a: [u64; GROUP],
    b: [u64; GROUP],
}

impl Signer {
    /// Takes the orders over.
    pub fn new(permutations: &Permutations) -> Self {
        let part = |values: &[u64]| {
            let mut part = [0; GROUP];
            part[..values.len()].copy_from_slice(values);
            part
        };
        let groups = permutations.a.chunks(GROUP).zip(permutations.b.chunks(GROUP));
        let groups = groups.map(|(a, b)| Group { a: part(a), b: part(b) }).collect();
        Self { n: permutations.a.len(), groups }
    }

    /// The signature of a text: one value an order, [`EMPTY`] for a text without runs.
    pub fn signature(&self, text: &str) -> Vec<u32> {
        let mut minima = vec![[u64::from(EMPTY); GROUP]; self.groups.len()];
        match text.is_ascii() {
            true => self.lower_by_ascii(&mut minima, text.as_bytes()),
            false => self.lower_by_any(&mut minima, text),
        }
        minima.into_iter().flatten().take(self.n).map(|value| value as u32).collect()
    }

    /// Runs of single bytes, of which a whole batch is laid out at once.
    fn lower_by_ascii(&self, minima: &mut [[u64; GROUP]], text: &[u8]) {
        let (mut blocks, mut hashes) = (Blocks::new(), [0; LANES]);
        let n_runs = (text.len() + 1).saturating_sub(SHINGLE_CHARS);
        for start in (0..n_runs).step_by(LANES) {
            let mut window = [0; WINDOW_BYTES];
            let rest = &text[start..];
            let n_bytes = rest.len().min(WINDOW_BYTES);
            window[..n_bytes].copy_from_slice(&rest[..n_bytes]);
            blocks.set_windows(&window);
            blocks.hash(&mut hashes);
            self.lower(minima, &hashes[..LANES.min(n_runs - start)]);
        }
    }

    /// Runs of any characters, laid out one by one.
    fn lower_by_any(&self, minima: &mut [[u64; GROUP]], text: &str) {
        let (mut blocks, mut hashes) = (Blocks::new(), [0; LANES]);
        let mut n_pending = 0;
        for (start, end) in shingles(text) {
            blocks.set(n_pending, &text.as_bytes()[start..end]);
            n_pending += 1;
            if n_pending == LANES {
                blocks.hash(&mut hashes);
                self.lower(minima, &hashes);
                blocks.clear();
                n_pending = 0;
            }
        }
        if n_pending > 0 {
            blocks.hash(&mut hashes);
            self.lower(minima, &hashes[..n_pending]);
        }
    }

    fn lower(&self, minima: &mut [[u64; GROUP]], hashes: &[u32]) {
        for (minima, group) in minima.iter_mut().zip(&self.groups) {
            lower_group(minima, &group.a, &group.b, hashes);
        }
    }
}

widest_simd! {
    /// Lowers the minima of some orders to what they make of new hashes.
    fn lower_group(minima: &mut [u64; GROUP], a: &[u64; GROUP], b: &[u64; GROUP], hashes: &[u32])
        = lower_group_body
}

#[inline(always)]
fn lower_group_body(minima: &mut [u64; GROUP], a: &[u64; GROUP], b: &[u64; GROUP], hashes: &[u32]) {
    let mut least = *minima;
    for &hash in hashes {
        for i in 0..GROUP {
            least[i] = least[i].min(value(a[i], b[i], hash));
        }
    }
    *minima = least;
}

/// What an order makes of a hash.
#[inline(always)]
fn value(a: u64, b: u64, hash: u32) -> u64 {
    let sum = a.wrapping_mul(u64::from(hash)).wrapping_add(b);
    // 2^61 is 1 modulo the prime, so the upper three bits are added to the others. The result can exceed
    // the prime once more; then adding one carries into bit 61, and the prime less is one more in the low
    // 32 bits.
    let folded = (sum & PRIME) + (sum >> 61);
    (folded + ((folded + 1) >> 61)) & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_definition(a: u64, b: u64, hash: u32) -> u64 {
        a.wrapping_mul(u64::from(hash)).wrapping_add(b) % PRIME % (1 << 32)
    }

    #[test]
    fn values_are_exact_at_the_edges_of_the_modulus() {
        for b in [0, 1, PRIME - 1, PRIME, PRIME + 1, 2 * PRIME, 8 * PRIME, u64::MAX - 1, u64::MAX] {
            for less in 0..8 {
                let b = b.wrapping_sub(less);
                assert_eq!(value(0, b, 0), by_definition(0, b, 0), "{b}");
            }
        }
    }

    #[test]
    fn texts_without_runs_are_empty() {
        let signer = Signer::new(&Permutations::new(1, 40));
        assert_eq!(signer.signature("twelve chars"), [EMPTY; 40]);
    }

    proptest! {
        #[test]
        fn values_equal_their_definition(a in any::<u64>(), b in any::<u64>(), hash in any::<u32>()) {
            prop_assert_eq!(value(a, b, hash), by_definition(a, b, hash));
        }

        #[test]
        fn a_signature_is_the_minimum_over_runs(text in "[a-c]{0,200}文?[a-c]{0,20}") {
            let permutations = Permutations::new(1, 37);
            let signer = Signer::new(&permutations);
            let chars: Vec<char> = text.chars().collect();
            let mut expected = vec![u64::from(EMPTY); 37];
            for run in chars.windows(super::super::SHINGLE_CHARS) {
                let run: String = run.iter().collect();
                let mut blocks = Blocks::new();
                let mut hashes = [0; LANES];
                blocks.set(3, run.as_bytes());
                blocks.hash(&mut hashes);
                for (i, least) in expected.iter_mut().enumerate() {
                    let value = by_definition(permutations.a[i], permutations.b[i], hashes[3]);
                    *least = value.min(*least);
                }
            }
            let found: Vec<u64> = signer.signature(&text).into_iter().map(u64::from).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
