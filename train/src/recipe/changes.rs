//! What may differ between a checkpoint's recipe and the one that goes on from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{DataOrder, Recipe};
use crate::{Error, Result};

impl Recipe {
    /// Keys that differ from the recipe of a checkpoint and forbid going on from it.
    ///
    /// Logging, evaluation and checkpoint settings may differ, and the last phase may be longer
    /// than `previous` had it: none of these touches a step that is already done. Megatron's data
    /// order depends on the length, so with it the length must stay. The micro-batch may differ too,
    /// for a device with less memory: it decides in which order gradients are summed, nothing else.
    ///
    /// # Errors
    /// As [`Recipe::resolved_toml`].
    pub fn changed_keys(&self, previous: &Self) -> Result<Vec<String>> {
        let (now, before) = (self.flat()?, previous.flat()?);
        let last_steps = format!("phase.{}.steps", self.phases.len().saturating_sub(1));
        let longer = match (self.phases.last(), previous.phases.last()) {
            (Some(now), Some(before)) => {
                now.steps >= before.steps && self.data.order == DataOrder::Neo
            }
            _ => false,
        };
        let may_differ = |key: &str| {
            ["log.", "eval.", "checkpoint."].iter().any(|table| key.starts_with(table))
                || key == "batch.micro_batch_sequences"
                || (longer && self.phases.len() == previous.phases.len() && key == last_steps)
        };
        let keys: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
        Ok(keys
            .into_iter()
            .filter(|key| now.get(*key) != before.get(*key) && !may_differ(key))
            .cloned()
            .collect())
    }

    /// Every value by its key path, list entries by index.
    fn flat(&self) -> Result<BTreeMap<String, String>> {
        let table = toml::Value::try_from(self)
            .map_err(|error| Error::Setting(format!("cannot write the recipe as TOML: {error}")))?;
        let mut flat = BTreeMap::new();
        flatten(&table, String::new(), &mut flat);
        Ok(flat)
    }
}

fn flatten(value: &toml::Value, path: String, flat: &mut BTreeMap<String, String>) {
    let below = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            for (name, inner) in table {
                flatten(inner, below(name), flat);
            }
        }
        toml::Value::Array(array) => {
            for (idx, inner) in array.iter().enumerate() {
                flatten(inner, below(&idx.to_string()), flat);
            }
        }
        plain => {
            flat.insert(path, plain.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tiny;

    fn check_changed(overrides: &[&str], expected: &[&str]) {
        let changed = tiny(overrides).unwrap().changed_keys(&tiny(&[]).unwrap()).unwrap();
        assert_eq!(changed, expected);
    }

    #[test]
    fn changes_that_forbid_a_resume_are_named() {
        check_changed(&[], &[]);
        check_changed(&["log.interval_steps=7", "eval.max_tokens=9", "checkpoint.keep=9"], &[]);
        check_changed(&["eval.tasks=[\"boolq\"]", "eval.data=sets", "eval.max_docs=9"], &[]);
        check_changed(&["phase.1.steps=100000"], &[]);
        check_changed(&["batch.micro_batch_sequences=1"], &[]);
        check_changed(&["batch.micro_batch_sequences=auto"], &[]);
        check_changed(&["phase.1.steps=1"], &["phase.1.steps"]);
        check_changed(&["phase.0.steps=100000"], &["phase.0.steps"]);
        check_changed(
            &["seed=9", "phase.0.mixture.extra=1", "optimizer.beta1=0.5"],
            &["optimizer.beta1", "phase.0.mixture.extra", "seed"],
        );
        let megatron = tiny(&["data.order=megatron"]).unwrap();
        let longer = tiny(&["data.order=megatron", "phase.1.steps=100000"]).unwrap();
        assert_eq!(longer.changed_keys(&megatron).unwrap(), ["phase.1.steps"]);
        let tiny = tiny(&[]).unwrap();
        let mut shorter = tiny.clone();
        shorter.phases.pop();
        assert!(tiny.changed_keys(&shorter).unwrap().contains(&"phase.1.steps".to_owned()));
        assert!(shorter.changed_keys(&tiny).unwrap().contains(&"phase.1.steps".to_owned()));
    }
}
