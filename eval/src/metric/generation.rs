//! Scores of a document for which the model has written text.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Metric, Score, Translation, math, text};
use crate::Result;
use crate::filter::compiled;
use crate::python::regex::Pattern;
use crate::task::{self, Document, Task};

/// Settings of the metrics that compare texts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Parts that both sides lose, in this order.
    pub ignored: Vec<Arc<Pattern>>,
    /// Compare in lower case.
    pub ignore_case: bool,
    /// Leave ASCII punctuation out.
    pub ignore_punctuation: bool,
    /// Leave ASCII digits out.
    pub ignore_numbers: bool,
    /// Compare characters instead of words where there are Chinese ones.
    pub by_character: bool,
    /// For how many draws `pass_at_k` is told.
    pub k: Vec<usize>,
}

impl Settings {
    /// Reads the settings of a metric.
    ///
    /// # Errors
    /// A setting that the metric does not have.
    pub(super) fn new(metric: &str, given: &Map<String, Value>) -> Result<Self, String> {
        let known: &[&str] = match metric {
            "exact_match" => {
                &["regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers"]
            }
            "token_f1" => &["by_character"],
            "pass_at_k" => &["k"],
            _ => &[],
        };
        if let Some(key) = given.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("metric `{metric}` has no setting `{key}`"));
        }
        let flag = |key: &str| given.get(key) == Some(&Value::Bool(true));
        let list =
            |key: &str| given.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let k = match given.get("k") {
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_u64).collect(),
            Some(one) => one.as_u64().into_iter().collect(),
            None => vec![1],
        };
        Ok(Self {
            ignored: compiled(list("regexes_to_ignore"))?,
            ignore_case: flag("ignore_case"),
            ignore_punctuation: flag("ignore_punctuation"),
            ignore_numbers: flag("ignore_numbers"),
            by_character: flag("by_character"),
            k: k.into_iter().map(|k| k as usize).collect(),
        })
    }
}

/// Scores of one document under every metric that compares texts, in their order.
///
/// # Errors
/// A template that does not fit the document, or filters that leave no single text.
pub fn scores(task: &Task, document: &Document, answer: &Value) -> Result<Vec<(String, Score)>> {
    let golds = golds(task, document)?;
    let mut scores = Vec::new();
    for metric in &task.definition.metrics {
        let score = match metric.name.as_str() {
            "bypass" => Score::Number(0.0),
            "pass_at_k" => continue,
            name => {
                let Value::String(answer) = answer else {
                    let problem =
                        format!("its filters leave {answer} to `{}`, expected a text", metric.name);
                    return Err(task.definition.error(problem));
                };
                match Translation::named(name) {
                    Some(measure) => Score::Counts(measure.counts(only(task, &golds)?, answer)),
                    None => Score::Number(compare(metric, &golds, answer)?),
                }
            }
        };
        scores.push((metric.name.clone(), score));
    }
    Ok(scores)
}

/// The one right text; measures of a corpus know no more than one, as in that program.
fn only<'a>(task: &Task, golds: &'a [String]) -> Result<&'a str> {
    match golds {
        [gold] => Ok(gold),
        several => Err(task.definition.error(format!(
            "a document has {} targets, expected one for `bleu`, `chrf`, `chrf++` and `ter`",
            several.len()
        ))),
    }
}

/// The best that a text scores against any of the right ones.
fn compare(metric: &Metric, golds: &[String], answer: &str) -> Result<f64> {
    let mut best: f64 = 0.0;
    for gold in golds {
        let score = match metric.name.as_str() {
            "exact_match" => {
                f64::from(u8::from(text::exact_match(&metric.settings, gold, answer)?))
            }
            "token_f1" => text::token_f1(gold, answer, metric.settings.by_character),
            "math_equal" => f64::from(u8::from(math::is_equal(gold, answer)?)),
            "number_equal" => f64::from(u8::from(math::is_number_equal(gold, answer))),
            _ => 0.0,
        };
        best = best.max(score);
    }
    Ok(best)
}

/// The texts that count as right.
fn golds(task: &Task, document: &Document) -> Result<Vec<String>> {
    let target = task.target(document)?;
    if task.definition.choice.is_some() {
        let choices = task.choices(document)?;
        let place = task::index(&target, choices.len());
        let missing =
            || task.definition.error(format!("the target {target} is none of the choices"));
        return Ok(vec![choices[place.ok_or_else(missing)?].clone()]);
    }
    Ok(match target {
        Value::Array(several) if task.has_several_targets() => {
            several.iter().map(task::as_text).collect()
        }
        one => vec![task::as_text(&one)],
    })
}

/// Unbiased estimate of passing at least once in `k` draws, from `right` of `n`.
pub fn pass_at_k(n: usize, right: usize, k: usize) -> f64 {
    if n - right < k {
        return 1.0;
    }
    1.0 - (n - right + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_at_k_is_the_share_of_draws_with_a_right_one() {
        assert_eq!(pass_at_k(5, 0, 1), 0.0);
        assert!((pass_at_k(5, 2, 1) - 0.4).abs() < 1e-15);
        assert!((pass_at_k(5, 2, 2) - 0.7).abs() < 1e-15);
        assert_eq!(pass_at_k(5, 4, 2), 1.0);
    }
}
