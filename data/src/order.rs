//! Our data order: which sample of which source comes when, computed for any single sample in
//! constant time.
//!
//! Pure arithmetic on a key and counts, so that nothing is stored per sample and trillions of
//! tokens cost nothing. The loader turns the answers into tokens. Changing anything here changes
//! the order of every run: raise `DOMAIN`.

use sha2::{Digest, Sha256};

const DOMAIN: &str = "neo data order 1";
/// Rounds of the Feistel network; 4 make it a permutation that looks random, the rest is for tiny
/// domains.
const ROUNDS: u64 = 8;
/// The weights of one mixture are integers that sum to about this, so that shares are exact
/// arithmetic.
const WEIGHT_SCALE: f64 = (1u64 << 53) as f64;

/// Where all randomness of one order comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Key([u64; 4]);

impl Key {
    /// The key of one corpus and seed.
    pub(crate) fn new(corpus_hash: &str, seed: u64) -> Self {
        Self::hash(&[DOMAIN.as_bytes(), corpus_hash.as_bytes(), &seed.to_le_bytes()])
    }

    /// An independent key for one use (a source's name, an epoch's number) of this one.
    pub(crate) fn derive(&self, purpose: &str, number: u64) -> Self {
        let own: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self::hash(&[&own, &number.to_le_bytes(), purpose.as_bytes()])
    }

    fn hash(parts: &[&[u8]]) -> Self {
        let digest =
            parts.iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part)).finalize();
        let (words, _) = digest.as_chunks::<8>();
        Self(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
    }

    /// Image of `index` under a permutation of `0..size`: a Feistel network on the next even number
    /// of bits, applied until the value is in range again (cycle walking; 4 times at most on
    /// average).
    pub(crate) fn permute(&self, size: u64, index: u64) -> u64 {
        debug_assert!(index < size, "index {index} of {size}");
        let half_bits = (u64::BITS - (size - 1).leading_zeros()).div_ceil(2).max(1);
        let mask = (1u64 << half_bits) - 1;
        let mut value = index;
        loop {
            let (mut left, mut right) = (value >> half_bits, value & mask);
            for round in 0..ROUNDS {
                let scrambled = mix(right ^ self.0[round as usize % 4].wrapping_add(round)) >> 32;
                (left, right) = (right, left ^ (scrambled & mask));
            }
            value = left << half_bits | right;
            if value < size {
                return value;
            }
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output
/// bit.
fn mix(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Distributes the samples of the global stream over the sources by weight.
///
/// The samples so far are split in two between the heavier and the lighter sources, each part
/// again, down to one source, every part rounded. What a source has got is so never more than 1.5
/// samples away from its share, at any sample, and its samples come in their own order.
#[derive(Clone, Debug)]
pub(crate) struct Interleaving {
    /// Sources and integer weights, heaviest first.
    sources: Vec<(usize, u64)>,
}

impl Interleaving {
    /// `shares[i]` is the share of source `i`, above 0.
    pub(crate) fn new(shares: &[f64]) -> Self {
        let weight = |share: &f64| ((share * WEIGHT_SCALE) as u64).max(1);
        let mut sources: Vec<(usize, u64)> = shares.iter().map(weight).enumerate().collect();
        sources.sort_by_key(|(source, weight)| (std::cmp::Reverse(*weight), *source));
        Self { sources }
    }

    /// Source of a sample of the global stream, and which of that source's samples it is, counted
    /// from 0.
    pub(crate) fn locate(&self, sample: u64) -> (usize, u64) {
        let mut before = sample; // what the sources still in question have got before this sample
        let mut sources = &self.sources[..];
        while sources.len() > 1 {
            let cut = half(sources);
            let heavy_before = heavy_part(before, sources, cut);
            if heavy_part(before + 1, sources, cut) > heavy_before {
                (sources, before) = (&sources[..cut], heavy_before);
            } else {
                (sources, before) = (&sources[cut..], before - heavy_before);
            }
        }
        (sources[0].0, before)
    }
}

/// How many of the sources, heaviest first, come nearest to half of their weight; at least one, not
/// all.
fn half(sources: &[(usize, u64)]) -> usize {
    let total = weight(sources);
    let (mut heavy, mut cut) = (sources[0].1, 1);
    while cut + 1 < sources.len() {
        let next = heavy + sources[cut].1;
        if next.abs_diff(total - next) >= heavy.abs_diff(total - heavy) {
            break;
        }
        (heavy, cut) = (next, cut + 1);
    }
    cut
}

/// How many of `count` samples the first `cut` sources get, rounded.
fn heavy_part(count: u64, sources: &[(usize, u64)], cut: usize) -> u64 {
    let (heavy, total) = (u128::from(weight(&sources[..cut])), u128::from(weight(sources)));
    ((2 * u128::from(count) * heavy + total) / (2 * total)) as u64
}

fn weight(sources: &[(usize, u64)]) -> u64 {
    sources.iter().map(|(_, weight)| weight).sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn permute_hits_everything_once(size in 1u64..3000, seed: u64) {
            let key = Key::new("corpus", seed);
            let mut images: Vec<u64> = (0..size).map(|i| key.permute(size, i)).collect();
            images.sort_unstable();
            prop_assert!(images.into_iter().eq(0..size));
        }

        #[test]
        fn huge_domains_stay_in_range(size in 1u64.., seed: u64, at: prop::sample::Index) {
            let index = at.index(usize::MAX) as u64 % size;
            prop_assert!(Key::new("corpus", seed).permute(size, index) < size);
        }

        /// Every source's samples come in order without gap, and at any sample in the promised
        /// number.
        #[test]
        fn shares_are_met_at_every_sample(
            weights in vec(1e-6f64..1.0, 1..12),
            first in prop_oneof![Just(0u64), 0u64..1 << 40],
        ) {
            let total: f64 = weights.iter().sum();
            let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
            let order = Interleaving::new(&shares);
            let mut next = vec![None; shares.len()];
            for sample in first..first + 2000 {
                let (source, number) = order.locate(sample);
                prop_assert!(next[source].is_none_or(|next| next == number));
                prop_assert!(first > 0 || next[source].is_some() || number == 0);
                next[source] = Some(number + 1);
                for (next, share) in next.iter().zip(&shares) {
                    let expected = share * (sample + 1) as f64;
                    prop_assert!(next.is_none_or(|next| (next as f64 - expected).abs() <= 1.5));
                }
            }
        }
    }

    #[test]
    fn a_permutation_looks_random() {
        // Of 1000 random permutations of 6, each index is at each place about 167 times (sigma 12).
        for index in 0..6 {
            let mut places = [0u32; 6];
            (0..1000)
                .for_each(|seed| places[Key::new("corpus", seed).permute(6, index) as usize] += 1);
            assert!(places.iter().all(|count| (110..225).contains(count)), "{index}: {places:?}");
        }
        let key = Key::new("corpus", 1);
        let neighbours =
            (0..9999).filter(|i| key.permute(10_000, *i).abs_diff(key.permute(10_000, i + 1)) == 1);
        assert!(neighbours.count() < 12, "2 are expected by chance");
    }

    #[test]
    fn the_order_does_not_change_by_accident() {
        let order = Interleaving::new(&[0.2, 0.5, 0.3]);
        let sources: Vec<_> = (0..10).map(|sample| order.locate(sample).0).collect();
        assert_eq!(sources, [1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        let key = Key::new("corpus", 42).derive("epoch", 1);
        let permuted: Vec<_> = (0..6).map(|index| key.permute(1000, index)).collect();
        assert_eq!(permuted, [309, 840, 462, 324, 888, 354]);
    }
}
