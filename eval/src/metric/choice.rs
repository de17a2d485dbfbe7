//! Scores of a document whose choices the model has weighed.

use super::{Metric, Score};
use crate::Result;
use crate::task::{self, Document, Task};
use serde_json::Value;

/// Log-likelihood of a continuation, and whether each of its tokens was the most probable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogLikelihood {
    /// In nats.
    pub sum: f64,
    /// Whether greedy decoding would have written it.
    pub greedy: bool,
}

/// Index of the highest, the first of equals; what is no number counts as highest, as in NumPy.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if value.is_nan() {
            return i;
        }
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Which choice is right.
enum Gold {
    One(Option<usize>),
    AnyOf(Vec<Option<usize>>),
}

/// Scores of one document under every metric of its task, in their order.
///
/// # Errors
/// A template that does not fit the document.
pub fn scores(
    task: &Task,
    document: &Document,
    answers: &[LogLikelihood],
) -> Result<Vec<(String, Score)>> {
    let choices = task.choices(document)?;
    let n = choices.len();
    let sums: Vec<f64> = answers.iter().take(n).map(|answer| answer.sum).collect();
    let gold = gold(task, document, &choices)?;
    let view = View { choices: &choices, sums, answers, gold: &gold };
    let score = |metric: &Metric| Some((metric.name.clone(), view.score(&metric.name)?));
    Ok(task.definition.metrics.iter().filter_map(score).collect())
}

struct View<'a> {
    choices: &'a [String],
    sums: Vec<f64>,
    answers: &'a [LogLikelihood],
    gold: &'a Gold,
}

impl View<'_> {
    fn score(&self, metric: &str) -> Option<Score> {
        Some(match metric {
            "acc" => self.right(argmax(&self.sums)),
            "acc_norm" => self.right(self.per(|choice| choice.chars().count())),
            "acc_bytes" => self.right(self.per(str::len)),
            "acc_mutual_info" => self.mutual_information(),
            "exact_match" => self.greedy(),
            "f1" | "mcc" => self.classes(),
            "brier_score" => Score::Probabilities {
                gold: self.first_gold()?,
                probabilities: softmax(&self.sums),
            },
            _ => return None,
        })
    }

    fn per(&self, length: impl Fn(&str) -> usize) -> usize {
        let per = |(sum, choice): (&f64, &String)| sum / length(choice) as f64;
        argmax(&self.sums.iter().zip(self.choices).map(per).collect::<Vec<f64>>())
    }

    fn right(&self, chosen: usize) -> Score {
        let right = match self.gold {
            Gold::One(gold) => *gold == Some(chosen),
            Gold::AnyOf(several) => several.contains(&Some(chosen)),
        };
        Score::Number(f64::from(u8::from(right)))
    }

    fn mutual_information(&self) -> Score {
        let unconditional = self.answers[self.choices.len()..].iter().map(|answer| answer.sum);
        let gains: Vec<f64> = self.sums.iter().zip(unconditional).map(|(c, u)| c - u).collect();
        let right = matches!(self.gold, Gold::One(Some(gold)) if *gold == argmax(&gains));
        Score::Number(f64::from(u8::from(right)))
    }

    fn greedy(&self) -> Score {
        let greedy = |gold: &Option<usize>| {
            gold.is_some_and(|gold| self.answers.get(gold).is_some_and(|answer| answer.greedy))
        };
        let right = match self.gold {
            Gold::One(gold) => greedy(gold),
            Gold::AnyOf(several) => several.iter().any(greedy),
        };
        Score::Number(f64::from(u8::from(right)))
    }

    fn classes(&self) -> Score {
        let gold = self.first_gold().map_or(-100, |gold| gold as i64);
        Score::Classes { gold, predicted: argmax(&self.sums) as i64 }
    }

    fn first_gold(&self) -> Option<usize> {
        match self.gold {
            Gold::One(gold) => *gold,
            Gold::AnyOf(several) => several.first().copied().flatten(),
        }
    }
}

fn gold(task: &Task, document: &Document, choices: &[String]) -> Result<Gold> {
    let value = match task.choices_are_contexts() {
        true => task.text(document)?,
        false => task.target(document)?,
    };
    let place = |value: &Value| match value {
        Value::String(text) => choices.iter().position(|choice| choice == text),
        // Unlike a shot's answer, a negative index is no choice.
        other if task::is_index(other) && other.as_i64().is_none_or(|i| i >= 0) => {
            task::index(other, choices.len())
        }
        _ => None,
    };
    let found = match &value {
        Value::Array(several) => Gold::AnyOf(several.iter().map(place).collect()),
        one => Gold::One(place(one)),
    };
    if matches!(&found, Gold::One(None)) {
        let task = &task.definition.task;
        tracing::warn!(task, gold = %value, "the right answer is none of the choices");
    }
    Ok(found)
}

fn softmax(sums: &[f64]) -> Vec<f64> {
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = sums.iter().map(|sum| (sum - highest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_wins() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(argmax(&[1.0, f64::NAN, 3.0]), 1);
        assert_eq!(argmax(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), 0);
    }
}
