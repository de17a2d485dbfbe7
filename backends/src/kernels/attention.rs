//! Causal attention in chunks of queries, over the row or limited to the own document.
//!
//! Memory is linear in the sequence: the scores of one chunk of queries at most are held at a time,
//! in the forward and again in the backward, which rebuilds them from the saved log-sum-exp as
//! FlashAttention does (arXiv 2205.14135). Grouped queries share their key head by reshaping, so
//! keys and values are never repeated.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod reference;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::form::by_form;

/// Which keys a query may look at, besides those behind it.
#[derive(Clone, Debug)]
pub enum Span {
    /// Everything before it in the row.
    Row,
    /// Only positions from `first` on: the start of its own document.
    Document {
        /// First visible key of each query, `[batch, seq]`, on the device.
        first: Tensor<2, Int>,
    },
}

impl Span {
    /// Limits each position to its own document.
    ///
    /// # Shapes
    /// - `first`: row-major `[batch, seq]`, the index in its row at which each position's document
    ///   starts
    pub fn document(first: &[u32], batch: usize, seq: usize, device: &Device) -> Self {
        let first: Vec<i64> = first.iter().map(|&f| i64::from(f)).collect();
        Self::Document { first: Tensor::from_data(TensorData::new(first, [batch, seq]), device) }
    }
}

/// What the backward needs beside the inputs.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Log-sum-exp of each query's scaled scores, `[batch, n_kv_heads, group, q_seq]`, f32.
    pub log_sum_exp: Tensor<4>,
}

/// Sizes of one call, read off the inputs.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    q_seq: usize,
    k_seq: usize,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
}

impl Sizes {
    fn of(q: &Tensor<4>, k: &Tensor<4>) -> Self {
        let [batch, q_seq, n_heads, head_dim] = q.dims();
        let [_, k_seq, kv_heads, _] = k.dims();
        assert!(n_heads % kv_heads == 0, "query heads must be a multiple of key heads");
        assert!(q_seq <= k_seq, "queries are the last positions of the keys");
        Self { batch, q_seq, k_seq, kv_heads, group: n_heads / kv_heads, head_dim }
    }

    /// Position among the keys of the first query.
    fn offset(&self) -> usize {
        self.k_seq - self.q_seq
    }

    fn scale(&self) -> f64 {
        (self.head_dim as f64).sqrt().recip()
    }
}

/// Attends from each query to the keys that it may see.
///
/// With fewer queries than keys the queries are the last positions (decoding with a cache).
///
/// # Shapes
/// - `q`: `[batch, q_seq, n_heads, head_dim]`; `k`, `v`: `[batch, k_seq, n_kv_heads, head_dim]`
/// - returns: `[batch, q_seq, n_heads, head_dim]` in the dtype of `q`
pub fn forward(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, span: &Span) -> (Tensor<4>, Saved) {
    by_form!("attention", q, forward(q, k, v, span, Sizes::of(q, k)))
}

/// Gradients with respect to queries, keys and values.
///
/// # Shapes
/// - `output`, `d_output`: `[batch, seq, n_heads, head_dim]`
/// - returns: `(dq, dk, dv)` of the inputs' shapes and dtype
pub fn backward(
    [q, k, v]: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let sizes = Sizes::of(q, k);
    by_form!("attention", q, backward([q, k, v], span, saved, output, d_output, sizes))
}
