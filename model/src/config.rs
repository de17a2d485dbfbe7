//! Sizes of the network, checked once, with what follows from them: parameters and FLOPs.
//!
//! A recipe and a Hugging Face `config.json` both end here. Code that builds the network may rely on
//! `validate()` having passed, so that no framework panic is a user's first message.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// More parameters than this are taken for a typing error; all counts below it are exact in `f64`.
const MAX_PARAMS: u128 = 1 << 53;

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

/// Parameters by part of the network; their sum is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamCounts {
    /// Input embedding, `vocab_size x d_model`.
    pub embedding: u64,
    /// Query, key, value and output projections of all blocks.
    pub attention: u64,
    /// Gate, up and down projections of all blocks.
    pub feed_forward: u64,
    /// Two norms a block and the final one.
    pub norms: u64,
    /// Output head, `vocab_size x d_model`.
    pub head: u64,
}

impl ParamCounts {
    /// All parameters.
    pub fn total(&self) -> u64 {
        let parts = [self.embedding, self.attention, self.feed_forward, self.norms, self.head];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

impl ModelConfig {
    /// Checks that a network of this shape can be built.
    ///
    /// # Errors
    /// The first setting that makes no sense, with its value and what it must be.
    pub fn validate(&self) -> Result<()> {
        self.check_counts()?;
        self.check_heads()?;
        self.check_reals()?;
        self.check_size()
    }

    /// Parameters of each part.
    pub fn param_counts(&self) -> ParamCounts {
        let heads = product(&[self.n_heads, self.head_dim]);
        let kv_heads = product(&[self.n_kv_heads, self.head_dim]);
        let projections = heads.saturating_add(kv_heads).saturating_mul(2);
        let per_layer = |n: u64| n.saturating_mul(self.n_layers as u64);
        let d_model = self.d_model as u64;
        ParamCounts {
            embedding: product(&[self.vocab_size, self.d_model]),
            attention: per_layer(projections.saturating_mul(d_model)),
            feed_forward: product(&[self.n_layers, 3, self.d_model, self.d_ff]),
            norms: per_layer(d_model.saturating_mul(2)).saturating_add(d_model),
            head: product(&[self.vocab_size, self.d_model]),
        }
    }

    /// All parameters.
    pub fn num_params(&self) -> u64 {
        self.param_counts().total()
    }

    /// FLOPs of one token's forward and backward pass in a row of `seq_len` tokens, attention counted
    /// in full: `6 (N - V d) + 12 L n_heads head_dim seq`.
    pub fn flops_per_token(&self, seq_len: usize) -> u64 {
        self.dense_flops().saturating_add(self.attention_flops(seq_len))
    }

    /// As `flops_per_token`, but with attention halved, because a causal kernel skips the upper half.
    pub fn causal_flops_per_token(&self, seq_len: usize) -> u64 {
        self.dense_flops().saturating_add(self.attention_flops(seq_len) / 2)
    }

    fn dense_flops(&self) -> u64 {
        let counts = self.param_counts();
        counts.total().saturating_sub(counts.embedding).saturating_mul(6)
    }

    fn attention_flops(&self, seq_len: usize) -> u64 {
        product(&[12, self.n_layers, self.n_heads, self.head_dim, seq_len])
    }

    fn check_counts(&self) -> Result<()> {
        let counts = [
            ("vocab_size", self.vocab_size),
            ("n_layers", self.n_layers),
            ("d_model", self.d_model),
            ("n_heads", self.n_heads),
            ("n_kv_heads", self.n_kv_heads),
            ("head_dim", self.head_dim),
            ("d_ff", self.d_ff),
            ("max_seq_len", self.max_seq_len),
        ];
        match counts.into_iter().find(|&(_, value)| value == 0 || u32::try_from(value).is_err()) {
            Some((name, 0)) => setting(format!("`{name}` is `0`, expected at least 1")),
            Some((name, value)) => {
                setting(format!("`{name}` is `{value}`, expected at most {}", u32::MAX))
            }
            None => Ok(()),
        }
    }

    fn check_heads(&self) -> Result<()> {
        let Self { n_heads, n_kv_heads, head_dim, .. } = self;
        if n_heads % n_kv_heads != 0 {
            return setting(format!(
                "`n_heads` is `{n_heads}` and `n_kv_heads` is `{n_kv_heads}`, expected query heads \
                 that divide evenly among the key-value heads"
            ));
        }
        if head_dim % 2 != 0 {
            return setting(format!(
                "`head_dim` is `{head_dim}`, expected an even number because RoPE turns pairs"
            ));
        }
        Ok(())
    }

    fn check_reals(&self) -> Result<()> {
        for (name, value) in [("rope_base", self.rope_base), ("norm_eps", self.norm_eps)] {
            if !(value.is_finite() && value > 0.0) {
                return setting(format!("`{name}` is `{value}`, expected a finite number above 0"));
            }
        }
        if !(self.init_std.is_finite() && self.init_std >= 0.0) {
            let value = self.init_std;
            return setting(format!("`init_std` is `{value}`, expected a finite number from 0 on"));
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        let n_params = self.num_params();
        if u128::from(n_params) > MAX_PARAMS {
            return setting(format!(
                "a model of this shape has more than {MAX_PARAMS} parameters, which no machine holds"
            ));
        }
        Ok(())
    }
}

fn setting<T>(message: String) -> Result<T> {
    Err(Error::Setting(message))
}

/// The product, or the largest number when it does not fit; `validate` refuses such shapes.
fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |all: u64, &factor| all.saturating_mul(factor as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neo(
        [n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, vocab_size]: [usize; 7],
    ) -> ModelConfig {
        ModelConfig {
            vocab_size,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads,
            head_dim,
            d_ff,
            max_seq_len: 8192,
            rope_base: 10_000.0,
            norm_eps: 1e-5,
            init_std: 0.02,
        }
    }

    const SIZES: [[usize; 7]; 5] = [
        [28, 3072, 16, 16, 192, 24576, 64256],
        [18, 2048, 8, 1, 256, 16384, 64128],
        [12, 2048, 8, 1, 256, 8192, 64128],
        [12, 1024, 8, 1, 128, 8192, 64128],
        [8, 1024, 8, 1, 128, 4096, 64128],
    ];

    #[test]
    fn parameters_equal_the_fact_sheets_table() {
        let expected = [
            (7_793_716_224, 394_788_864, 7_398_927_360),
            (2_244_552_704, 262_668_288, 1_981_884_416),
            (979_945_472, 262_668_288, 717_277_184),
            (461_661_184, 131_334_144, 330_327_040),
            (250_889_216, 131_334_144, 119_555_072),
        ];
        for (size, (total, ends, rest)) in SIZES.into_iter().zip(expected) {
            let config = neo(size);
            config.validate().unwrap();
            let counts = config.param_counts();
            assert_eq!(config.num_params(), total);
            assert_eq!(counts.embedding + counts.head, ends);
            assert_eq!(counts.attention + counts.feed_forward + counts.norms, rest);
        }
    }

    #[test]
    fn flops_follow_the_formula() {
        let config = neo(SIZES[0]);
        let dense = 6 * (7_793_716_224 - 64_256 * 3_072);
        let attention = 12 * 28 * 16 * 192 * 8_192;
        assert_eq!(config.flops_per_token(8192), dense + attention);
        assert_eq!(config.causal_flops_per_token(8192), dense + attention / 2);
    }

    fn check(change: impl Fn(&mut ModelConfig), expected: &str) {
        let mut config = neo(SIZES[4]);
        change(&mut config);
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
    }

    #[test]
    fn senseless_shapes_are_refused_by_name() {
        check(|c| c.n_kv_heads = 3, "`n_heads` is `8` and `n_kv_heads` is `3`");
        check(|c| c.head_dim = 127, "`head_dim` is `127`, expected an even number");
        check(|c| c.vocab_size = 0, "`vocab_size` is `0`");
        check(|c| c.max_seq_len = 0, "`max_seq_len` is `0`");
        check(|c| c.d_ff = usize::MAX, "`d_ff` is");
        check(|c| c.rope_base = f64::NAN, "`rope_base` is `NaN`");
        check(|c| c.norm_eps = 0.0, "`norm_eps` is `0`");
        check(|c| c.init_std = -1.0, "`init_std` is `-1`");
        let widest = u32::MAX as usize;
        check(|c| (c.d_model, c.d_ff, c.n_layers) = (widest, widest, widest), "more than");
    }
}
