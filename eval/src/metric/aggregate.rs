//! From the scores of all documents to one number.

use std::f64::consts::LN_2;

use super::{Score, Translation};

/// How scores become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// Sum over count.
    Mean,
    /// The upper of the two in the middle.
    Median,
    /// exp of minus the mean.
    Perplexity,
    /// exp of minus sum over sum of weights.
    WeightedPerplexity,
    /// Minus sum over sum of weights over ln 2.
    BitsPerByte,
    /// F1 of class 1.
    F1,
    /// Matthews correlation of any number of classes.
    Mcc,
    /// Mean squared distance of the probabilities.
    Brier,
    /// How close texts come to the right ones, over all of them.
    Translation(Translation),
    /// Nothing is measured; the samples are what is wanted.
    Bypass,
}

impl Aggregation {
    /// The aggregation that task files call so.
    ///
    /// # Errors
    /// An unknown name.
    pub fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "mean" | "nanmean" => Self::Mean,
            "median" => Self::Median,
            "perplexity" => Self::Perplexity,
            "weighted_perplexity" => Self::WeightedPerplexity,
            "bits_per_byte" => Self::BitsPerByte,
            "f1" => Self::F1,
            "matthews_corrcoef" => Self::Mcc,
            "brier_score" => Self::Brier,
            "bypass" => Self::Bypass,
            other => {
                let unknown = || format!("aggregation `{other}` is unknown");
                Self::Translation(Translation::named(other).ok_or_else(unknown)?)
            }
        })
    }

    /// The number of `scores`, which are of the kind that the metric gives.
    pub fn of(self, scores: &[Score]) -> f64 {
        self.of_picked(scores, &mut (0..scores.len()))
    }

    /// The number of the scores at `picked`, for resampling without copies.
    pub fn of_picked(self, scores: &[Score], picked: &mut dyn Iterator<Item = usize>) -> f64 {
        let scores = &mut picked.map(|i| &scores[i]);
        match self {
            Self::Mean => mean(scores),
            Self::Median => median(scores),
            Self::Perplexity => (-mean(scores)).exp(),
            Self::WeightedPerplexity => (-weighted_mean(scores)).exp(),
            Self::BitsPerByte => -weighted_mean(scores) / LN_2,
            Self::F1 => f1(scores),
            Self::Mcc => mcc(scores),
            Self::Brier => brier(scores),
            Self::Translation(measure) => measure.score(&counts(scores)),
            Self::Bypass => 999.0,
        }
    }
}

impl Score {
    /// The score as a number; classes count 1 when equal.
    pub fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Classes { gold, predicted } => f64::from(u8::from(gold == predicted)),
            Self::Weighted(sum, weight) => sum / *weight as f64,
            Self::Probabilities { gold, probabilities } => squared_distance(*gold, probabilities),
            // They mean something together only.
            Self::Counts(_) => f64::NAN,
        }
    }
}

type Scores<'a, 'b> = &'a mut dyn Iterator<Item = &'b Score>;

fn mean(scores: Scores<'_, '_>) -> f64 {
    let (sum, n) = scores.fold((0.0, 0u64), |(sum, n), score| (sum + score.number(), n + 1));
    sum / n as f64
}

fn median(scores: Scores<'_, '_>) -> f64 {
    let mut numbers: Vec<f64> = scores.map(Score::number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn weighted_mean(scores: Scores<'_, '_>) -> f64 {
    let add = |(sum, total): (f64, u64), score: &Score| match score {
        Score::Weighted(part, weight) => (sum + part, total + weight),
        other => (sum + other.number(), total + 1),
    };
    let (sum, total) = scores.fold((0.0, 0), add);
    sum / total as f64
}

fn classes(score: &Score) -> (i64, i64) {
    match score {
        Score::Classes { gold, predicted } => (*gold, *predicted),
        other => (1, other.number() as i64),
    }
}

fn f1(scores: Scores<'_, '_>) -> f64 {
    let (mut both, mut gold_only, mut predicted_only) = (0u64, 0u64, 0u64);
    for (gold, predicted) in scores.map(classes) {
        both += u64::from(gold == 1 && predicted == 1);
        gold_only += u64::from(gold == 1 && predicted != 1);
        predicted_only += u64::from(gold != 1 && predicted == 1);
    }
    let all = 2 * both + gold_only + predicted_only;
    if all == 0 { 0.0 } else { 2.0 * both as f64 / all as f64 }
}

/// Gorodkin's multi-class form, as scikit-learn computes it.
fn mcc(scores: Scores<'_, '_>) -> f64 {
    let mut golds = std::collections::BTreeMap::<i64, (f64, f64)>::new();
    let (mut n, mut right) = (0.0, 0.0);
    for (gold, predicted) in scores.map(classes) {
        golds.entry(gold).or_default().0 += 1.0;
        golds.entry(predicted).or_default().1 += 1.0;
        n += 1.0;
        right += f64::from(u8::from(gold == predicted));
    }
    let dot = |f: fn(&(f64, f64)) -> f64| golds.values().map(f).sum::<f64>();
    let covariance = right * n - dot(|(gold, predicted)| gold * predicted);
    let of_predicted = n * n - dot(|(_, predicted)| predicted * predicted);
    let of_gold = n * n - dot(|(gold, _)| gold * gold);
    let product = of_predicted * of_gold;
    if product == 0.0 { 0.0 } else { covariance / product.sqrt() }
}

/// The counts of all scores, added up.
fn counts(scores: Scores<'_, '_>) -> Vec<u64> {
    let mut sums: Vec<u64> = Vec::new();
    for score in scores {
        let Score::Counts(counts) = score else { continue };
        sums.resize(counts.len(), 0);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

fn brier(scores: Scores<'_, '_>) -> f64 {
    mean(scores)
}

fn squared_distance(gold: usize, probabilities: &[f64]) -> f64 {
    let one = |i| if i == gold { 1.0 } else { 0.0 };
    probabilities.iter().enumerate().map(|(i, p)| (p - one(i)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_measures_equal_scikit_learns() {
        let pairs = [(0, 0), (1, 1), (1, 0), (1, 1), (0, 1), (1, 1)];
        let scores = pairs.map(|(gold, predicted)| Score::Classes { gold, predicted });
        assert!((Aggregation::F1.of(&scores) - 0.75).abs() < 1e-15);
        assert!((Aggregation::Mcc.of(&scores) - 0.25).abs() < 1e-15);
        let pairs = [(0, 0), (1, 2), (2, 2), (2, 1), (0, 0)];
        let scores = pairs.map(|(gold, predicted)| Score::Classes { gold, predicted });
        assert!((Aggregation::Mcc.of(&scores) - 0.375).abs() < 1e-15);
    }

    #[test]
    fn perplexities_are_ratios_of_sums() {
        let scores = [Score::Weighted(-2.0, 3), Score::Weighted(-1.0, 1)];
        assert!((Aggregation::BitsPerByte.of(&scores) - 0.75 / LN_2).abs() < 1e-15);
        assert!((Aggregation::WeightedPerplexity.of(&scores) - 0.75f64.exp()).abs() < 1e-15);
        let numbers = [Score::Number(3.0), Score::Number(1.0)];
        assert_eq!(Aggregation::Median.of(&numbers), 3.0);
    }
}
