//! MinHash deduplication: documents that share one of 9 bands of their signature are near copies of each
//! other; of every connected component the one with the smallest id stays.
//!
//! A text is seen as the set of its runs of 13 characters (English after [`normalise::english`]); its
//! signature are the minima of that set under 128 random orders; a band is 13 of them. Two texts with Jaccard
//! similarity s share a band with probability 1 - (1 - s^13)^9, one half at 0.82. Candidates are not verified,
//! as in the original.
//!
//! [`Scheme::Original`] equals the original, datasketch 1.x, bit for bit. [`Scheme::Fast`] is a signature of
//! our own with the same probabilities, several times faster.
//!
//! A text of fewer than 13 characters has no run. Faithfully, all such texts are copies of each other;
//! [`Mode::Corrected`] leaves them alone.

mod fast;
pub mod normalise;
pub mod original;
mod permutations;
mod sha1;
mod shingles;
mod simd;

use std::borrow::Cow;

pub use self::{fast::FastSigner, original::Signer, permutations::Permutations};
use serde::{Deserialize, Serialize};

use super::{Compares, Key, Method, Mode, Order};
use crate::{Document, Language};

/// Characters of a run.
pub const SHINGLE_CHARS: usize = 13;
/// Values of a signature in the original, of which [`N_BANDS`] times [`BAND_ROWS`] are used.
pub const N_PERMUTATIONS: usize = 128;
/// Bands of a signature.
pub const N_BANDS: usize = 9;
/// Values of a band.
pub const BAND_ROWS: usize = 13;
/// Value of every place in the signature of a text without runs.
pub const EMPTY: u32 = u32::MAX;
/// Seed of the original's permutations.
pub const SEED: u32 = 1;

/// How signatures are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// As in the original: SHA-1 of every run, arithmetic modulo 2^61 - 1.
    Original,
    /// Rolling hash of every run, 32-bit arithmetic.
    Fast,
}

/// What is done to texts before runs are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Nothing to Chinese, all others as English: what the original did to either.
    ByLanguage,
    /// All as English.
    English,
    /// Nothing.
    None,
}

/// Near copies.
#[derive(Clone, Debug)]
pub struct MinHash {
    scheme: Scheme,
    mode: Mode,
    normalise: Normalise,
    signer: AnySigner,
}

#[derive(Clone, Debug)]
enum AnySigner {
    Original(Signer),
    Fast(FastSigner),
}

impl MinHash {
    /// Prepares the random orders.
    pub fn new(scheme: Scheme, normalise: Normalise, mode: Mode) -> Self {
        let n_used = N_BANDS * BAND_ROWS;
        let signer = match scheme {
            Scheme::Original => AnySigner::Original(Signer::new(&Permutations::new(SEED, n_used))),
            Scheme::Fast => AnySigner::Fast(FastSigner::new(n_used)),
        };
        Self { scheme, mode, normalise, signer }
    }

    /// The text whose runs are taken.
    pub fn normalised<'a>(&self, document: &'a Document) -> Cow<'a, str> {
        let as_english = match self.normalise {
            Normalise::English => true,
            Normalise::None => false,
            Normalise::ByLanguage => document.language != Language::Zh,
        };
        match as_english {
            true => Cow::Owned(normalise::english(&document.text)),
            false => Cow::Borrowed(&document.text),
        }
    }

    fn signature(&self, text: &str) -> Vec<u32> {
        match &self.signer {
            AnySigner::Original(signer) => signer.signature(text),
            AnySigner::Fast(signer) => signer.signature(text),
        }
    }
}

/// The bytes of a band as the original joins them: its values as big-endian numbers of 64 bits.
pub fn band_bytes(signature: &[u32], band: usize) -> [u8; 8 * BAND_ROWS] {
    let mut bytes = [0; 8 * BAND_ROWS];
    let values = &signature[band * BAND_ROWS..(band + 1) * BAND_ROWS];
    for (place, &value) in bytes.chunks_exact_mut(8).zip(values) {
        place.copy_from_slice(&u64::from(value).to_be_bytes());
    }
    bytes
}

/// The key of a band: equal bands of different numbers have different keys.
fn band_key(signature: &[u32], band: usize) -> Key {
    let mut bytes = [0; 1 + 8 * BAND_ROWS];
    bytes[0] = band as u8;
    bytes[1..].copy_from_slice(&band_bytes(signature, band));
    Key::of(&bytes)
}

impl Method for MinHash {
    fn name(&self) -> &'static str {
        "minhash"
    }

    fn settings(&self) -> serde_json::Value {
        let (scheme, normalise, mode) = (self.scheme, self.normalise, self.mode);
        serde_json::json!({ "scheme": scheme, "normalise": normalise, "mode": mode })
    }

    fn compares(&self) -> Compares {
        Compares::Documents(Order::Id)
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        let text = self.normalised(document);
        if self.mode == Mode::Corrected && text.chars().nth(SHINGLE_CHARS - 1).is_none() {
            return Vec::new();
        }
        let signature = self.signature(&text);
        (0..N_BANDS).map(|band| (band as u32, band_key(&signature, band))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::laws, *};

    fn check(mode: Mode, texts: &[&str], expected: &[&str]) {
        for scheme in [Scheme::Original, Scheme::Fast] {
            let method = MinHash::new(scheme, Normalise::English, mode);
            let left = laws::left(&method, texts);
            assert_eq!(left.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn near_copies_go_and_short_texts_are_all_alike() {
        let text = "It was the best of times, it was the worst of times, it was the age of wisdom";
        let changed = text.to_uppercase().replace(", ", " -- ");
        let other = "Call me Ishmael. Some years ago, never mind how long precisely, I went to sea";
        let texts = [text, &changed, other, "short", "also short"];
        check(Mode::Faithful, &texts, &[text, other, "short"]);
        check(Mode::Corrected, &texts, &[text, other, "short", "also short"]);
    }

    #[test]
    fn normalisation_follows_the_language() {
        let method = MinHash::new(Scheme::Fast, Normalise::ByLanguage, Mode::Faithful);
        let mut document = laws::document("i", "A  B.");
        assert_eq!(method.normalised(&document), "a b");
        document.language = Language::Zh;
        assert_eq!(method.normalised(&document), "A  B.");
    }

    /// Texts of a given length over a large alphabet, the second with its end changed; their similarity.
    fn pair(seed: u64, n_shared: usize, n_other: usize) -> (String, String, f64) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + (state % 26) as u8)
        };
        let shared: String = (0..n_shared + SHINGLE_CHARS - 1).map(|_| next()).collect();
        let mut other = || -> String { (0..n_other).map(|_| next()).collect() };
        let (a, b) = (format!("{shared}{}", other()), format!("{shared}{}", other()));
        (a, b, n_shared as f64 / (n_shared + 2 * n_other) as f64)
    }

    /// The share of pairs that share a band, for similarities around the threshold, against the formula.
    fn check_curve(scheme: Scheme) {
        let method = MinHash::new(scheme, Normalise::None, Mode::Faithful);
        const N_PAIRS: u64 = 1500;
        for n_other in [16, 24, 32, 48, 64] {
            let mut n_candidates = 0;
            let mut expected = 0.0;
            for seed in 0..N_PAIRS {
                let (a, b, similarity) = pair(seed + 1_000_003 * n_other, 400, n_other as usize);
                let keys = |text: &str| method.keys(&laws::document("i", text));
                let shared = keys(&a).iter().zip(keys(&b)).any(|(a, b)| *a == b);
                n_candidates += u64::from(shared);
                let one_band = similarity.powi(BAND_ROWS as i32);
                expected += 1.0 - (1.0 - one_band).powi(N_BANDS as i32);
            }
            let share = expected / N_PAIRS as f64;
            let deviation = (share * (1.0 - share) / N_PAIRS as f64).sqrt();
            let found = n_candidates as f64 / N_PAIRS as f64;
            assert!(
                (found - share).abs() < 4.0 * deviation,
                "{scheme:?}: {found} of pairs found, expected {share} +- {deviation}"
            );
        }
    }

    #[test]
    fn the_original_signature_follows_the_curve() {
        check_curve(Scheme::Original);
    }

    #[test]
    fn the_fast_signature_follows_the_curve() {
        check_curve(Scheme::Fast);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn obeys_the_laws(
            texts in proptest::collection::vec("(the quick brown fox jumps over|lazy dogs){1,3}[xy]{0,2}", 12),
            order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            for scheme in [Scheme::Original, Scheme::Fast] {
                for mode in [Mode::Faithful, Mode::Corrected] {
                    laws::check(&MinHash::new(scheme, Normalise::English, mode), &texts, &order);
                }
            }
        }
    }
}
