//! Sizes of the network, checked once, with what follows from them.

use serde::{Deserialize, Serialize};

/// Shape of a MAP-Neo decoder. Names are the field's; Hugging Face spellings live in `hf.rs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Rows of the embedding and of the output head, padding rows included.
    pub vocab_size: usize,
    /// Decoder blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Width of the gate and of the up projection, each.
    pub d_ff: usize,
    /// Longest context.
    pub max_seq_len: usize,
    /// RoPE base.
    pub rope_base: f64,
    /// Added to the mean square in RMSNorm.
    pub norm_eps: f64,
    /// Standard deviation of the initial weights; output projections get `init_std / sqrt(2 n_layers)`.
    pub init_std: f64,
}
