//! Metrics: what a document scores, how a task's scores become one number, and its error.
//!
//! `choice` and `generation` score a document, `aggregate` joins the scores, `error` gives the
//! standard error as lm-evaluation-harness does, `text` holds the ways of comparing texts, and
//! `translation` those that a whole corpus is compared by.

pub mod aggregate;
pub mod choice;
pub mod error;
pub mod generation;
pub mod math;
pub mod text;
pub mod translation;

use serde_json::{Map, Value};

pub use self::aggregate::Aggregation;
pub use self::translation::Translation;

use crate::task::Output;

/// A metric of a task with its settings.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name, under which results list it.
    pub name: String,
    /// How scores of documents become one number.
    pub aggregation: Aggregation,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Its own settings.
    pub settings: generation::Settings,
}

/// What one document scores.
#[derive(Clone, Debug, PartialEq)]
pub enum Score {
    /// A number.
    Number(f64),
    /// Right and given class.
    Classes {
        /// The right one; -100 when it is no choice.
        gold: i64,
        /// The one of highest score.
        predicted: i64,
    },
    /// A sum with what it is divided by.
    Weighted(f64, u64),
    /// Right class and the probability of each.
    Probabilities {
        /// The right one.
        gold: usize,
        /// Softmax of the scores.
        probabilities: Vec<f64>,
    },
    /// Counts that are added up before they become a number.
    Counts(Vec<u64>),
}

/// Name, usual aggregation, whether more is better, and the outputs it suits.
const KNOWN: [(&str, Aggregation, bool, &[Output]); 21] = [
    ("acc", Aggregation::Mean, true, &[Output::Choice, Output::LogLikelihood]),
    ("acc_norm", Aggregation::Mean, true, &[Output::Choice]),
    ("acc_bytes", Aggregation::Mean, true, &[Output::Choice]),
    ("acc_mutual_info", Aggregation::Mean, true, &[Output::Choice]),
    ("f1", Aggregation::F1, true, &[Output::Choice, Output::Generate]),
    ("mcc", Aggregation::Mcc, true, &[Output::Choice]),
    ("brier_score", Aggregation::Brier, false, &[Output::Choice]),
    ("exact_match", Aggregation::Mean, true, &[Output::Choice, Output::Generate]),
    ("perplexity", Aggregation::Perplexity, false, &[Output::LogLikelihood]),
    ("word_perplexity", Aggregation::WeightedPerplexity, false, &[Output::Rolling]),
    ("byte_perplexity", Aggregation::WeightedPerplexity, false, &[Output::Rolling]),
    ("bits_per_byte", Aggregation::BitsPerByte, false, &[Output::Rolling]),
    ("bypass", Aggregation::Bypass, true, &[Output::Generate]),
    ("token_f1", Aggregation::Mean, true, &[Output::Generate]),
    ("math_equal", Aggregation::Mean, true, &[Output::Generate]),
    ("number_equal", Aggregation::Mean, true, &[Output::Generate]),
    ("pass_at_k", Aggregation::Mean, true, &[Output::Generate]),
    ("bleu", Aggregation::Translation(Translation::Bleu), true, &[Output::Generate]),
    ("chrf", Aggregation::Translation(Translation::Chrf), true, &[Output::Generate]),
    ("chrf++", Aggregation::Translation(Translation::ChrfPlus), true, &[Output::Generate]),
    ("ter", Aggregation::Translation(Translation::Ter), false, &[Output::Generate]),
];

impl Metric {
    /// Reads an entry of `metric_list`.
    ///
    /// # Errors
    /// A metric or an aggregation that is unknown.
    pub fn new(entry: &Value) -> Result<Self, String> {
        let Some(entry) = entry.as_object() else {
            return Err("an entry of `metric_list` is a mapping with `metric`".into());
        };
        let name = entry.get("metric").and_then(Value::as_str).unwrap_or_default();
        let Some((_, usual, higher, _)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<String> = KNOWN.iter().map(|(name, ..)| format!("`{name}`")).collect();
            return Err(format!(
                "metric `{name}` is unknown, expected one of {}",
                known.join(", ")
            ));
        };
        if entry.get("hf_evaluate") == Some(&Value::Bool(true)) && name != "exact_match" {
            return Err(format!("metric `{name}` needs Python: `hf_evaluate`"));
        }
        let named = entry.get("aggregation").and_then(Value::as_str);
        let aggregation = named.map_or(Ok(*usual), Aggregation::named)?;
        // Counts are no numbers, and numbers no counts.
        let is_translation = |a: &Aggregation| matches!(a, Aggregation::Translation(_));
        if aggregation != *usual && [&aggregation, usual].into_iter().any(is_translation) {
            let named = named.unwrap_or_default();
            return Err(format!("metric `{name}` cannot be aggregated by `{named}`"));
        }
        let higher_is_better = entry.get("higher_is_better").and_then(Value::as_bool);
        let own = ["metric", "aggregation", "higher_is_better", "hf_evaluate"];
        let settings: Map<String, Value> = entry
            .iter()
            .filter(|(key, _)| !own.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            aggregation,
            higher_is_better: higher_is_better.unwrap_or(*higher),
            settings: generation::Settings::new(name, &settings)?,
        })
    }

    /// The metrics of a task that states none.
    pub fn usual(output: Output) -> Vec<Self> {
        let names: &[&str] = match output {
            Output::Choice => &["acc", "acc_norm"],
            Output::LogLikelihood => &["perplexity", "acc"],
            Output::Rolling => &["word_perplexity", "byte_perplexity", "bits_per_byte"],
            Output::Generate => &["exact_match"],
        };
        let named = |name: &&str| KNOWN.iter().find(|(known, ..)| known == name);
        let metric =
            |(name, aggregation, higher_is_better, _): &(&str, Aggregation, bool, _)| Self {
                name: (*name).to_owned(),
                aggregation: *aggregation,
                higher_is_better: *higher_is_better,
                settings: generation::Settings::default(),
            };
        names.iter().filter_map(named).map(metric).collect()
    }
}
