//! What a recipe must satisfy before anything runs: each message has the key, the value and what is
//! expected. The network's own shape is checked by `neo_model`.

use std::{collections::BTreeSet, fmt};

use super::{
    BatchSettings, EvalSettings, MicroBatch, OptimizerSettings, OptimizerState, Phase, Recipe,
};
use crate::{Error, Result};

impl Recipe {
    /// Checks every value and how the values fit each other.
    ///
    /// # Errors
    /// The first setting that makes no sense, with its key, its value and what is expected.
    pub fn validate(&self) -> Result<()> {
        if self.name.trim().is_empty() {
            return wrong("name", &self.name, "a name");
        }
        if self.data.corpus.as_os_str().is_empty() {
            return wrong("data.corpus", "", "a folder");
        }
        self.model.validate().map_err(|error| Error::Setting(format!("[model]: {error}")))?;
        self.check_row()?;
        self.optimizer.check()?;
        self.check_phases()?;
        self.eval.check()?;
        at_least_1("checkpoint.interval_steps", self.checkpoint.interval_steps)?;
        at_least_1("checkpoint.keep", self.checkpoint.keep as u64)?;
        at_least_1("log.interval_steps", self.log.interval_steps)
    }

    fn check_row(&self) -> Result<()> {
        let BatchSettings { seq_len, micro_batch_sequences } = self.batch;
        at_least_1("batch.seq_len", seq_len as u64)?;
        if let MicroBatch::Rows(rows) = micro_batch_sequences {
            at_least_1("batch.micro_batch_sequences", rows as u64)?;
        }
        let longest = self.model.max_seq_len;
        if seq_len > longest {
            let expected = format!("at most `model.max_seq_len` `{longest}`");
            return wrong("batch.seq_len", seq_len, &expected);
        }
        Ok(())
    }

    fn check_phases(&self) -> Result<()> {
        if self.phases.is_empty() {
            return wrong("phase", "[]", "at least one phase");
        }
        let mut names = BTreeSet::new();
        let mut tokens = 0u64;
        for (idx, phase) in self.phases.iter().enumerate() {
            let key = |name: &str| format!("phase.{idx}.{name}");
            phase.check(&key, self.batch.micro_batch_sequences)?;
            if !names.insert(&phase.name) {
                return wrong(&key("name"), &phase.name, "a name that no other phase has");
            }
            if idx == 0 && phase.optimizer_state == OptimizerState::Continue {
                let expected = "`fresh`, because no phase comes before the first";
                return wrong(&key("optimizer_state"), "continue", expected);
            }
            let row_tokens = (self.batch.seq_len as u64).checked_mul(phase.batch_sequences as u64);
            tokens = row_tokens
                .and_then(|row_tokens| row_tokens.checked_mul(phase.steps))
                .and_then(|phase_tokens| phase_tokens.checked_add(tokens))
                .filter(|&tokens| i64::try_from(tokens).is_ok())
                .ok_or_else(|| {
                    let problem = "the tokens of all phases exceed 63 bits";
                    Error::Setting(format!("`{}` is `{}`: {problem}", key("steps"), phase.steps))
                })?;
        }
        Ok(())
    }
}

impl OptimizerSettings {
    fn check(&self) -> Result<()> {
        let Self { beta1, beta2, eps, weight_decay, clip_norm, z_loss, moments: _ } = *self;
        for (key, beta) in [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return wrong(key, beta, "a number from 0 to below 1");
            }
        }
        for (key, value) in [("optimizer.eps", eps), ("optimizer.clip_norm", clip_norm)] {
            if !(value.is_finite() && value > 0.0) {
                return wrong(key, value, "a finite number above 0");
            }
        }
        for (key, value) in [("optimizer.weight_decay", weight_decay), ("optimizer.z_loss", z_loss)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(key, value, "a finite number, 0 or more");
            }
        }
        Ok(())
    }
}

impl EvalSettings {
    fn check(&self) -> Result<()> {
        at_least_1("eval.interval_steps", self.interval_steps)?;
        let keys = [
            ("eval.tasks", self.tasks.is_some()),
            ("eval.data", self.data.is_some()),
            ("eval.max_docs", self.max_docs.is_some()),
        ];
        let missing = keys.iter().find(|(_, is_there)| !is_there).map(|(key, _)| *key);
        if let (Some(missing), Some((given, _))) = (missing, keys.iter().find(|key| key.1)) {
            return Err(Error::Setting(format!(
                "`{given}` is set and `{missing}` is not; `eval.tasks`, `eval.data` and \
                 `eval.max_docs` stand together"
            )));
        }
        if self.tasks.as_ref().is_some_and(Vec::is_empty) {
            return wrong("eval.tasks", "[]", "at least one task, or none of the three keys");
        }
        at_least_1("eval.max_docs", self.max_docs.unwrap_or(1) as u64)
    }
}

impl Phase {
    fn check(&self, key: &dyn Fn(&str) -> String, micro_batch: MicroBatch) -> Result<()> {
        if self.name.trim().is_empty() {
            return wrong(&key("name"), &self.name, "a name");
        }
        at_least_1(&key("steps"), self.steps)?;
        at_least_1(&key("batch_sequences"), self.batch_sequences as u64)?;
        if let MicroBatch::Rows(rows) = micro_batch
            && !self.batch_sequences.is_multiple_of(rows)
        {
            let expected = format!("a multiple of `batch.micro_batch_sequences` `{rows}`");
            return wrong(&key("batch_sequences"), self.batch_sequences, &expected);
        }
        if self.mixture.is_empty() {
            return wrong(&key("mixture"), "{}", "at least one source");
        }
        for (source, &rounds) in &self.mixture {
            if !(rounds.is_finite() && rounds > 0.0) {
                let source = key(&format!("mixture.{source}"));
                return wrong(&source, rounds, "a finite number above 0");
            }
        }
        match self.schedule.problem(self.steps) {
            Some(problem) => Err(Error::Setting(format!("`{}`: {problem}", key("schedule")))),
            None => Ok(()),
        }
    }
}

fn wrong<T>(key: &str, value: impl fmt::Display, expected: &str) -> Result<T> {
    Err(Error::Setting(format!("`{key}` is `{value}`, expected {expected}")))
}

fn at_least_1(key: &str, value: u64) -> Result<()> {
    if value == 0 { wrong(key, value, "at least 1") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tiny;

    fn check_wrong(overrides: &[&str], expected: &str) {
        let error = tiny(overrides).expect_err(expected);
        assert!(error.is_input());
        let message = error.to_string();
        assert!(message.contains("tiny.toml`: ") && message.contains(expected), "{message}");
    }

    #[test]
    fn nonsense_is_refused_by_key_value_and_expectation() {
        check_wrong(&["name="], "`name` is ``, expected a name");
        check_wrong(&["model.n_kv_heads=3"], "[model]: `n_heads` is `4` and `n_kv_heads` is `3`");
        check_wrong(&["model.head_dim=31"], "[model]: `head_dim` is `31`");
        check_wrong(
            &["batch.seq_len=4096"],
            "`batch.seq_len` is `4096`, expected at most `model.max_seq_len`",
        );
        check_wrong(&["batch.seq_len=0"], "`batch.seq_len` is `0`, expected at least 1");
        check_wrong(
            &["batch.micro_batch_sequences=3"],
            "expected a multiple of `batch.micro_batch_sequences` `3`",
        );
        check_wrong(&["phase.1.steps=0"], "`phase.1.steps` is `0`, expected at least 1");
        check_wrong(&["phase.0.steps=9223372036854775807"], "exceed 63 bits");
        check_wrong(&["phase=[]"], "`phase` is `[]`, expected at least one phase");
        check_wrong(&["phase.0.optimizer_state=continue"], "expected `fresh`");
        check_wrong(&["phase.0.mixture={}"], "`phase.0.mixture` is `{}`, expected at least one");
        check_wrong(
            &["phase.0.mixture.en=-1"],
            "`phase.0.mixture.en` is `-1`, expected a finite number above 0",
        );
        check_wrong(&["phase.0.schedule.peak_lr=nan"], "`phase.0.schedule`: `peak_lr` is `NaN`");
        check_wrong(&["phase.1.name=fundamental"], "expected a name that no other phase has");
        check_wrong(&["optimizer.beta2=1.0"], "`optimizer.beta2` is `1`");
        check_wrong(&["optimizer.eps=0"], "`optimizer.eps` is `0`");
        check_wrong(&["optimizer.weight_decay=inf"], "`optimizer.weight_decay` is `inf`");
        check_wrong(&["checkpoint.keep=0"], "`checkpoint.keep` is `0`");
        check_wrong(&["eval.interval_steps=0"], "`eval.interval_steps` is `0`");
        let questions = ["eval.tasks=[\"arc_easy\"]", "eval.data=sets", "eval.max_docs=0"];
        check_wrong(&questions[..1], "`eval.tasks` is set and `eval.data` is not");
        check_wrong(&questions[2..], "`eval.max_docs` is set and `eval.tasks` is not");
        check_wrong(&questions, "`eval.max_docs` is `0`, expected at least 1");
        check_wrong(
            &["eval.tasks=[]", "eval.data=sets", "eval.max_docs=1"],
            "`eval.tasks` is `[]`",
        );
    }

    #[test]
    fn spelling_and_types_are_refused_with_the_line() {
        check_wrong(&["optimizer.beat1=1"], "nearest known key is `beta1`");
        check_wrong(&["precision=fp16"], "(known: `f32`, `bf16`)");
        check_wrong(&["recompute=all"], "is `all`, known: `none`, `mlp`, `block`");
        check_wrong(&["optimizer.moments=fp32"], "(known: `f32`, `bf16`)");
        check_wrong(&["data.order=random"], "is `random`, known: `neo`, `megatron`");
        check_wrong(&["phase.0.schedule.lr=1"], "`phase.0.schedule`: key `lr` has no use");
        check_wrong(
            &["phase.0.schedule.peak_lr=high"],
            "`phase.0.schedule.peak_lr` is the string `high`, expected a number",
        );
    }
}
