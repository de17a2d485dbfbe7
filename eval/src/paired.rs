//! Two models on the same documents: McNemar's test, a paired bootstrap, and how many questions
//! would tell them apart.
//!
//! Pairing takes the difficulty of the questions out of the comparison, so it sees differences that
//! two separate intervals hide.

use serde::Serialize;

use crate::metric::error::sample_deviation;
use crate::python::random::Random;

/// Draws of the bootstrap.
const DRAWS: usize = 10_000;

/// What two lists of scores of the same documents say about each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Documents compared.
    pub n: usize,
    /// Mean of each.
    pub means: [f64; 2],
    /// Second minus first.
    pub difference: f64,
    /// 95 % interval of the difference by resampling documents.
    pub interval: [f64; 2],
    /// Documents that only the first, only the second got right; for marks of 0 and 1 only.
    pub discordant: Option<[usize; 2]>,
    /// Two-sided p-value of McNemar's exact test; for marks of 0 and 1 only.
    pub mcnemar_p: Option<f64>,
    /// Documents at which a difference of this size would be seen at 5 % in four of five cases.
    pub n_to_tell_apart: Option<u64>,
}

/// Compares scores of the same documents in the same order.
pub fn compare(first: &[f64], second: &[f64]) -> Comparison {
    let n = first.len().min(second.len());
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let is_mark = |value: &f64| *value == 0.0 || *value == 1.0;
    let discordant = first.iter().chain(second).all(is_mark).then(|| {
        let count = |sign: f64| differences.iter().filter(|d| **d == sign).count();
        [count(-1.0), count(1.0)]
    });
    Comparison {
        n,
        means: [mean(&first[..n]), mean(&second[..n])],
        difference: mean(&differences),
        interval: bootstrap(&differences),
        discordant,
        mcnemar_p: discordant.map(mcnemar),
        n_to_tell_apart: needed(&differences),
    }
}

/// Central 95 % of the resampled means.
fn bootstrap(differences: &[f64]) -> [f64; 2] {
    let n = differences.len();
    let mut random = Random::new(0);
    let mut replicate = |_| {
        let sum: f64 = random.choices(n, n).into_iter().map(|i| differences[i]).sum();
        sum / n as f64
    };
    let mut means: Vec<f64> = (0..DRAWS).map(&mut replicate).collect();
    means.sort_by(f64::total_cmp);
    [means[DRAWS * 25 / 1000], means[DRAWS * 975 / 1000 - 1]]
}

/// Chance of a split of the discordant documents at least as uneven, were both models equal.
pub fn mcnemar([first, second]: [usize; 2]) -> f64 {
    let n = first + second;
    let few = first.min(second);
    // Binomial terms of one half, by logarithms so that thousands do not underflow.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=few {
        tail += log_term.exp();
        log_term += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// Documents needed for a power of 80 % at a level of 5 %.
fn needed(differences: &[f64]) -> Option<u64> {
    let n = differences.len();
    let mean = differences.iter().sum::<f64>() / n as f64;
    let deviation = sample_deviation(differences);
    let quantiles = 1.959_963_984_540_054 + 0.841_621_233_572_914;
    (n > 1 && mean != 0.0).then(|| (quantiles * deviation / mean).powi(2).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemars_test_is_the_exact_binomial_one() {
        let check = |split, expected: f64| assert!((mcnemar(split) - expected).abs() < 1e-9);
        check([5, 5], 1.0);
        check([0, 5], 0.0625);
        check([2, 8], 0.109_375);
        check([0, 0], 1.0);
        assert!(mcnemar([2000, 2400]) > 1e-10 && mcnemar([2000, 2400]) < 1e-8);
    }

    #[test]
    fn paired_scores_are_compared_document_by_document() {
        let first = [1.0, 0.0, 0.0, 1.0].repeat(50);
        let second = [1.0, 1.0, 0.0, 1.0].repeat(50);
        let found = compare(&first, &second);
        assert_eq!((found.n, found.difference, found.discordant), (200, 0.25, Some([0, 50])));
        assert!(found.interval[0] > 0.15 && found.interval[1] < 0.35, "{found:?}");
        assert!(found.mcnemar_p.unwrap() < 1e-12);
        assert_eq!(found.n_to_tell_apart, Some(24));
        assert_eq!(compare(&first, &first).n_to_tell_apart, None);
    }
}
