//! A run as one value: model, data, batch, optimizer, phases, and what is logged and kept.
//!
//! Comes from a TOML file in which every key stands (no defaults: a recipe documents the run
//! completely), is checked once here, and is then trusted by the loop, the plan and the checkpoint.
//! What is checked stands in `recipe/check.rs`, what a resume may change in `recipe/changes.rs`,
//! rows of a micro-batch in `recipe/micro_batch.rs`, the shapes of the learning rate in `schedule.rs`.

mod changes;
mod check;
mod micro_batch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use neo_backends::Precision;
use neo_data::{loader, megatron::DocumentOrder, toml_file};
use neo_model::{ModelConfig, Recompute};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use micro_batch::MicroBatch;

use crate::{Error, Result, schedule::Schedule};

/// Everything that decides a pretraining run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run, for reports.
    pub name: String,
    /// Seed of the initial weights and of the data order.
    pub seed: u64,
    /// Number formats: `f32` or `bf16`.
    #[serde(with = "PrecisionName")]
    pub precision: Precision,
    /// What the backward makes again instead of keeping it: `none`, `mlp` or `block`.
    #[serde(with = "RecomputeName")]
    pub recompute: Recompute,
    /// How far attention reaches within a row.
    pub attention_span: AttentionSpan,
    /// Shape of the network.
    pub model: ModelConfig,
    /// Where tokens come from.
    pub data: DataSettings,
    /// Size of a row and of what the device holds at once.
    pub batch: BatchSettings,
    /// AdamW and clipping.
    pub optimizer: OptimizerSettings,
    /// The phases in order; there is at least one.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// Evaluation within the loop.
    pub eval: EvalSettings,
    /// When checkpoints are written and how many stay.
    pub checkpoint: CheckpointSettings,
    /// When a line of metrics is written.
    pub log: LogSettings,
}

/// Whether a position sees earlier documents of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionSpan {
    /// Causal over the whole row, across document borders, as MAP-Neo trained.
    Row,
    /// Causal within the position's own document.
    Document,
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// Folder with `corpus.json`, relative to the working directory.
    pub corpus: PathBuf,
    /// Order in which samples are drawn.
    pub order: DataOrder,
}

/// Order in which samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataOrder {
    /// Ours, which does not depend on the length of a phase.
    Neo,
    /// Megatron-LM's with stored document order, as MAP-Neo trained; it depends on the length.
    Megatron,
}

/// Size of a row and of what the device holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSettings {
    /// Input tokens of a row.
    pub seq_len: usize,
    /// Rows of one forward and backward pass; divides the batch of every phase. Or `auto`.
    pub micro_batch_sequences: MicroBatch,
}

/// AdamW with decoupled weight decay on matrices, after clipping by the global norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay; norms get none.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub clip_norm: f64,
    /// Number format of both moments: `f32` or `bf16`.
    #[serde(with = "PrecisionName")]
    pub moments: Precision,
    /// Weight of the mean squared log-partition in the loss, 0 for none.
    pub z_loss: f64,
}

/// One stretch of training with its own length, batch, data mixture and learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name of the phase, for logs and reports.
    pub name: String,
    /// Updates.
    pub steps: u64,
    /// Rows of one update.
    pub batch_sequences: usize,
    /// What happens to the optimizer's moments and step count at the phase's start.
    pub optimizer_state: OptimizerState,
    /// Rounds over each source; a source's share of the tokens is its size times its rounds.
    pub mixture: BTreeMap<String, f64>,
    /// Learning rate by step within the phase.
    pub schedule: Schedule,
}

/// What happens to the optimizer's moments and step count at a phase's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerState {
    /// Zero, as MAP-Neo's decay phase did.
    Fresh,
    /// Kept from the phase before.
    Continue,
}

/// Evaluation within the loop. The last three keys stand together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSettings {
    /// Steps between evaluations.
    pub interval_steps: u64,
    /// Held-out tokens per language, 0 for all.
    pub max_tokens: u64,
    /// Benchmarks that are asked as well: names of tasks and groups, or paths of task files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// Folder of the evaluation sets, relative to the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Documents of each task, from the first on; of each part, in a task of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_docs: Option<usize>,
}

/// What [`EvalSettings`] says about benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionSettings<'a> {
    /// Names and paths.
    pub tasks: &'a [String],
    /// Folder of the evaluation sets.
    pub data: &'a Path,
    /// Documents of each task.
    pub max_docs: usize,
}

impl EvalSettings {
    /// The benchmarks that are asked, if any are.
    pub fn questions(&self) -> Option<QuestionSettings<'_>> {
        let (tasks, data, max_docs) = (self.tasks.as_ref()?, self.data.as_ref()?, self.max_docs?);
        Some(QuestionSettings { tasks, data, max_docs })
    }
}

/// When checkpoints are written and how many stay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Steps between checkpoints.
    pub interval_steps: u64,
    /// How many of the newest stay.
    pub keep: usize,
}

/// When a line of metrics is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Steps between lines.
    pub interval_steps: u64,
}

/// Where a global step lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhasePosition<'a> {
    /// Index of the phase, from 0.
    pub phase_idx: usize,
    /// The phase.
    pub phase: &'a Phase,
    /// Step within the phase, from 0.
    pub step_in_phase: u64,
}

impl PhasePosition<'_> {
    /// Learning rate of this step's update.
    pub fn lr(&self) -> f64 {
        self.phase.schedule.lr(self.step_in_phase, self.phase.steps)
    }
}

impl Recipe {
    /// Reads and checks a recipe; `overrides` are `key.sub=value`, see [`toml_file::read`].
    ///
    /// # Errors
    /// As [`toml_file::read`], and when [`Recipe::validate`] refuses; every message names the file.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let (recipe, _) = toml_file::read::<Self>(path, overrides)?;
        recipe.validate().map_err(|error| match error {
            Error::Setting(problem) => Error::Malformed { path: path.to_owned(), problem },
            other => other,
        })?;
        Ok(recipe)
    }

    /// The complete recipe as TOML, overrides included: what a run folder keeps.
    ///
    /// # Errors
    /// A number has no TOML form (a seed beyond 63 bits).
    pub fn resolved_toml(&self) -> Result<String> {
        Ok(toml_file::to_string(self)?)
    }

    /// Hex SHA-256 of [`Recipe::resolved_toml`].
    ///
    /// # Errors
    /// As [`Recipe::resolved_toml`].
    pub fn hash(&self) -> Result<String> {
        let digest = Sha256::digest(self.resolved_toml()?.as_bytes());
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Updates of all phases.
    pub fn total_steps(&self) -> u64 {
        self.phases.iter().map(|phase| phase.steps).sum()
    }

    /// Where update `step` (from 0) lies; `None` past the end.
    pub fn phase_at(&self, step: u64) -> Option<PhasePosition<'_>> {
        let mut step_in_phase = step;
        for (phase_idx, phase) in self.phases.iter().enumerate() {
            if step_in_phase < phase.steps {
                return Some(PhasePosition { phase_idx, phase, step_in_phase });
            }
            step_in_phase -= phase.steps;
        }
        None
    }

    /// Input tokens of one update of `phase`.
    pub fn batch_tokens(&self, phase: &Phase) -> u64 {
        phase.batch_sequences as u64 * self.batch.seq_len as u64
    }

    /// What the loader of `phase` must be told; Megatron counts the samples of each phase anew.
    pub fn loader_order(&self, phase: &Phase) -> loader::Order {
        match self.data.order {
            DataOrder::Neo => loader::Order::Neo,
            DataOrder::Megatron => loader::Order::Megatron {
                total_samples: phase.steps * phase.batch_sequences as u64,
                documents: DocumentOrder::Stored,
            },
        }
    }

    /// Input tokens of the first `steps` updates.
    pub fn tokens_after(&self, steps: u64) -> u64 {
        let mut left = steps;
        let mut tokens = 0;
        for phase in &self.phases {
            let done = left.min(phase.steps);
            tokens += done * self.batch_tokens(phase);
            left -= done;
        }
        tokens
    }
}

/// How a recipe spells [`Recompute`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Recompute", rename_all = "lowercase")]
enum RecomputeName {
    None,
    Mlp,
    Block,
}

/// How a recipe spells [`Precision`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Bf16,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipes() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
    }

    /// The recipe `tiny` with overrides, for the tests of this folder.
    pub(super) fn tiny(overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&item| item.to_owned()).collect();
        Recipe::read(&recipes().join("tiny.toml"), &overrides)
    }

    #[test]
    fn every_recipe_reads_and_validates() {
        let mut n_recipes = 0;
        for entry in std::fs::read_dir(recipes()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let recipe = Recipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
                let stem = path.file_stem().unwrap().to_str().unwrap();
                assert_eq!(recipe.name, stem);
                n_recipes += 1;
            }
        }
        assert!(n_recipes >= 7, "found {n_recipes}");
    }

    #[test]
    fn neo_recipes_attend_over_the_row() {
        for name in ["neo_7b", "neo_7b_decay", "neo_2b", "neo_980m", "neo_460m", "neo_250m"] {
            let recipe = Recipe::read(&recipes().join(format!("{name}.toml")), &[]).unwrap();
            assert_eq!(recipe.attention_span, AttentionSpan::Row, "{name}");
        }
    }

    #[test]
    fn the_decay_recipe_is_megatrons_schedule() {
        let recipe = Recipe::read(&recipes().join("neo_7b_decay.toml"), &[]).unwrap();
        let phase = recipe.phases.last().unwrap();
        let megatron = crate::schedule::MegatronWsd {
            peak_lr: 2e-4,
            min_lr: 2e-5,
            batch_sequences: phase.batch_sequences as u64,
            total_steps: phase.steps,
            warmup_steps: 0,
            stable_samples: 0,
            half_life_samples: -1.0,
            ratio: 0.1,
        };
        for step in [0, 1, 37_000, 74_000, 111_000, 147_999] {
            let expected = megatron.schedule().lr(step, phase.steps);
            let found = phase.schedule.lr(step, phase.steps);
            assert!((found - expected).abs() <= 1e-12 * expected, "{step}: {found} {expected}");
        }
        let fundamental = Recipe::read(&recipes().join("neo_7b.toml"), &[]).unwrap();
        assert_eq!(recipe.phases[0], fundamental.phases[0]);
        assert_eq!(recipe.model, fundamental.model);
    }

    #[test]
    fn resolved_recipe_reads_back_equal() {
        let recipe = tiny(&["optimizer.beta1=0.8", "data.order=megatron"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, recipe.resolved_toml().unwrap()).unwrap();
        let again = Recipe::read(&path, &[]).unwrap();
        assert_eq!(again, recipe);
        assert_eq!(again.hash().unwrap(), recipe.hash().unwrap());
        assert_ne!(recipe.hash().unwrap(), tiny(&[]).unwrap().hash().unwrap());
        assert_eq!(recipe.hash().unwrap().len(), 64);
    }

    #[test]
    fn steps_lie_in_their_phases() {
        let recipe = tiny(&["phase.0.steps=100", "phase.1.steps=50"]).unwrap();
        let position = |step| recipe.phase_at(step).map(|at| (at.phase_idx, at.step_in_phase));
        assert_eq!(recipe.total_steps(), 150);
        assert_eq!(position(0), Some((0, 0)));
        assert_eq!(position(99), Some((0, 99)));
        assert_eq!(position(100), Some((1, 0)));
        assert_eq!(position(149), Some((1, 49)));
        assert_eq!(position(150), None);
        let at = recipe.phase_at(120).unwrap();
        assert_eq!(at.lr(), recipe.phases[1].schedule.lr(20, 50));
        let (first, second) = (&recipe.phases[0], &recipe.phases[1]);
        assert_eq!(recipe.tokens_after(0), 0);
        let expected = 100 * recipe.batch_tokens(first) + 20 * recipe.batch_tokens(second);
        assert_eq!(recipe.tokens_after(120), expected);
        assert_eq!(recipe.tokens_after(150), recipe.tokens_after(1000));
    }
}
