//! All tensors of the network in one plain value.
//!
//! The same struct holds weights, their bf16 copy and their gradients; the optimizer's moments
//! follow its order. Every parameter is a matrix: a norm's weight is one row, so that loops over
//! parameters need one rank. The order is that of `hf::parameter_names`.

use burn::tensor::{DType, Device, Tensor};
use neo_backends::zero_sum;

use crate::{ModelConfig, hf};

/// Parameters of the whole network.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Input embedding, `[vocab_size, d_model]`.
    pub embedding: Tensor<2>,
    /// The decoder blocks from input to output.
    pub blocks: Vec<BlockParameters>,
    /// Final norm, `[1, d_model]`.
    pub norm: Tensor<2>,
    /// Output head, `[vocab_size, d_model]`.
    pub head: Tensor<2>,
}

/// Parameters of one decoder block.
#[derive(Clone, Debug)]
pub struct BlockParameters {
    /// Norm before attention, `[1, d_model]`.
    pub attention_norm: Tensor<2>,
    /// Query projection, `[n_heads * head_dim, d_model]`.
    pub query: Tensor<2>,
    /// Key projection, `[n_kv_heads * head_dim, d_model]`.
    pub key: Tensor<2>,
    /// Value projection, `[n_kv_heads * head_dim, d_model]`.
    pub value: Tensor<2>,
    /// Attention output projection, `[d_model, n_heads * head_dim]`.
    pub output: Tensor<2>,
    /// Norm before the feed-forward, `[1, d_model]`.
    pub feed_forward_norm: Tensor<2>,
    /// Gate projection, `[d_ff, d_model]`.
    pub gate: Tensor<2>,
    /// Up projection, `[d_ff, d_model]`.
    pub up: Tensor<2>,
    /// Down projection, `[d_model, d_ff]`.
    pub down: Tensor<2>,
}

/// Matrices of one block.
const PER_BLOCK: usize = 9;

impl Parameters {
    /// Puts together what `make` gives for each name and matrix shape, in order.
    ///
    /// # Errors
    /// The first error of `make`.
    pub fn build<E>(
        config: &ModelConfig,
        mut make: impl FnMut(&str, [usize; 2]) -> Result<Tensor<2>, E>,
    ) -> Result<Self, E> {
        let tensors: Result<Vec<_>, E> = hf::parameter_names(config)
            .iter()
            .map(|(name, shape)| make(name, matrix_shape(shape)))
            .collect();
        Ok(Self::from_vec(tensors?))
    }

    /// Zeros of every parameter's shape in f32, to add gradients to.
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        let zeros =
            |_: &str, shape| Ok::<_, std::convert::Infallible>(zero_sum::new(shape, device));
        let Ok(parameters) = Self::build(config, zeros);
        parameters
    }

    /// From matrices in order.
    ///
    /// # Panics
    /// When their number fits no whole number of blocks.
    pub fn from_vec(tensors: Vec<Tensor<2>>) -> Self {
        assert_eq!((tensors.len() - 3) % PER_BLOCK, 0, "whole blocks and three more");
        let n_layers = (tensors.len() - 3) / PER_BLOCK;
        let mut tensors = tensors.into_iter();
        let mut next = || tensors.next().expect("counted above");
        let embedding = next();
        let blocks = (0..n_layers)
            .map(|_| BlockParameters {
                attention_norm: next(),
                query: next(),
                key: next(),
                value: next(),
                output: next(),
                feed_forward_norm: next(),
                gate: next(),
                up: next(),
                down: next(),
            })
            .collect();
        Self { embedding, blocks, norm: next(), head: next() }
    }

    /// To matrices in order.
    pub fn into_vec(self) -> Vec<Tensor<2>> {
        let mut tensors = vec![self.embedding];
        for block in self.blocks {
            tensors.extend([
                block.attention_norm,
                block.query,
                block.key,
                block.value,
                block.output,
                block.feed_forward_norm,
                block.gate,
                block.up,
                block.down,
            ]);
        }
        tensors.extend([self.norm, self.head]);
        tensors
    }

    /// The same parameters in another number format; no copy where it is the format they have.
    pub fn cast(&self, dtype: DType) -> Self {
        let cast =
            |tensor: Tensor<2>| if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) };
        Self::from_vec(self.clone().into_vec().into_iter().map(cast).collect())
    }
}

/// A norm's `[d]` as one row; matrices as they are.
fn matrix_shape(shape: &[usize]) -> [usize; 2] {
    match *shape {
        [rows, cols] => [rows, cols],
        [cols] => [1, cols],
        _ => unreachable!("parameters are vectors or matrices"),
    }
}
