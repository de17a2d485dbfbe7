//! `config.json` in the spellings of transformers 4 and 5, and what this network cannot do.
//!
//! Reading refuses whatever would make the numbers differ: another architecture, tied embeddings,
//! biases, scaled RoPE, another activation, quantised weights. Missing keys take the values that
//! transformers takes for Llama. Writing uses the spelling that both versions read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::weights::Dtype;
use crate::{Error, ModelConfig, Result};

/// Larger than any `config.json`.
const MAX_CONFIG_BYTES: u64 = 10_000_000;
const ARCHITECTURE: &str = "LlamaForCausalLM";

/// Token ids that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialIds {
    /// Begin of sequence.
    pub bos: Option<u32>,
    /// End of sequence; some models have several.
    pub eos: Vec<u32>,
    /// Padding.
    pub pad: Option<u32>,
}

/// A model folder's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct HfConfig {
    /// Shape of the network.
    pub model: ModelConfig,
    /// Special token ids.
    pub special_ids: SpecialIds,
}

impl HfConfig {
    /// A configuration with MAP-Neo's special ids: bos 1, eos 2, no padding.
    pub fn new(model: ModelConfig) -> Self {
        Self { model, special_ids: SpecialIds { bos: Some(1), eos: vec![2], pad: None } }
    }

    /// Reads `config.json` of a folder.
    ///
    /// # Errors
    /// When there is none, it does not parse, or it asks for what this network cannot do.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_file(&dir.join("config.json"))
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_file(path: &Path) -> Result<Self> {
        let n_bytes = fs::metadata(path).map_err(Error::io(path))?.len();
        let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
        if n_bytes > MAX_CONFIG_BYTES {
            return Err(malformed(format!("{n_bytes} bytes, expected at most {MAX_CONFIG_BYTES}")));
        }
        let text = fs::read(path).map_err(Error::io(path))?;
        let map = serde_json::from_slice(&text)
            .map_err(|error| malformed(format!("does not parse as a JSON object: {error}")))?;
        Fields { path: path.to_owned(), map }.config()
    }

    /// The text of `config.json` for weights of `dtype`.
    pub fn to_json(&self, dtype: Dtype) -> String {
        let Self { model, special_ids } = self;
        let mut config = json!({
            "architectures": [ARCHITECTURE],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": special_ids.bos,
            "eos_token_id": eos_json(&special_ids.eos),
            "head_dim": model.head_dim,
            "hidden_act": "silu",
            "hidden_size": model.d_model,
            "initializer_range": model.init_std,
            "intermediate_size": model.d_ff,
            "max_position_embeddings": model.max_seq_len,
            "mlp_bias": false,
            "model_type": "llama",
            "num_attention_heads": model.n_heads,
            "num_hidden_layers": model.n_layers,
            "num_key_value_heads": model.n_kv_heads,
            "pretraining_tp": 1,
            "rms_norm_eps": model.norm_eps,
            "rope_scaling": null,
            "rope_theta": model.rope_base,
            "tie_word_embeddings": false,
            "torch_dtype": dtype_name(dtype),
            "use_cache": true,
            "vocab_size": model.vocab_size,
        });
        if let Some(pad) = special_ids.pad {
            config["pad_token_id"] = pad.into();
        }
        format!("{config:#}\n")
    }

    /// The text of `generation_config.json`.
    pub fn generation_json(&self) -> String {
        let SpecialIds { bos, eos, pad } = &self.special_ids;
        let mut generation = json!({
            "_from_model_config": true, "bos_token_id": bos, "eos_token_id": eos_json(eos),
        });
        if let Some(pad) = pad {
            generation["pad_token_id"] = (*pad).into();
        }
        format!("{generation:#}\n")
    }
}

fn eos_json(eos: &[u32]) -> Value {
    match eos {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    }
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "float32",
        Dtype::BF16 => "bfloat16",
        Dtype::F16 => "float16",
        Dtype::I64 => "int64",
    }
}

/// Keys of one `config.json`, read with errors that name file and key.
struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
}

impl Fields {
    fn config(&self) -> Result<HfConfig> {
        self.refuse_other_networks()?;
        let d_model = self.required("hidden_size")?;
        let n_heads = self.required("num_attention_heads")?;
        let model = ModelConfig {
            vocab_size: self.required("vocab_size")?,
            n_layers: self.required("num_hidden_layers")?,
            d_model,
            n_heads,
            n_kv_heads: self.count("num_key_value_heads")?.unwrap_or(n_heads),
            head_dim: match self.count("head_dim")? {
                Some(head_dim) => head_dim,
                None => self.derive_head_dim(d_model, n_heads)?,
            },
            d_ff: self.required("intermediate_size")?,
            max_seq_len: self.count("max_position_embeddings")?.unwrap_or(2048),
            rope_base: self.rope_base()?,
            norm_eps: self.real("rms_norm_eps")?.unwrap_or(1e-6),
            init_std: self.real("initializer_range")?.unwrap_or(0.02),
        };
        model.validate().map_err(|error| self.malformed(error.to_string()))?;
        let special_ids = SpecialIds {
            bos: self.id("bos_token_id")?,
            eos: self.ids("eos_token_id")?,
            pad: self.id("pad_token_id")?,
        };
        Ok(HfConfig { model, special_ids })
    }

    fn refuse_other_networks(&self) -> Result<()> {
        if let Some(found) = self.get("model_type").filter(|found| *found != "llama") {
            return Err(self.wrong("model_type", found, "`llama`"));
        }
        if let Some(found) = self.get("architectures")
            && *found != json!([ARCHITECTURE])
        {
            return Err(self.wrong("architectures", found, &format!("`[\"{ARCHITECTURE}\"]`")));
        }
        for key in ["tie_word_embeddings", "attention_bias", "mlp_bias"] {
            if let Some(found) = self.get(key).filter(|found| **found != Value::Bool(false)) {
                return Err(self.wrong(key, found, "`false`: this network has no such thing"));
            }
        }
        for key in ["hidden_act", "hidden_activation"] {
            if let Some(found) = self.get(key).filter(|found| *found != "silu" && *found != "swish")
            {
                return Err(self.wrong(key, found, "`silu`"));
            }
        }
        match self.get("quantization_config") {
            Some(found) => Err(self.wrong("quantization_config", found, "weights of a float type")),
            None => self.refuse_scaled_rope(),
        }
    }

    fn refuse_scaled_rope(&self) -> Result<()> {
        for key in ["rope_scaling", "rope_parameters"] {
            let Some(found) = self.get(key) else { continue };
            let is_plain = |(key, value): (&String, &Value)| match key.as_str() {
                "rope_theta" => true,
                "rope_type" | "type" => value == "default",
                "partial_rotary_factor" => value.as_f64() == Some(1.0),
                _ => false,
            };
            if !found.as_object().is_some_and(|rope| rope.iter().all(is_plain)) {
                return Err(self.wrong(key, found, "plain RoPE"));
            }
        }
        match self.real("partial_rotary_factor")? {
            Some(factor) if factor != 1.0 => {
                Err(self.wrong("partial_rotary_factor", &json!(factor), "`1.0`"))
            }
            _ => Ok(()),
        }
    }

    /// The older spelling is a key of its own, the newer one lies in `rope_parameters`.
    fn rope_base(&self) -> Result<f64> {
        let older = self.real("rope_theta")?;
        let newer = self.get("rope_parameters").and_then(|rope| rope.get("rope_theta"));
        let newer = match newer.filter(|value| !value.is_null()) {
            Some(value) => Some(
                value
                    .as_f64()
                    .ok_or_else(|| self.wrong("rope_parameters.rope_theta", value, "a number"))?,
            ),
            None => None,
        };
        match (older, newer) {
            (Some(older), Some(newer)) if older != newer => Err(self.malformed(format!(
                "`rope_theta` is `{older}` and `rope_parameters.rope_theta` is `{newer}`, expected \
                 the same"
            ))),
            _ => Ok(newer.or(older).unwrap_or(10_000.0)),
        }
    }

    fn derive_head_dim(&self, d_model: usize, n_heads: usize) -> Result<usize> {
        match d_model.checked_rem(n_heads) {
            Some(0) => Ok(d_model / n_heads),
            _ => Err(self.malformed(format!(
                "`hidden_size` is `{d_model}` and `num_attention_heads` is `{n_heads}`, expected \
                 heads that divide it, or `head_dim`"
            ))),
        }
    }

    fn required(&self, key: &str) -> Result<usize> {
        self.count(key)?.ok_or_else(|| self.malformed(format!("`{key}` is missing")))
    }

    fn count(&self, key: &str) -> Result<Option<usize>> {
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        self.typed(key, count, "a whole number")
    }

    fn real(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, Value::as_f64, "a number")
    }

    fn id(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, as_id, "a token id")
    }

    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let ids = |value: &Value| match value {
            Value::Array(values) => values.iter().map(as_id).collect(),
            one => as_id(one).map(|id| vec![id]),
        };
        Ok(self.typed(key, ids, "a token id or a list of them")?.unwrap_or_default())
    }

    fn typed<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, value, expected))
    }

    /// A key's value; `null` is as good as no key.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> Error {
        self.malformed(format!("`{key}` is `{found}`, expected {expected}"))
    }

    fn malformed(&self, problem: String) -> Error {
        Error::Malformed { path: self.path.clone(), problem }
    }
}

fn as_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(value: Value) -> Result<HfConfig> {
        let Value::Object(map) = value else { panic!("not an object") };
        Fields { path: "config.json".into(), map }.config()
    }

    fn version_4() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 1,
            "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 48, "initializer_range": 0.02,
            "intermediate_size": 192, "max_position_embeddings": 8192, "model_type": "llama",
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 500.5,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 512,
            "something_else": 7,
        })
    }

    fn changed(key: &str, value: Value) -> Value {
        let mut config = version_4();
        config[key] = value;
        config
    }

    #[test]
    fn both_spellings_read_alike() {
        let older = parse(version_4()).unwrap();
        assert_eq!((older.model.head_dim, older.model.rope_base), (12, 500.5));
        let mut newer =
            changed("rope_parameters", json!({"rope_type": "default", "rope_theta": 500.5}));
        newer.as_object_mut().unwrap().retain(|key, _| key != "rope_theta" && key != "torch_dtype");
        newer["dtype"] = json!("bfloat16");
        newer["head_dim"] = json!(12);
        assert_eq!(parse(newer).unwrap(), older);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut config = parse(changed("head_dim", json!(14))).unwrap();
        for eos in [vec![], vec![2], vec![2, 64002]] {
            config.special_ids = SpecialIds { bos: None, eos, pad: Some(0) };
            let text = config.to_json(Dtype::F16);
            assert_eq!(parse(serde_json::from_str(&text).unwrap()).unwrap(), config);
        }
        assert!(config.generation_json().contains("64002"));
    }

    fn check(key: &str, value: Value, expected: &str) {
        let message = match parse(changed(key, value)) {
            Ok(config) => format!("{config:?}"),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn what_the_network_cannot_do_is_refused() {
        check("model_type", json!("mistral"), "`model_type` is `\"mistral\"`, expected `llama`");
        check("architectures", json!(["LlamaModel"]), "expected `[\"LlamaForCausalLM\"]`");
        check("tie_word_embeddings", json!(true), "`tie_word_embeddings` is `true`");
        check("attention_bias", json!(true), "`attention_bias`");
        check("mlp_bias", json!(true), "`mlp_bias`");
        check("hidden_act", json!("gelu"), "expected `silu`");
        check("rope_scaling", json!({"type": "linear", "factor": 2.0}), "expected plain RoPE");
        check("rope_parameters", json!({"rope_type": "llama3", "rope_theta": 500.5}), "plain RoPE");
        check("rope_parameters", json!({"rope_theta": 1e6}), "expected the same");
        check("rope_parameters", json!({"rope_theta": "1"}), "expected a number");
        check("partial_rotary_factor", json!(0.5), "expected `1.0`");
        check("quantization_config", json!({"bits": 4}), "expected weights of a float type");
    }

    #[test]
    fn values_of_another_type_are_refused() {
        check("vocab_size", json!("512"), "`vocab_size` is `\"512\"`, expected a whole number");
        check("vocab_size", Value::Null, "`vocab_size` is missing");
        check("vocab_size", json!(0), "`vocab_size` is `0`, expected at least 1");
        check("num_attention_heads", json!(5), "heads that divide it");
        check("num_attention_heads", json!(0), "heads that divide it");
        check("num_key_value_heads", json!(3), "`n_kv_heads` is `3`");
        check("eos_token_id", json!([1, -2]), "a token id or a list of them");
        check("rms_norm_eps", json!([]), "expected a number");
    }

    proptest! {
        #[test]
        fn any_value_of_any_key_is_read_or_refused(key_idx in 0usize..20, number in any::<i64>()) {
            let base = version_4();
            let key = base.as_object().unwrap().keys().nth(key_idx).unwrap();
            for value in [json!(number), json!([number]), json!({"rope_theta": number}), json!("x")] {
                let _ = parse(changed(key, value));
            }
        }
    }
}
