//! Standard errors as lm-evaluation-harness gives them, and 95 % intervals.
//!
//! Means have the sample's deviation over the root of n; what is no mean is resampled: chunks of
//! 1,000 draws, chunk i seeded with i. Chunks do not depend on one another, so they run in parallel.

use rayon::prelude::*;

use super::{Aggregation, Score};
use crate::python::random::Random;

/// Draws of a chunk.
const CHUNK: usize = 1000;

/// Draws unless the caller says otherwise.
pub const BOOTSTRAP_DRAWS: usize = 100_000;

/// Draws of measures that need whole corpora, at most; that program's number, with which the errors
/// are equal.
const TRANSLATION_DRAWS: usize = 100;

/// Standard error of an aggregation, where there is one.
pub fn standard_error(aggregation: Aggregation, scores: &[Score], draws: usize) -> Option<f64> {
    if draws == 0 || scores.len() < 2 {
        return None;
    }
    match aggregation {
        Aggregation::Mean => {
            let numbers: Vec<f64> = scores.iter().map(Score::number).collect();
            Some(sample_deviation(&numbers) / (numbers.len() as f64).sqrt())
        }
        Aggregation::Median | Aggregation::Mcc | Aggregation::F1 | Aggregation::Perplexity => {
            Some(sample_deviation(&replicates(aggregation, scores, draws)))
        }
        Aggregation::Translation(_) => {
            let draws = draws.min(TRANSLATION_DRAWS);
            Some(sample_deviation(&replicates(aggregation, scores, draws)))
        }
        _ => None,
    }
}

/// The aggregation over resampled documents.
fn replicates(aggregation: Aggregation, scores: &[Score], draws: usize) -> Vec<f64> {
    let chunk = CHUNK.min(draws);
    let n = scores.len();
    let one_chunk = |seed: usize| {
        let mut random = Random::new(seed as u64);
        let mut replicate = || {
            let mut picked = (0..n).map(|_| (random.random() * n as f64).floor() as usize);
            aggregation.of_picked(scores, &mut picked)
        };
        (0..chunk).map(|_| replicate()).collect::<Vec<f64>>()
    };
    (0..draws / chunk).into_par_iter().flat_map_iter(one_chunk).collect()
}

/// Root of the mean squared distance over n - 1.
pub fn sample_deviation(numbers: &[f64]) -> f64 {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

/// Error of a group's mean weighted by size, from its tasks' errors: the pooled variance.
pub fn pooled(errors: &[f64], sizes: &[usize]) -> f64 {
    let total: usize = sizes.iter().sum();
    let each =
        errors.iter().zip(sizes).map(|(error, &n)| (n as f64 - 1.0) * error.powi(2) * n as f64);
    let variance = each.sum::<f64>() / (total - sizes.len()) as f64;
    (variance / total as f64).sqrt()
}

/// Error of a group's plain mean.
pub fn unweighted(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error.powi(2)).sum::<f64>().sqrt() / errors.len() as f64
}

/// 95 % interval of an aggregation, where one can be told.
///
/// Shares of right answers have Wilson's, other means and resampled numbers the normal one, ratios of
/// sums the one of the linearised ratio.
pub fn interval(
    aggregation: Aggregation,
    scores: &[Score],
    value: f64,
    error: Option<f64>,
) -> Option<[f64; 2]> {
    let is_mark = |score: &Score| matches!(score, Score::Number(x) if *x == 0.0 || *x == 1.0);
    match (aggregation, error) {
        (Aggregation::Mean, _) if !scores.is_empty() && scores.iter().all(is_mark) => {
            Some(wilson_interval(value, scores.len()))
        }
        (Aggregation::WeightedPerplexity | Aggregation::BitsPerByte, _) => {
            let [low, high] = ratio_interval(scores)?;
            Some(match aggregation {
                Aggregation::BitsPerByte => [low, high].map(|nats| nats / std::f64::consts::LN_2),
                _ => [low.exp(), high.exp()],
            })
        }
        (_, Some(error)) => Some(normal_interval(value, error)),
        _ => None,
    }
}

/// 95 % interval of minus the sum over the sum of weights.
fn ratio_interval(scores: &[Score]) -> Option<[f64; 2]> {
    let parts: Vec<(f64, f64)> = scores
        .iter()
        .filter_map(|score| match score {
            Score::Weighted(sum, weight) => Some((-sum, *weight as f64)),
            _ => None,
        })
        .collect();
    let n = parts.len() as f64;
    if parts.len() < 2 {
        return None;
    }
    let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
    let ratio = parts.iter().map(|(sum, _)| sum).sum::<f64>() / total;
    let squares: f64 = parts.iter().map(|(sum, weight)| (sum - ratio * weight).powi(2)).sum();
    Some(normal_interval(ratio, (squares * n / (n - 1.0)).sqrt() / total))
}

/// Two-sided 95 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// 95 % interval of a share of right answers: Wilson's, which stays inside [0, 1] and is not empty
/// when all or none are right.
pub fn wilson_interval(share: f64, n: usize) -> [f64; 2] {
    let n = n as f64;
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / denominator;
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// 95 % interval by the normal approximation.
pub fn normal_interval(value: f64, error: f64) -> [f64; 2] {
    [value - Z * error, value + Z * error]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_what_they_should() {
        let [low, high] = wilson_interval(0.5, 100);
        assert!((low - 0.403_831_53).abs() < 1e-6 && (high - 0.596_168_47).abs() < 1e-6);
        let [low, high] = wilson_interval(0.0, 10);
        assert!(low == 0.0 && (high - 0.277_532_8).abs() < 1e-6);
    }

    #[test]
    fn errors_of_means_and_groups() {
        let scores = [1.0, 0.0, 1.0, 1.0].map(Score::Number);
        let error = standard_error(Aggregation::Mean, &scores, 1000).unwrap();
        assert!((error - 0.25).abs() < 1e-15);
        assert!((pooled(&[0.1, 0.1], &[10, 10]) - (0.1f64 / 20.0).sqrt()).abs() < 1e-15);
        assert!((unweighted(&[0.3, 0.4]) - 0.25).abs() < 1e-15);
        assert_eq!(standard_error(Aggregation::Brier, &scores, 1000), None);
    }
}
