//! BLEU, chrF, chrF++ and TER of a whole corpus, as sacrebleu computes them by default.
//!
//! A document gives counts; the counts of all documents, added up, give the number. So resampling
//! adds and never looks at a text again.

mod bleu;
mod chrf;
mod ter;

/// A measure of how close texts come to the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Precision of n-grams of words with a penalty for being short.
    Bleu,
    /// F score of n-grams of characters.
    Chrf,
    /// The same with n-grams of words.
    ChrfPlus,
    /// Edits that are needed, over the words that are wanted.
    Ter,
}

impl Translation {
    /// The measure that task files call so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bleu" => Self::Bleu,
            "chrf" => Self::Chrf,
            "chrf++" => Self::ChrfPlus,
            "ter" => Self::Ter,
            _ => return None,
        })
    }

    /// What a text counts against the right one.
    pub fn counts(self, gold: &str, answer: &str) -> Vec<u64> {
        match self {
            Self::Bleu => bleu::counts(gold, answer),
            Self::Chrf => chrf::counts(gold, answer, 0),
            Self::ChrfPlus => chrf::counts(gold, answer, chrf::WORD_ORDER),
            Self::Ter => ter::counts(gold, answer),
        }
    }

    /// The number, from 0 to 100 but for TER, which has no end, of counts that were added up.
    pub fn score(self, sums: &[u64]) -> f64 {
        match self {
            Self::Bleu => bleu::score(sums),
            Self::Chrf | Self::ChrfPlus => chrf::score(sums),
            Self::Ter => ter::score(sums),
        }
    }
}

/// How many a list of n-grams has of each.
fn tally<T: std::hash::Hash + Eq>(
    ngrams: impl Iterator<Item = T>,
) -> std::collections::HashMap<T, u64> {
    let mut counts = std::collections::HashMap::new();
    ngrams.for_each(|ngram| *counts.entry(ngram).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Right texts with answers: what tokenizers, n-grams and shifts are sensitive to.
    const PAIRS: [(&str, &str); 8] = [
        ("The cat sat on the mat.", "The cat is on the mat."),
        ("It costs $1,234.50, i.e. 3-4 times more!", "It cost $1,234.50 (3-4 times as much)."),
        ("\"Don't panic,\" she said &amp; left\n", " \"Do not panic\" she said & left."),
        (
            "on Monday the committee of the city met to discuss the new plan for the old harbour",
            "the committee of the city met on Monday to discuss for the old harbour the new plan",
        ),
        ("我们明天去北京。", "明天我们去北京."),
        ("short", ""),
        ("a b c d e f g h", "e f g h a b c d"),
        ("the the the the", "the the the the the the"),
    ];

    fn check(measure: Translation, pairs: &[(&str, &str)], expected: f64) {
        let mut sums: Vec<u64> = Vec::new();
        for (gold, answer) in pairs {
            let counts = measure.counts(gold, answer);
            sums.resize(counts.len(), 0);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let found = measure.score(&sums);
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            "{measure:?}: {found}"
        );
    }

    /// Values of sacrebleu 2.6.0.
    #[test]
    fn numbers_equal_sacrebleus() {
        check(Translation::Bleu, &PAIRS, 47.008714836143405);
        check(Translation::Bleu, &PAIRS[0..=0], 48.892302243490086);
        check(Translation::Bleu, &PAIRS[1..=1], 21.18854509032766);
        check(Translation::Bleu, &PAIRS[2..=2], 42.7287006396234);
        check(Translation::Bleu, &PAIRS[3..=3], 56.234132519034915);
        check(Translation::Bleu, &PAIRS[4..=4], 0.0);
        check(Translation::Bleu, &PAIRS[5..=5], 0.0);
        check(Translation::Bleu, &PAIRS[6..=6], 69.14415692838826);
        check(Translation::Bleu, &PAIRS[7..=7], 50.81327481546149);
        check(Translation::Chrf, &PAIRS, 67.36621980755206);
        check(Translation::Chrf, &PAIRS[0..=0], 64.58166836671698);
        check(Translation::Chrf, &PAIRS[1..=1], 51.080332872090125);
        check(Translation::Chrf, &PAIRS[2..=2], 50.46632109552254);
        check(Translation::Chrf, &PAIRS[3..=3], 85.50718826424472);
        check(Translation::Chrf, &PAIRS[4..=4], 26.884920634920633);
        check(Translation::Chrf, &PAIRS[5..=5], 0.0);
        check(Translation::Chrf, &PAIRS[6..=6], 48.73015873015873);
        check(Translation::Chrf, &PAIRS[7..=7], 88.58244340539596);
        check(Translation::ChrfPlus, &PAIRS, 67.1418721242464);
        check(Translation::ChrfPlus, &PAIRS[0..=0], 67.49301221379969);
        check(Translation::ChrfPlus, &PAIRS[1..=1], 44.70267662679636);
        check(Translation::ChrfPlus, &PAIRS[2..=2], 47.7769223304086);
        check(Translation::ChrfPlus, &PAIRS[3..=3], 86.00539119818353);
        check(Translation::ChrfPlus, &PAIRS[4..=4], 23.044217687074834);
        check(Translation::ChrfPlus, &PAIRS[5..=5], 0.0);
        check(Translation::ChrfPlus, &PAIRS[6..=6], 59.76190476190476);
        check(Translation::ChrfPlus, &PAIRS[7..=7], 88.84818574912775);
        check(Translation::Ter, &PAIRS, 38.0);
        check(Translation::Ter, &PAIRS[0..=0], 16.666666666666664);
        check(Translation::Ter, &PAIRS[1..=1], 85.71428571428571);
        check(Translation::Ter, &PAIRS[2..=2], 83.33333333333334);
        check(Translation::Ter, &PAIRS[3..=3], 11.76470588235294);
        check(Translation::Ter, &PAIRS[4..=4], 100.0);
        check(Translation::Ter, &PAIRS[5..=5], 100.0);
        check(Translation::Ter, &PAIRS[6..=6], 12.5);
        check(Translation::Ter, &PAIRS[7..=7], 50.0);
    }
}
