//! One buffer of logits for all chunks; the head's gradient is summed where it lies.

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::{Output, Targets, chunks};
use crate::flex::{self, Host, View, exp, from_vec, multiply, sum, widest_simd};

pub(super) fn log_probs(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Tensor<1, Int>,
) -> (Tensor<1>, Tensor<1, Int>) {
    let [tokens, d] = x.dims();
    let [vocab, _] = weight.dims();
    let device = x.device();
    let (x, weight, ids) = (Host::read(x), Host::read(weight), flex::ids(targets));
    let head = View::new(weight.values(), vocab, d).transposed();
    let (mut log_probs, mut best) = (vec![0f32; tokens], vec![0i64; tokens]);
    let mut buffer = Vec::new();
    for (start, len) in chunks(tokens, vocab) {
        let rows = start..start + len;
        let x = View::new(&x.values()[rows.start * d..rows.end * d], len, d);
        buffer.resize(len * vocab, 0.0);
        multiply(&mut buffer, false, x, head);
        buffer
            .par_chunks_mut(vocab)
            .zip(log_probs[rows.clone()].par_iter_mut().zip(&mut best[rows.clone()]))
            .zip(&ids[rows])
            .for_each(|((row, (log_prob, best)), &id)| {
                let target = row[id];
                *best = first_largest(row) as i64;
                *log_prob = target - gradient_row(row, 1.0, 0.0);
            });
    }
    let best = Tensor::from_data(TensorData::new(best, [tokens]), &device);
    (from_vec(log_probs, [tokens]), best)
}

/// Index of the first of the largest values.
fn first_largest(row: &[f32]) -> usize {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter().position(|&value| value == top).unwrap_or(0)
}

pub(super) fn forward_backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Targets,
    z_loss: f64,
    dw: Tensor<2>,
) -> Output {
    let [tokens, d] = x.dims();
    let [vocab, _] = weight.dims();
    let (x, weight, mut dw) = (Host::read(x), Host::read(weight), Host::take(dw));
    let weights = Host::read(&targets.weights);
    let ids = flex::ids(&targets.ids);
    let head = View::new(weight.values(), vocab, d);
    let (mut log_probs, mut log_sums) = (vec![0f32; tokens], vec![0f32; tokens]);
    let mut dx = vec![0f32; tokens * d];
    let mut buffer = Vec::new();
    for (start, len) in chunks(tokens, vocab) {
        let rows = start..start + len;
        let x = View::new(&x.values()[rows.start * d..rows.end * d], len, d);
        buffer.resize(len * vocab, 0.0);
        multiply(&mut buffer, false, x, head.transposed());
        buffer
            .par_chunks_mut(vocab)
            .zip(log_probs[rows.clone()].par_iter_mut().zip(&mut log_sums[rows.clone()]))
            .zip(ids[rows.clone()].par_iter().zip(&weights.values()[rows.clone()]))
            .for_each(|((row, (log_prob, log_sum)), (&id, &weight))| {
                let target = row[id];
                *log_sum = gradient_row(row, weight, z_loss as f32);
                row[id] -= weight;
                *log_prob = target - *log_sum;
            });
        let d_logits = View::new(&buffer, len, vocab);
        multiply(&mut dx[rows.start * d..rows.end * d], false, d_logits, head);
        multiply(dw.values_mut(), true, d_logits.transposed(), x);
    }
    Output {
        log_probs: from_vec(log_probs, [tokens]),
        log_sum_exp: from_vec(log_sums, [tokens]),
        dx: from_vec(dx, [tokens, d]),
        dw: dw.into_tensor(),
    }
}

widest_simd! { fn gradient_row(row: &mut [f32], weight: f32, z_loss: f32) -> f32 = gradient_row_body }

/// Turns logits into `weight (1 + 2 z lse) softmax` and returns their log-sum-exp.
#[inline(always)]
fn gradient_row_body(row: &mut [f32], weight: f32, z_loss: f32) -> f32 {
    let mut tops = [f32::NEG_INFINITY; 16];
    for (i, &value) in row.iter().enumerate() {
        let top = &mut tops[i % 16];
        *top = if value > *top { value } else { *top };
    }
    let top = tops.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = exp(*value - top);
    }
    let total = sum(row.iter().copied());
    let log_sum = top + total.ln();
    let factor = weight * (1.0 + 2.0 * z_loss * log_sum) / total;
    for value in row.iter_mut() {
        *value *= factor;
    }
    log_sum
}
