//! A seeded chooser that keeps the account of what its choices cost.
//!
//! Every grammar of the sample corpus draws through it, so the sum of `-ln p` over the choices of a
//! document is known exactly when the document is done.

use sha2::{Digest, Sha256};

/// Draws choices and adds up `-ln` of their probabilities.
pub(super) struct Chooser {
    state: u64,
    nats: f64,
}

impl Chooser {
    /// A stream of its own for each (seed, name, index): documents do not depend on each other.
    pub(super) fn new(seed: u64, stream: &str, index: u64) -> Self {
        let digest = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(index.to_le_bytes())
            .chain_update(stream)
            .finalize();
        let mut first = [0u8; 8];
        first.copy_from_slice(&digest[..8]);
        Self { state: u64::from_le_bytes(first), nats: 0.0 }
    }

    /// Nats spent on all choices so far.
    pub(super) fn nats(&self) -> f64 {
        self.nats
    }

    /// One of `n` equally likely indices.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.nats += (n as f64).ln();
        // At n far below 2^53 the rounding of the product is out of sight.
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    /// One of `options`, equally likely.
    pub(super) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    /// One of `options` that is not `taken`, equally likely; `taken` must be among them.
    pub(super) fn pick_other<T: Copy + PartialEq>(&mut self, options: &[T], taken: T) -> T {
        let idx = self.below(options.len() - 1);
        let mut others = options.iter().filter(|&&option| option != taken);
        *others.nth(idx).expect("all options but one differ from the taken one")
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        let outcome = self.unit() < p;
        self.nats -= if outcome { p.ln() } else { (1.0 - p).ln() };
        outcome
    }

    /// One of `options` with probability proportional to its weight.
    pub(super) fn weighted<T: Copy>(&mut self, options: &[(T, f64)]) -> T {
        let total: f64 = options.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * total;
        let mut chosen = options[options.len() - 1];
        for &option in options {
            if left < option.1 {
                chosen = option;
                break;
            }
            left -= option.1;
        }
        self.nats -= (chosen.1 / total).ln();
        chosen.0
    }

    /// Uniform in `[0, 1)`: the upper 53 bits of SplitMix64 (Steele, Lea, Flood 2014).
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_are_those_of_the_choices() {
        let mut chooser = Chooser::new(1, "test", 0);
        chooser.below(8);
        chooser.pick(&[1, 2, 3, 4]);
        chooser.pick_other(&[1, 2, 3], 2);
        assert!((chooser.nats() - 64f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let mut chooser = Chooser::new(2, "test", 0);
        let n = 20_000;
        let mut counts = [0usize; 3];
        for _ in 0..n {
            counts[chooser.weighted(&[(0, 1.0), (1, 2.0), (2, 5.0)])] += 1;
        }
        let entropy: f64 = [0.125f64, 0.25, 0.625].iter().map(|p| -p * p.ln()).sum();
        for (count, expected) in counts.iter().zip([0.125, 0.25, 0.625]) {
            assert!((*count as f64 / n as f64 - expected).abs() < 0.02, "{counts:?}");
        }
        assert!((chooser.nats() / n as f64 - entropy).abs() < 0.02);
    }

    #[test]
    fn the_taken_option_is_never_picked() {
        let mut chooser = Chooser::new(3, "test", 0);
        assert!((0..200).all(|_| chooser.pick_other(&["a", "b", "c"], "b") != "b"));
    }
}
