//! Training state on disk: folders that count only when every byte is what was written.
//!
//! `RUN/checkpoints/step-XXXXXXXX/` holds the master weights under Hugging Face names (so a checkpoint
//! is a model folder too), the optimizer's moments, `state.json`, the tokenizer, and last of all
//! `MANIFEST.json` with sizes and checksums (`checkpoint/manifest.rs`). A folder is written under
//! another name, read back, renamed, and only then older ones go (`checkpoint/retention.rs`). Tensors
//! pass one at a time; moving them from and to a device is the loop's work.

mod manifest;
mod retention;

use std::fs;
use std::path::{Path, PathBuf};

use neo_model::ModelConfig;
use neo_model::hf::{self, HfConfig};
use neo_model::staged::StagedFolder;
use neo_model::weights::{
    Dtype, FileSummary, HostTensor, ShardedWeightWriter, TensorSpec, WeightReader,
};
use serde::{Deserialize, Serialize};

pub use manifest::{Manifest, ManifestFile, is_checkpoint, verify};
pub use retention::{latest_verified, list, step_of};

use crate::{Error, Result};

const STATE_FILE: &str = "state.json";
const CONFIG_FILE: &str = "config.json";

/// Where a run stands, beside its tensors: what exact resume needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Steps done, over all phases. The next batch is a function of this, corpus and seed.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Index of the phase that the next step belongs to.
    pub phase: usize,
    /// Steps done in that phase; the learning rate is a function of this.
    pub step_in_phase: u64,
    /// Updates since the optimizer was fresh, for its bias correction.
    pub optimizer_steps: u64,
    /// SHA-256 of the resolved recipe.
    pub recipe_hash: String,
    /// SHA-256 of the corpus's manifest.
    pub corpus_hash: String,
    /// Seed of weights and data order.
    pub seed: u64,
}

/// Tensors announced first and handed over one at a time, in the same order.
pub struct TensorStream<'a> {
    /// Names, types and shapes.
    pub specs: Vec<TensorSpec>,
    /// The tensors themselves.
    pub tensors: Box<dyn Iterator<Item = Result<HostTensor>> + 'a>,
}

/// Names of a parameter's two AdamW moments in `optimizer.safetensors`.
pub fn moment_names(parameter: &str) -> [String; 2] {
    [format!("exp_avg.{parameter}"), format!("exp_avg_sq.{parameter}")]
}

/// A verified checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    manifest: Manifest,
    state: TrainState,
    config: ModelConfig,
}

impl Checkpoint {
    /// Writes the state of a run after `state.step` steps and removes what `keep` no longer covers.
    ///
    /// `model` has every parameter of `config` in f32; `optimizer` has both moments of every parameter,
    /// or nothing when the optimizer is fresh. Older checkpoints go only once this one reads back
    /// right, so there must be room for `keep + 1`; one of a later step goes too, because the run that
    /// wrote it was given up. At least one is kept.
    ///
    /// # Errors
    /// When a value is not finite, a tensor is not the announced one, or the disk is full or fails;
    /// nothing of this checkpoint is left then and those before it are untouched.
    pub fn write(
        run_dir: &Path,
        state: &TrainState,
        config: &ModelConfig,
        tokenizer_dir: Option<&Path>,
        model: TensorStream<'_>,
        optimizer: TensorStream<'_>,
        keep: usize,
    ) -> Result<Self> {
        let folder = retention::folder(run_dir);
        let dir = folder.join(retention::name(state.step));
        let write = || {
            retention::remove_leftovers(&folder)?;
            let staged = StagedFolder::create(&dir)?;
            let mut files = write_tensors(&staged, "model", model)?;
            files.extend(write_tensors(&staged, "optimizer", optimizer)?);
            files.extend(write_side_files(&staged, state, config, tokenizer_dir)?);
            Manifest::new(state.step, files).write(&staged)?;
            let written = Self::open(staged.path())?;
            retention::put_aside(&dir)?;
            staged.commit()?;
            Ok(written)
        };
        let written = write().map_err(|source| not_written(run_dir, &dir, source))?;
        retention::remove_old(&folder, state.step, keep);
        Ok(Self { dir, ..written })
    }

    /// Opens a checkpoint after checking every byte of it.
    ///
    /// # Errors
    /// When a file is missing or changed, or the tensors are not this model's.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = verify(dir)?;
        let path = dir.join(STATE_FILE);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let state: TrainState = serde_json::from_slice(&text)
            .map_err(|error| malformed(&path, format!("does not parse: {error}")))?;
        if state.step != manifest.step {
            let problem =
                format!("step {}, expected {} from the manifest", state.step, manifest.step);
            return Err(malformed(&path, problem));
        }
        let config = HfConfig::read(dir)?.model;
        let checkpoint = Self { dir: dir.to_owned(), manifest, state, config };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its files.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the run stood.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// Shape of the network.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The master weights.
    ///
    /// # Errors
    /// When the files cannot be opened.
    pub fn model(&self) -> Result<WeightReader> {
        Ok(WeightReader::open_stem(&self.dir, "model")?)
    }

    /// The optimizer's moments under `moment_names`; no tensors when the optimizer was fresh.
    ///
    /// # Errors
    /// When the files cannot be opened.
    pub fn optimizer(&self) -> Result<WeightReader> {
        Ok(WeightReader::open_stem(&self.dir, "optimizer")?)
    }

    fn check_tensors(&self) -> Result<()> {
        let parameters = hf::check_parameters(&self.model()?, &self.config)?;
        if let Some(narrow) = parameters.iter().find(|spec| spec.dtype != Dtype::F32) {
            let found = narrow.dtype.name();
            let problem = format!("master weight `{}` is {found}, expected F32", narrow.name);
            return Err(malformed(&self.dir, problem));
        }
        let optimizer = self.optimizer()?;
        let n_found = optimizer.names().count();
        if n_found != 0 && n_found != 2 * parameters.len() {
            let problem =
                format!("{n_found} optimizer tensors, expected none or {}", 2 * parameters.len());
            return Err(malformed(&self.dir, problem));
        }
        for spec in parameters.iter().filter(|_| n_found > 0) {
            for name in moment_names(&spec.name) {
                let found = &optimizer.spec(&name)?.shape;
                if *found != spec.shape {
                    let problem =
                        format!("`{name}` has shape {found:?}, expected {:?}", spec.shape);
                    return Err(malformed(&self.dir, problem));
                }
            }
        }
        Ok(())
    }
}

fn write_tensors(
    staged: &StagedFolder,
    stem: &str,
    stream: TensorStream<'_>,
) -> Result<Vec<(String, FileSummary)>> {
    let TensorStream { specs, tensors } = stream;
    let mut writer =
        ShardedWeightWriter::create(staged.path(), stem, &specs, hf::DEFAULT_SHARD_BYTES)?;
    for tensor in tensors {
        let tensor = tensor?;
        if let Some(element_idx) = tensor.first_non_finite() {
            return Err(Error::NonFinite { tensor: tensor.name, element_idx });
        }
        writer.write(&tensor)?;
    }
    Ok(writer.finish()?)
}

fn write_side_files(
    staged: &StagedFolder,
    state: &TrainState,
    config: &ModelConfig,
    tokenizer_dir: Option<&Path>,
) -> Result<Vec<(String, FileSummary)>> {
    let mut files = match tokenizer_dir {
        Some(dir) => hf::carry_tokenizer(dir, staged)?,
        None => Vec::new(),
    };
    let state = serde_json::to_string_pretty(state).expect("a state is plain numbers and strings");
    let config = HfConfig::new(config.clone()).to_json(Dtype::F32);
    for (name, text) in [(STATE_FILE, state), (CONFIG_FILE, config)] {
        files.push((name.to_owned(), staged.write(name, text.as_bytes())?));
    }
    Ok(files)
}

fn not_written(run_dir: &Path, dir: &Path, source: Error) -> Error {
    let older = list(run_dir).unwrap_or_default();
    Error::CheckpointNotWritten {
        path: dir.to_owned(),
        older: match older.iter().rfind(|path| manifest::is_complete(path)) {
            Some(older) => format!("`{}` is intact", older.display()),
            None => "there is no older one".to_owned(),
        },
        source: Box::new(source),
    }
}

fn malformed(path: &Path, problem: String) -> Error {
    Error::Malformed { path: path.to_owned(), problem }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn config() -> ModelConfig {
        ModelConfig {
            vocab_size: 6,
            n_layers: 1,
            d_model: 4,
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 2,
            d_ff: 8,
            max_seq_len: 16,
            rope_base: 10_000.0,
            norm_eps: 1e-5,
            init_std: 0.02,
        }
    }

    pub(crate) fn state(step: u64) -> TrainState {
        TrainState {
            step,
            tokens: step * 64,
            phase: 1,
            step_in_phase: step / 2,
            optimizer_steps: step / 2,
            recipe_hash: "recipe".into(),
            corpus_hash: "corpus".into(),
            seed: u64::MAX,
        }
    }

    fn stream(tensors: Vec<HostTensor>) -> TensorStream<'static> {
        let specs = tensors.iter().map(HostTensor::spec).collect();
        TensorStream { specs, tensors: Box::new(tensors.into_iter().map(Ok)) }
    }

    fn model_tensors(value: f32) -> Vec<HostTensor> {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let n_elements = shape.iter().product();
            HostTensor::from_f32(name, shape, &vec![value; n_elements])
        };
        hf::parameter_names(&config()).into_iter().map(tensor).collect()
    }

    fn moments() -> Vec<HostTensor> {
        let both = |tensor: HostTensor| {
            moment_names(&tensor.name).map(|name| HostTensor { name, ..tensor.clone() })
        };
        model_tensors(0.5).into_iter().flat_map(both).collect()
    }

    /// Writes a checkpoint whose weights all equal its step.
    pub(crate) fn write(run_dir: &Path, step: u64, keep: usize) -> Result<Checkpoint> {
        write_tensors(run_dir, step, model_tensors(step as f32), keep)
    }

    fn write_tensors(
        run_dir: &Path,
        step: u64,
        model: Vec<HostTensor>,
        keep: usize,
    ) -> Result<Checkpoint> {
        let (model, optimizer) = (stream(model), stream(moments()));
        Checkpoint::write(run_dir, &state(step), &config(), None, model, optimizer, keep)
    }

    #[test]
    fn a_checkpoint_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = dir.path().join("tokenizer");
        fs::create_dir(&tokenizer).unwrap();
        fs::write(tokenizer.join("tokenizer.model"), "pieces").unwrap();
        let run_dir = dir.path().join("run");
        let (model, optimizer) = (stream(model_tensors(3.0)), stream(moments()));
        Checkpoint::write(&run_dir, &state(3), &config(), Some(&tokenizer), model, optimizer, 1)
            .unwrap();
        let (found, skipped) = latest_verified(&run_dir).unwrap();
        let found = found.unwrap();
        assert!(skipped.is_empty());
        assert_eq!(found.dir(), run_dir.join("checkpoints/step-00000003"));
        assert_eq!((found.state(), found.config()), (&state(3), &config()));
        for tensor in model_tensors(3.0) {
            assert_eq!(found.model().unwrap().read(&tensor.name).unwrap(), tensor);
        }
        for tensor in moments() {
            assert_eq!(found.optimizer().unwrap().read(&tensor.name).unwrap(), tensor);
        }
        assert_eq!(fs::read_to_string(found.dir().join("tokenizer.model")).unwrap(), "pieces");
    }

    #[test]
    fn a_fresh_optimizer_has_no_tensors() {
        let dir = tempfile::tempdir().unwrap();
        let (model, optimizer) = (stream(model_tensors(0.0)), stream(Vec::new()));
        Checkpoint::write(dir.path(), &state(0), &config(), None, model, optimizer, 1).unwrap();
        let (found, _) = latest_verified(dir.path()).unwrap();
        assert_eq!(found.unwrap().optimizer().unwrap().names().count(), 0);
    }

    /// A second checkpoint that fails must leave the first as the newest, and nothing of itself.
    fn check(change: impl FnOnce(&mut Vec<HostTensor>), expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 10, 1).unwrap();
        let mut tensors = model_tensors(11.0);
        change(&mut tensors);
        let error = write_tensors(dir.path(), 11, tensors, 1).unwrap_err();
        let intact = dir.path().join("checkpoints/step-00000010");
        assert!(error.to_string().contains(&format!("`{}` is intact", intact.display())));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "`{cause}` does not contain `{expected}`");
        assert_eq!(latest_verified(dir.path()).unwrap().0.unwrap().dir(), intact);
        assert_eq!(fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_resumed_is_not_written() {
        let named = |name: &str, values: &[f32]| HostTensor::from_f32(name, [values.len()], values);
        let norm = "model.norm.weight";
        let at = hf::parameter_names(&config()).iter().position(|(name, _)| name == norm).unwrap();
        let bad = [1.0, 2.0, f32::INFINITY, 4.0];
        check(|t| t[at] = named(norm, &bad), "`model.norm.weight` is not finite at element 2");
        check(|t| t[at] = named(norm, &[1.0; 5]), "has shape [5], expected [4]");
        check(|t| t[at] = t[at].cast(Dtype::BF16), "`model.norm.weight` is BF16, expected F32");
        check(|t| drop(t.remove(at)), "`model.norm.weight` of shape [4] is missing");
    }

    #[test]
    fn tensors_that_stop_coming_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = stream(model_tensors(1.0));
        model.tensors = Box::new(model_tensors(1.0).into_iter().take(4).map(Ok));
        let optimizer = stream(moments());
        let error = Checkpoint::write(dir.path(), &state(1), &config(), None, model, optimizer, 1)
            .unwrap_err();
        assert!(error.to_string().contains("there is no older one"), "{error}");
        assert!(latest_verified(dir.path()).unwrap().0.is_none());
    }

    #[test]
    fn names_of_a_state_are_frozen() {
        let text = serde_json::to_value(state(2)).unwrap();
        let keys: BTreeMap<String, serde_json::Value> = serde_json::from_value(text).unwrap();
        let expected =
            "corpus_hash optimizer_steps phase recipe_hash seed step step_in_phase tokens";
        assert_eq!(keys.into_keys().collect::<Vec<_>>().join(" "), expected);
    }
}
