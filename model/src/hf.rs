//! Hugging Face's layout: the one place with its tensor names, and folders in and out.
//!
//! `hf/config.rs` reads and writes `config.json`. Import and export are the same streaming copy: every
//! name and shape is checked against the configuration, bytes pass in pieces, and the result appears
//! only when it is complete. Putting tensors on a device is the network's work.

mod config;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

pub use config::{HfConfig, SpecialIds};

use crate::staged::{StagedFolder, check_vacant};
use crate::weights::{Dtype, FileSummary, ShardedWeightWriter, TensorSpec, WeightReader};
use crate::{Error, ModelConfig, Result};

/// Shards of at most this size unless asked otherwise, as transformers writes them.
pub const DEFAULT_SHARD_BYTES: u64 = 5_000_000_000;

/// Files beside the weights that a tokenizer may need; `tokenization_*.py` too, see `is_tokenizer_file`.
const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
];

/// Old exports store RoPE's frequencies, which follow from the configuration.
const IGNORED_SUFFIX: &str = ".rotary_emb.inv_freq";

/// What a model folder holds.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderSummary {
    /// Its configuration.
    pub config: HfConfig,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Their elements.
    pub n_params: u64,
    /// Their bytes.
    pub n_bytes: u64,
    /// Element type of most bytes.
    pub dtype: Dtype,
    /// Files that were written, with their checksums; empty when nothing was.
    pub files: Vec<(String, FileSummary)>,
}

/// Every parameter's name and shape (rows are outputs), in the order of the network.
pub fn parameter_names(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let &ModelConfig { vocab_size, n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, .. } =
        config;
    let d_query = n_heads * head_dim;
    let d_kv = n_kv_heads * head_dim;
    let block = [
        ("input_layernorm", vec![d_model]),
        ("self_attn.q_proj", vec![d_query, d_model]),
        ("self_attn.k_proj", vec![d_kv, d_model]),
        ("self_attn.v_proj", vec![d_kv, d_model]),
        ("self_attn.o_proj", vec![d_model, d_query]),
        ("post_attention_layernorm", vec![d_model]),
        ("mlp.gate_proj", vec![d_ff, d_model]),
        ("mlp.up_proj", vec![d_ff, d_model]),
        ("mlp.down_proj", vec![d_model, d_ff]),
    ];
    let mut names = vec![("model.embed_tokens.weight".to_owned(), vec![vocab_size, d_model])];
    for layer_idx in 0..n_layers {
        names.extend(block.iter().map(|(part, shape)| {
            (format!("model.layers.{layer_idx}.{part}.weight"), shape.clone())
        }));
    }
    names.push(("model.norm.weight".to_owned(), vec![d_model]));
    names.push(("lm_head.weight".to_owned(), vec![vocab_size, d_model]));
    names
}

/// Checks that `weights` are exactly the parameters of `config`; returns them in the network's order.
///
/// # Errors
/// Names the first tensor that is missing, unexpected, of another shape, or not of a float type.
pub fn check_parameters(weights: &WeightReader, config: &ModelConfig) -> Result<Vec<TensorSpec>> {
    let malformed = |problem| Error::Malformed { path: weights.path().to_owned(), problem };
    let expected = parameter_names(config);
    let mut specs = Vec::with_capacity(expected.len());
    for (name, shape) in expected {
        if !weights.contains(&name) {
            return Err(malformed(format!("tensor `{name}` of shape {shape:?} is missing")));
        }
        let spec = weights.spec(&name)?;
        if spec.shape != shape {
            let found = &spec.shape;
            let problem = format!("tensor `{name}` has shape {found:?}, expected {shape:?}");
            return Err(malformed(problem));
        }
        if !spec.dtype.is_float() {
            let found = spec.dtype.name();
            return Err(malformed(format!("tensor `{name}` has type {found}, expected a float")));
        }
        specs.push(spec.clone());
    }
    let known: HashSet<&str> = specs.iter().map(|s| s.name.as_str()).collect();
    let is_unexpected = |name: &&str| !known.contains(name) && !name.ends_with(IGNORED_SUFFIX);
    match weights.names().find(is_unexpected) {
        Some(name) => Err(malformed(format!(
            "tensor `{name}` is not one of this model's {} parameters",
            known.len()
        ))),
        None => Ok(specs),
    }
}

/// Copies a Hugging Face folder into one of our own, checking it on the way; types stay as stored.
///
/// `progress` is called with bytes done and bytes in all.
///
/// # Errors
/// When the source is not a model this program has, or the target is not vacant or cannot be written.
pub fn import(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderSummary> {
    export(source, target, None, DEFAULT_SHARD_BYTES, progress)
}

/// Copies a model folder or a checkpoint into a Hugging Face folder, in another type when asked.
///
/// `progress` is called with bytes done and bytes in all.
///
/// # Errors
/// As `import`.
pub fn export(
    source: &Path,
    target: &Path,
    dtype: Option<Dtype>,
    max_shard_bytes: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FolderSummary> {
    check_vacant(target)?;
    let config = HfConfig::read(source)?;
    let weights = WeightReader::open(source)?;
    let mut specs = check_parameters(&weights, &config.model)?;
    specs.iter_mut().for_each(|spec| spec.dtype = dtype.unwrap_or(spec.dtype));
    let staged = StagedFolder::create(target)?;
    let mut writer = ShardedWeightWriter::create(staged.path(), "model", &specs, max_shard_bytes)?;
    let mut summary = summarize(config, &specs);
    let mut done = 0;
    for spec in &specs {
        writer.copy(&weights, &spec.name)?;
        done += spec.n_bytes();
        progress(done, summary.n_bytes);
    }
    summary.files = writer.finish()?;
    summary.files.extend(write_side_files(source, &staged, &summary)?);
    staged.commit()?;
    Ok(summary)
}

/// Reads a model folder through: names, shapes, and that every value is finite.
///
/// `progress` is called with bytes done and bytes in all.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<FolderSummary> {
    let config = HfConfig::read(dir)?;
    let weights = WeightReader::open(dir)?;
    let specs = check_parameters(&weights, &config.model)?;
    let summary = summarize(config, &specs);
    let mut done = 0;
    for spec in &specs {
        check_finite(&weights, spec)?;
        done += spec.n_bytes();
        progress(done, summary.n_bytes);
    }
    Ok(summary)
}

/// Copies the tokenizer's files from one folder into a staged one.
///
/// # Errors
/// When a file cannot be read or written.
pub fn carry_tokenizer(source: &Path, staged: &StagedFolder) -> Result<Vec<(String, FileSummary)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(source).map_err(Error::io(source))? {
        let entry = entry.map_err(Error::io(source))?;
        match entry.file_name().into_string() {
            Ok(name) if is_tokenizer_file(&name) && entry.path().is_file() => names.push(name),
            _ => {}
        }
    }
    names.sort();
    let carry =
        |name: String| staged.copy(&source.join(&name), &name).map(|summary| (name, summary));
    names.into_iter().map(carry).collect()
}

fn is_tokenizer_file(name: &str) -> bool {
    TOKENIZER_FILES.contains(&name) || (name.starts_with("tokenization_") && name.ends_with(".py"))
}

fn write_side_files(
    source: &Path,
    staged: &StagedFolder,
    summary: &FolderSummary,
) -> Result<Vec<(String, FileSummary)>> {
    let mut files = carry_tokenizer(source, staged)?;
    let generation = source.join("generation_config.json");
    let texts = [
        ("config.json", Some(summary.config.to_json(summary.dtype))),
        (
            "generation_config.json",
            (!generation.is_file()).then(|| summary.config.generation_json()),
        ),
    ];
    for (name, text) in texts {
        let written = match text {
            Some(text) => staged.write(name, text.as_bytes())?,
            None => staged.copy(&generation, name)?,
        };
        files.push((name.to_owned(), written));
    }
    Ok(files)
}

fn summarize(config: HfConfig, specs: &[TensorSpec]) -> FolderSummary {
    let bytes_as = |dtype| {
        let of_dtype = specs.iter().filter(|spec| spec.dtype == dtype);
        of_dtype.map(TensorSpec::n_bytes).sum::<u64>()
    };
    let dtypes = [Dtype::F16, Dtype::BF16, Dtype::F32];
    FolderSummary {
        config,
        n_tensors: specs.len(),
        n_params: specs.iter().map(TensorSpec::n_elements).sum(),
        n_bytes: specs.iter().map(TensorSpec::n_bytes).sum(),
        dtype: dtypes.into_iter().max_by_key(|&dtype| bytes_as(dtype)).unwrap_or(Dtype::F32),
        files: Vec::new(),
    }
}

fn check_finite(weights: &WeightReader, spec: &TensorSpec) -> Result<()> {
    let mut n_before = 0;
    weights.read_pieces(&spec.name, |piece| {
        if let Some(idx) = crate::weights::first_non_finite(piece, spec.dtype) {
            let problem =
                format!("tensor `{}` is not finite at element {}", spec.name, n_before + idx);
            return Err(Error::Malformed { path: weights.path().to_owned(), problem });
        }
        n_before += piece.len() / spec.dtype.size();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{HostTensor, WeightWriter};

    fn tiny() -> ModelConfig {
        ModelConfig {
            vocab_size: 6,
            n_layers: 2,
            d_model: 4,
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 6,
            d_ff: 8,
            max_seq_len: 16,
            rope_base: 10_000.0,
            norm_eps: 1e-5,
            init_std: 0.02,
        }
    }

    fn tensors() -> Vec<HostTensor> {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let n_elements = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..n_elements).map(|n| n as f32 * 0.01).collect();
            HostTensor::from_f32(name, shape, &values)
        };
        parameter_names(&tiny()).into_iter().map(tensor).collect()
    }

    fn write_folder(dir: &Path, tensors: &[HostTensor]) {
        let specs: Vec<_> = tensors.iter().map(HostTensor::spec).collect();
        let mut writer = WeightWriter::create(&dir.join("model.safetensors"), &specs, &[]).unwrap();
        tensors.iter().for_each(|tensor| writer.write(tensor).unwrap());
        writer.finish().unwrap();
        fs::write(dir.join("config.json"), HfConfig::new(tiny()).to_json(Dtype::F32)).unwrap();
    }

    #[test]
    fn names_cover_all_parameters() {
        let names = parameter_names(&tiny());
        let counted: usize = names.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(counted as u64, tiny().num_params());
        assert_eq!(names[2], ("model.layers.0.self_attn.q_proj.weight".to_owned(), vec![12, 4]));
        assert_eq!(names[12], ("model.layers.1.self_attn.k_proj.weight".to_owned(), vec![6, 4]));
    }

    #[test]
    fn a_folder_is_copied_with_its_tokenizer_and_cast_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&source).unwrap();
        write_folder(&source, &tensors());
        for name in ["tokenizer.model", "tokenization_neo.py", "optimizer.bin"] {
            fs::write(source.join(name), name).unwrap();
        }
        let mut seen = Vec::new();
        let summary = export(&source, &target, Some(Dtype::BF16), 100, &mut |done, all| {
            seen.push((done, all))
        })
        .unwrap();
        assert_eq!(summary.n_params, tiny().num_params());
        assert_eq!(seen.last(), Some(&(summary.n_bytes, 2 * summary.n_params)));
        assert!(target.join("tokenization_neo.py").exists());
        assert!(!target.join("optimizer.bin").exists());
        let back = WeightReader::open(&target).unwrap();
        for tensor in tensors() {
            assert_eq!(back.read(&tensor.name).unwrap(), tensor.cast(Dtype::BF16));
        }
        assert_eq!(HfConfig::read(&target).unwrap(), HfConfig::new(tiny()));
        let text = fs::read_to_string(target.join("config.json")).unwrap();
        assert!(text.contains("bfloat16"), "{text}");
        assert_eq!(verify(&target, &mut |_, _| ()).unwrap().n_tensors, summary.n_tensors);
        let again = import(&source, &target, &mut |_, _| ()).unwrap_err();
        assert!(matches!(again, Error::Occupied(_)), "{again}");
    }

    fn check(change: impl FnOnce(&mut Vec<HostTensor>), expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let mut tensors = tensors();
        change(&mut tensors);
        write_folder(dir.path(), &tensors);
        let message = match verify(dir.path(), &mut |_, _| ()) {
            Ok(summary) => format!("{} tensors", summary.n_tensors),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn wrong_tensors_are_named() {
        let extra = |name: &str| HostTensor::from_f32(name, [1], &[0.0]);
        check(|_| (), "21 tensors");
        check(|t| drop(t.remove(3)), "`model.layers.0.self_attn.k_proj.weight` of shape [6, 4] is");
        check(|t| t.push(extra("lm_head.bias")), "`lm_head.bias` is not one of this model's 21");
        check(|t| t.push(extra("model.layers.0.self_attn.rotary_emb.inv_freq")), "21 tensors");
        check(|t| t[2].shape = vec![4, 12], "q_proj.weight` has shape [4, 12], expected [12, 4]");
        check(
            |t| t[1] = HostTensor::from_f32(&*t[1].name, [4], &[0.0, 1.0, 2.0, f32::NAN]),
            "`model.layers.0.input_layernorm.weight` is not finite at element 3",
        );
        check(
            |t| t[1] = HostTensor::from_f32(&*t[1].name, [4], &[0.0; 4]).cast(Dtype::I64),
            "has type I64, expected a float",
        );
    }
}
