//! Documents to read: for every rule a few that it dropped, with value and limit, and a few that a stage kept.

use neo_data::{
    pipeline::{Reservoir, Sample, StageAccount},
    write::Value,
};
use serde::Serialize;

use crate::report::chart::short;

/// Samples of a rule that are open; the others are behind a line that can be clicked, and not printed.
const OPEN_SAMPLES: usize = 2;

/// Samples under one heading.
#[derive(Debug, Serialize)]
pub(super) struct Samples {
    rule: String,
    open: Vec<Card>,
    more: Vec<Card>,
}

/// A document as it is shown.
#[derive(Debug, Serialize)]
struct Card {
    id: String,
    source: String,
    n_chars: String,
    /// Why it was dropped.
    reason: Option<String>,
    text: String,
    is_whole: bool,
}

impl Samples {
    /// Of everything that a stage dropped, by rule; those that dropped most first.
    pub(super) fn of_dropped(stage: &StageAccount) -> Vec<Self> {
        let mut rules: Vec<_> = stage.dropped_samples.iter().collect();
        let documents = |rule: &str| stage.rules.get(rule).map_or(0, |tally| tally.documents);
        rules.sort_by_key(|(rule, _)| std::cmp::Reverse(documents(rule)));
        rules.into_iter().map(|(rule, samples)| Self::of(rule, samples)).collect()
    }

    /// Of what a stage kept.
    pub(super) fn of_kept(stage: &StageAccount) -> Self {
        Self::of("kept", &stage.kept_samples)
    }

    fn of(rule: &str, samples: &Reservoir) -> Self {
        let mut open: Vec<Card> = samples.samples().iter().map(Card::of).collect();
        let more = open.split_off(OPEN_SAMPLES.min(open.len()));
        Self { rule: rule.to_owned(), open, more }
    }
}

impl Card {
    fn of(sample: &Sample) -> Self {
        Self {
            id: sample.id.clone(),
            source: sample.source.clone(),
            n_chars: short(sample.n_chars as f64),
            reason: sample.value.as_ref().map(|value| reason(value, sample)),
            text: sample.text.trim().to_owned(),
            is_whole: sample.text.chars().count() as u64 == sample.n_chars,
        }
    }
}

/// What was measured and what would have been kept.
fn reason(value: &Value, sample: &Sample) -> String {
    let value = match value {
        Value::Number(number) => short(*number),
        Value::Text(text) => text.clone(),
    };
    match sample.limit {
        Some(limit) => format!("{value}, kept is {limit}"),
        None => value,
    }
}
