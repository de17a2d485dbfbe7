//! Chunks of queries in burn's operations: products, a mask, a softmax.

use burn::tensor::{DType, Int, Tensor};

use super::{Saved, Sizes, Span};

/// Queries per chunk.
const CHUNK: usize = 256;
/// A score that no softmax sees.
const HIDDEN: f32 = -1e30;

impl Sizes {
    /// `(first query, number of queries, number of keys they can see)` of each chunk.
    fn chunks(self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.q_seq).step_by(CHUNK).map(move |start| {
            let len = CHUNK.min(self.q_seq - start);
            (start, len, self.offset() + start + len)
        })
    }

    /// `[batch, seq, n_heads, head_dim]` -> `[batch, kv_heads, group * len, head_dim]`.
    fn grouped(&self, x: &Tensor<4>, start: usize, len: usize) -> Tensor<4> {
        let x = x.clone().narrow(1, start, len).swap_dims(1, 2);
        if self.group == 1 {
            return x;
        }
        x.reshape([self.batch, self.kv_heads, self.group * len, self.head_dim])
    }

    /// The inverse of [`Sizes::grouped`].
    fn ungrouped(&self, x: Tensor<4>, len: usize) -> Tensor<4> {
        x.reshape([self.batch, self.kv_heads * self.group, len, self.head_dim]).swap_dims(1, 2)
    }
}

pub(super) fn forward(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    span: &Span,
    sizes: Sizes,
) -> (Tensor<4>, Saved) {
    let dtype = q.dtype();
    let keys = k.clone().permute([0, 2, 3, 1]);
    let values = v.clone().swap_dims(1, 2);
    let (mut outputs, mut log_sums) = (Vec::new(), Vec::new());
    for (start, len, seen) in sizes.chunks() {
        let queries = sizes.grouped(q, start, len);
        let scores = queries.matmul(keys.clone().narrow(3, 0, seen));
        let (weights, log_sum) = softmax(scores, &sizes, span, start, len, seen);
        let output = weights.cast(dtype).matmul(values.clone().narrow(2, 0, seen));
        outputs.push(sizes.ungrouped(output, len));
        log_sums.push(log_sum);
    }
    (join(outputs, 1), Saved { log_sum_exp: join(log_sums, 3) })
}

pub(super) fn backward(
    [q, k, v]: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
    sizes: Sizes,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let dtype = q.dtype();
    let keys = k.clone().swap_dims(1, 2);
    let keys_across = k.clone().permute([0, 2, 3, 1]);
    let values_across = v.clone().permute([0, 2, 3, 1]);
    // Sum over the head of output * d_output, per query: the part of dS that is common to a row.
    let common = output.clone().cast(DType::F32) * d_output.clone().cast(DType::F32);
    let common = common.sum_dim(3);
    let mut dq = Vec::new();
    let (mut dk, mut dv): (Option<Tensor<4>>, Option<Tensor<4>>) = (None, None);
    for (start, len, seen) in sizes.chunks() {
        let rows = [sizes.batch, sizes.kv_heads, sizes.group * len, 1];
        let queries = sizes.grouped(q, start, len);
        let d_out = sizes.grouped(d_output, start, len);
        let log_sum = saved.log_sum_exp.clone().narrow(3, start, len).reshape(rows);
        let common = common.clone().narrow(1, start, len).swap_dims(1, 2).reshape(rows);
        let scores = queries.clone().matmul(keys_across.clone().narrow(3, 0, seen));
        let d_weights = d_out.clone().matmul(values_across.clone().narrow(3, 0, seen));
        let (weights, d_scores) =
            score_gradient(scores, d_weights, log_sum, common, &sizes, span, (start, len, seen));
        let (weights, d_scores) = (weights.cast(dtype), d_scores.cast(dtype));
        let d_queries = d_scores.clone().matmul(keys.clone().narrow(2, 0, seen));
        dq.push(sizes.ungrouped(d_queries, len));
        add_prefix(&mut dk, d_scores.swap_dims(2, 3).matmul(queries), sizes.k_seq);
        add_prefix(&mut dv, weights.swap_dims(2, 3).matmul(d_out), sizes.k_seq);
    }
    let whole = |sum: Option<Tensor<4>>| {
        sum.expect("a sequence has at least one chunk").cast(dtype).swap_dims(1, 2)
    };
    (join(dq, 1), whole(dk), whole(dv))
}

/// Adds a gradient of the first keys into the sum over all of them, in f32.
fn add_prefix(sum: &mut Option<Tensor<4>>, part: Tensor<4>, k_seq: usize) {
    let [batch, heads, seen, head_dim] = part.dims();
    let part = part.cast(DType::F32);
    *sum = Some(match sum.take() {
        None if seen == k_seq => part,
        None => {
            let rest =
                Tensor::zeros([batch, heads, k_seq - seen, head_dim], (&part.device(), DType::F32));
            Tensor::cat(vec![part, rest], 2)
        }
        Some(sum) => {
            let prefix = sum.clone().narrow(2, 0, seen) + part;
            if seen == k_seq {
                prefix
            } else {
                Tensor::cat(vec![prefix, sum.narrow(2, seen, k_seq - seen)], 2)
            }
        }
    });
}

fn join(mut parts: Vec<Tensor<4>>, dim: usize) -> Tensor<4> {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, dim) }
}

/// Softmax of one chunk's scores.
///
/// # Shapes
/// - `scores`: `[batch, kv_heads, group * len, seen]`
/// - returns: weights of that shape in f32, log-sum-exp `[batch, kv_heads, group, len]`
fn softmax(
    scores: Tensor<4>,
    sizes: &Sizes,
    span: &Span,
    start: usize,
    len: usize,
    seen: usize,
) -> (Tensor<4>, Tensor<4>) {
    let log_shape = [sizes.batch, sizes.kv_heads, sizes.group, len];
    let scores = hide(scores.cast(DType::F32) * sizes.scale(), sizes, span, (start, len, seen));
    let top = scores.clone().detach().max_dim(3);
    let powers = (scores - top.clone()).exp();
    let sum = powers.clone().sum_dim(3);
    (powers / sum.clone(), (sum.log() + top).reshape(log_shape))
}

/// Softmax weights again, and the gradient of the unscaled scores.
fn score_gradient(
    scores: Tensor<4>,
    d_weights: Tensor<4>,
    log_sum: Tensor<4>,
    common: Tensor<4>,
    sizes: &Sizes,
    span: &Span,
    chunk: (usize, usize, usize),
) -> (Tensor<4>, Tensor<4>) {
    let scores = hide(scores.cast(DType::F32) * sizes.scale(), sizes, span, chunk);
    let weights = (scores - log_sum).exp();
    let d_scores = weights.clone() * (d_weights.cast(DType::F32) - common) * sizes.scale();
    (weights, d_scores)
}

/// Sets the scores of keys that are ahead of the query or before its document to [`HIDDEN`].
fn hide(
    scores: Tensor<4>,
    sizes: &Sizes,
    span: &Span,
    (start, len, seen): (usize, usize, usize),
) -> Tensor<4> {
    let device = scores.device().inner();
    let at = (sizes.offset() + start) as i64;
    let query = Tensor::<1, Int>::arange(at..at + len as i64, &device).reshape([1, 1, 1, len, 1]);
    let key = Tensor::<1, Int>::arange(0..seen as i64, &device).reshape([1, 1, 1, 1, seen]);
    let shape = [sizes.batch, sizes.kv_heads, sizes.group, len, seen];
    let ahead = key.clone().greater(query);
    let hidden = match span {
        Span::Row => ahead.expand(shape),
        Span::Document { first } => {
            let queries = first.dims()[1];
            assert!(queries == sizes.q_seq, "one document start for each query");
            let first = first.clone().narrow(1, start, len).reshape([sizes.batch, 1, 1, len, 1]);
            let before = key.lower(first);
            ahead.expand([sizes.batch, 1, 1, len, seen]).bool_or(before).expand(shape)
        }
    };
    let flat = scores.dims();
    scores.mask_fill(hidden.reshape(flat), HIDDEN)
}
