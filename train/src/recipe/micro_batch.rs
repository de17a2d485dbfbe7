//! `batch.micro_batch_sequences`: a number of rows, or `auto`, which `room.rs` turns into one.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Recipe;

const AUTO: &str = "auto";

/// Rows of one forward and backward pass, as a recipe states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroBatch {
    /// So many; they divide the batch of every phase.
    Rows(usize),
    /// As many as fit the device when a run starts; the run folder's recipe has the number.
    Auto,
}

impl Recipe {
    /// Numbers of rows that divide the batch of every phase, the largest first.
    pub(crate) fn possible_micro_batches(&self) -> Vec<usize> {
        let common = self.phases.iter().fold(0, |common, phase| gcd(common, phase.batch_sequences));
        let small: Vec<usize> =
            (1..=common.isqrt()).filter(|n| common.is_multiple_of(*n)).collect();
        let mut all: Vec<usize> = small.iter().flat_map(|n| [*n, common / n]).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.dedup();
        all
    }

    /// The same recipe with a number of rows.
    #[must_use]
    pub fn with_micro_batch(&self, rows: usize) -> Self {
        let mut recipe = self.clone();
        recipe.batch.micro_batch_sequences = MicroBatch::Rows(rows);
        recipe
    }
}

/// Greatest common divisor.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Serialize for MicroBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rows(rows) => rows.serialize(serializer),
            Self::Auto => serializer.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for MicroBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = MicroBatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of rows or `auto`")
    }

    fn visit_u64<E: de::Error>(self, rows: u64) -> Result<MicroBatch, E> {
        let unexpected = || E::invalid_value(de::Unexpected::Unsigned(rows), &self);
        Ok(MicroBatch::Rows(rows.try_into().map_err(|_| unexpected())?))
    }

    fn visit_i64<E: de::Error>(self, rows: i64) -> Result<MicroBatch, E> {
        let unexpected = || E::invalid_value(de::Unexpected::Signed(rows), &self);
        Ok(MicroBatch::Rows(rows.try_into().map_err(|_| unexpected())?))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<MicroBatch, E> {
        match word {
            AUTO => Ok(MicroBatch::Auto),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::tiny, *};

    #[test]
    fn a_number_or_auto_is_read_and_written() {
        let check = |value: &str, expected: MicroBatch| {
            let recipe = tiny(&[&format!("batch.micro_batch_sequences={value}")]).unwrap();
            assert_eq!(recipe.batch.micro_batch_sequences, expected);
            let written = recipe.resolved_toml().unwrap();
            assert_eq!(toml::from_str::<Recipe>(&written).unwrap(), recipe);
        };
        check("2", MicroBatch::Rows(2));
        check("auto", MicroBatch::Auto);
        for wrong in ["most", "-1", "1.5"] {
            let error = tiny(&[&format!("batch.micro_batch_sequences={wrong}")]).unwrap_err();
            let (error, expected) = (error.to_string(), "expected a number of rows or `auto`");
            assert!(error.contains("batch.micro_batch_sequences"), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn possible_rows_divide_every_phase() {
        let settings = ["phase.0.batch_sequences=12", "phase.1.batch_sequences=18"];
        let recipe = tiny(&[&settings[..], &["batch.micro_batch_sequences=auto"]].concat());
        assert_eq!(recipe.unwrap().possible_micro_batches(), [6, 3, 2, 1]);
    }
}
