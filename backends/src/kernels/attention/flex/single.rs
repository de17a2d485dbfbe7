//! One query a row: keys and values are read once, in order, each key head by one task.

use rayon::prelude::*;

use super::{FirstKeys, Heads, softmax_row};
use crate::{
    flex::{dot, widest_simd},
    kernels::attention::Sizes,
};

/// Values of keys that are worth a task.
const TASK: usize = 16 * 1024;

/// Fills `output` `[batch, n_heads, head_dim]` and `log_sums` `[batch, n_heads]`.
pub(super) fn forward(
    [queries, keys, values]: [Heads<'_>; 3],
    first: &FirstKeys,
    sizes: Sizes,
    output: &mut [f32],
    log_sums: &mut [f32],
) {
    let Sizes { k_seq, kv_heads, group, head_dim, .. } = sizes;
    let tasks = output.par_chunks_mut(group * head_dim).zip(log_sums.par_chunks_mut(group));
    let min_heads = TASK.div_ceil(k_seq * group * head_dim);
    tasks.with_min_len(min_heads).enumerate().for_each_init(
        Vec::new,
        |scores, (task, (output, log_sums))| {
            let (batch, kv_head) = (task / kv_heads, task % kv_heads);
            let first = first.of_query(batch, 0);
            scores.resize(k_seq - first, 0.0);
            let [keys, values] =
                [keys, values].map(|heads| &heads.values[heads.at(batch, first, kv_head)..]);
            let outputs = output.chunks_exact_mut(head_dim).zip(log_sums);
            for (member, (output, log_sum)) in outputs.enumerate() {
                let query = queries.row(batch, 0, kv_head * group + member);
                score_keys(scores, query, keys, kv_heads * head_dim);
                *log_sum = softmax_row(scores, sizes.scale() as f32);
                mix_values(output, scores, values, kv_heads * head_dim);
            }
        },
    );
}

widest_simd! {
    /// `query . key` of every key; keys begin `down` values apart.
    fn score_keys(scores: &mut [f32], query: &[f32], keys: &[f32], down: usize) = score_keys_body
}

#[inline(always)]
fn score_keys_body(scores: &mut [f32], query: &[f32], keys: &[f32], down: usize) {
    for (score, key) in scores.iter_mut().zip(keys.chunks(down)) {
        *score = dot(query, &key[..query.len()]);
    }
}

widest_simd! {
    /// Weighted sum of the values, which begin `down` values apart.
    fn mix_values(output: &mut [f32], weights: &[f32], values: &[f32], down: usize) = mix_values_body
}

#[inline(always)]
fn mix_values_body(output: &mut [f32], weights: &[f32], values: &[f32], down: usize) {
    output.fill(0.0);
    for (weight, value) in weights.iter().zip(values.chunks(down)) {
        output.iter_mut().zip(value).for_each(|(output, value)| *output += weight * value);
    }
}
