//! Documents to look at: of what a rule dropped, and of what a stage kept, a few that chance chose.
//!
//! Chance is the hash of the id: the documents with the smallest hashes are the sample. So neither threads, shards
//! nor the order of the documents matter, samples of parts merge into the sample of the whole, and a document that
//! was chosen among the kept of one stage is likely to be seen again after the next.

use std::{cmp::Ordering, ops::AddAssign};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Document, Language, filter::Limit, write::Value};

/// Documents of a sample.
pub const SAMPLE_DOCUMENTS: usize = 5;
/// Characters that are kept of a text; of ids and found words too, for a record may hold anything.
pub const SAMPLE_CHARS: usize = 400;
/// What the hashes are salted with, so that the choice is not that of the held-out documents.
const SEED: u64 = 240_519_327;

/// Why a document, or a part of it, was taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason<'a> {
    /// The rule.
    pub rule: &'a str,
    /// What was measured or found.
    pub value: Value,
    /// The limit that was crossed, when the rule has one.
    pub limit: Option<Limit>,
}

/// A document of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The hash by which it was chosen.
    pub rank: u64,
    /// Id of the document; the place of a bad record.
    pub id: String,
    /// Name of its source.
    pub source: String,
    /// Its language.
    pub language: Language,
    /// What the rule measured or found; nothing of kept documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The limit that was crossed, and from which side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Characters of the whole text.
    pub n_chars: u64,
    /// The first characters of the text.
    pub text: String,
}

impl Sample {
    /// A document with its number of characters, and why it was taken out if it was.
    pub(super) fn new(
        rank: u64,
        document: &Document,
        n_chars: u64,
        reason: Option<&Reason<'_>>,
    ) -> Self {
        Self {
            rank,
            id: clip(&document.id),
            source: clip(&document.source),
            language: document.language,
            value: reason.map(|reason| clip_value(&reason.value)),
            limit: reason.and_then(|reason| reason.limit),
            n_chars,
            text: clip(&document.text),
        }
    }
}

/// At most [`SAMPLE_DOCUMENTS`] documents, chosen as if by chance and yet always the same ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reservoir {
    samples: Vec<Sample>,
}

impl Reservoir {
    /// Offers a document with its number of characters, and why it was taken out if it was.
    pub(super) fn offer(&mut self, document: &Document, n_chars: u64, reason: Option<&Reason<'_>>) {
        self.offer_lazily(&document.id, |rank| Sample::new(rank, document, n_chars, reason));
    }

    /// Offers what `make` makes, which is not asked for when the id's hash is too large.
    pub(super) fn offer_lazily(&mut self, id: &str, make: impl FnOnce(u64) -> Sample) {
        let rank = rank(id);
        let last = self.samples.last().map(|last| last.rank);
        if self.samples.len() < SAMPLE_DOCUMENTS || last.is_some_and(|last| rank <= last) {
            self.insert(make(rank));
        }
    }

    /// The documents, in the order of their hashes.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn insert(&mut self, sample: Sample) {
        let place = self.samples.partition_point(|other| order(other, &sample).is_lt());
        self.samples.insert(place, sample);
        self.samples.truncate(SAMPLE_DOCUMENTS);
    }
}

impl AddAssign for Reservoir {
    fn add_assign(&mut self, other: Self) {
        other.samples.into_iter().for_each(|sample| self.insert(sample));
    }
}

/// By hash; ids may occur twice, so the rest decides ties.
fn order(a: &Sample, b: &Sample) -> Ordering {
    let value = |sample: &Sample| sample.value.as_ref().map(ToString::to_string);
    let first = (a.rank, &a.id, &a.source, a.n_chars, &a.text);
    first.cmp(&(b.rank, &b.id, &b.source, b.n_chars, &b.text)).then_with(|| value(a).cmp(&value(b)))
}

/// The first 8 bytes of SHA-256 of the seed and the id.
fn rank(id: &str) -> u64 {
    let digest = Sha256::new().chain_update(SEED.to_le_bytes()).chain_update(id).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

pub(super) fn clip(text: &str) -> String {
    text.chars().take(SAMPLE_CHARS).collect()
}

fn clip_value(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(clip(text)),
        Value::Number(number) => Value::Number(*number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(i: usize) -> Document {
        Document {
            id: format!("d{}", i / 2), // Every id occurs twice.
            text: format!("text {i}"),
            source: "s".to_owned(),
            url: None,
            language: Language::En,
            meta: serde_json::Map::new(),
            origin: None,
        }
    }

    fn reservoir(of: &[usize]) -> Reservoir {
        let mut reservoir = Reservoir::default();
        for &i in of {
            let reason = Reason { rule: "r", value: Value::Number(i as f64), limit: None };
            reservoir.offer(&document(i), 6, Some(&reason));
        }
        reservoir
    }

    proptest! {
        #[test]
        fn neither_order_nor_parts_matter(
            order in Just((0..60).collect::<Vec<_>>()).prop_shuffle(), cut in 0..60_usize,
        ) {
            let whole = reservoir(&(0..60).collect::<Vec<_>>());
            prop_assert_eq!(whole.samples().len(), SAMPLE_DOCUMENTS);
            let (left, right) = order.split_at(cut);
            let mut merged = reservoir(left);
            merged += reservoir(right);
            prop_assert_eq!(merged, whole);
        }
    }

    #[test]
    fn a_sample_is_small_whatever_the_record_holds() {
        let long = "长".repeat(100_000);
        let document = Document { id: long.clone(), text: long.clone(), ..document(0) };
        let reason = Reason { rule: "r", value: Value::Text(long), limit: Some(Limit::Max(2.0)) };
        let mut reservoir = Reservoir::default();
        reservoir.offer(&document, 100_000, Some(&reason));
        let json = serde_json::to_string(&reservoir).unwrap();
        assert!(json.len() < 4 * 3 * SAMPLE_CHARS, "{} bytes", json.len());
        assert_eq!(serde_json::from_str::<Reservoir>(&json).unwrap(), reservoir);
    }
}
