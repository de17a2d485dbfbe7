//! The network and the batch in numbers: all that the step's plan depends on.

use super::{Error, card::Element};

/// Sizes of a decoder: RMSNorm, RoPE, grouped queries, SwiGLU, a head of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoder {
    /// Token ids.
    pub vocab: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward.
    pub d_ff: usize,
    /// Added to the mean square in norms.
    pub norm_eps: f64,
    /// Base of RoPE's frequencies.
    pub rope_base: f64,
}

impl Decoder {
    /// Width of all query heads.
    pub(crate) fn query_width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads, and of all value heads.
    pub(crate) fn key_width(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Width of queries, keys and values side by side.
    pub(crate) fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }
}

/// What a block keeps from its forward for its backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything that the backward reads.
    All,
    /// All but the feed-forward's gate and up.
    Attention,
    /// The block's input alone.
    Input,
}

/// Everything that decides the step's plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The network.
    pub decoder: Decoder,
    /// Rows of a micro-batch.
    pub rows: usize,
    /// Input tokens of a row.
    pub seq: usize,
    /// Format of activations and multiplied weights.
    pub element: Element,
    /// Format of the optimizer's moments.
    pub moments: Element,
    /// What blocks keep.
    pub keep: Keep,
    /// Whether attention ends at a document's start.
    pub documents: bool,
    /// Weight of the squared log-sum-exp in the loss.
    pub z_loss: f64,
}

impl Settings {
    /// Tokens of a micro-batch.
    pub fn tokens(&self) -> usize {
        self.rows * self.seq
    }

    /// Refuses what the kernels do not take.
    ///
    /// # Errors
    /// An odd head, widths that 16-byte accesses do not divide, sizes beyond 32 bits, or more rows
    /// than a grid of blocks has along its second axis.
    pub fn check(&self) -> Result<(), Error> {
        let d = &self.decoder;
        if !d.head_dim.is_multiple_of(2) {
            return Err(Error::Shape(format!("`head_dim` is {}, it must be even", d.head_dim)));
        }
        for (name, width) in [("d_model", d.d_model), ("d_ff", d.d_ff), ("vocab_size", d.vocab)] {
            if !width.is_multiple_of(8) {
                let text = format!("`{name}` is {width}; on this card it must be a multiple of 8");
                return Err(Error::Shape(text));
            }
        }
        let widest = d.vocab.max(2 * d.d_ff).max(d.qkv_width());
        let too_wide = self.tokens().checked_mul(widest).is_none_or(|n| n > i32::MAX as usize * 8);
        if too_wide || self.rows > usize::from(u16::MAX) {
            return Err(Error::Shape("a micro-batch is too large for one pass".into()));
        }
        Ok(())
    }
}
