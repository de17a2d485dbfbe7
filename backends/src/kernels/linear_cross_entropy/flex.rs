//! Logits become their own gradient where they lie; so does the head's gradient sum.

use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::{Output, Targets, chunks};
use crate::flex::{self, Host, Sum, View, exp, from_vec, product, sum, widest_simd};

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
    for (start, len) in chunks(tokens, vocab) {
        let rows = start..start + len;
        let x = View::new(&x.values()[rows.start * d..rows.end * d], len, d);
        product(x, head)
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
    let (x, weight, mut dw) = (Host::read(x), Host::read(weight), Sum::of(dw));
    let weights = Host::read(&targets.weights);
    let ids = flex::ids(&targets.ids);
    let head = View::new(weight.values(), vocab, d);
    let (mut log_probs, mut log_sums) = (vec![0f32; tokens], vec![0f32; tokens]);
    let mut dx = Vec::with_capacity(tokens * d);
    for (start, len) in chunks(tokens, vocab) {
        let rows = start..start + len;
        let x = View::new(&x.values()[rows.start * d..rows.end * d], len, d);
        let mut logits = product(x, head.transposed());
        logits
            .par_chunks_mut(vocab)
            .zip(log_probs[rows.clone()].par_iter_mut().zip(&mut log_sums[rows.clone()]))
            .zip(ids[rows.clone()].par_iter().zip(&weights.values()[rows.clone()]))
            .for_each(|((row, (log_prob, log_sum)), (&id, &weight))| {
                let target = row[id];
                *log_sum = gradient_row(row, weight, z_loss as f32);
                row[id] -= weight;
                *log_prob = target - *log_sum;
            });
        let d_logits = View::new(&logits, len, vocab);
        dx.extend(product(d_logits, head));
        dw = dw.plus(d_logits.transposed(), x);
    }
    Output {
        log_probs: from_vec(log_probs, [tokens]),
        log_sum_exp: from_vec(log_sums, [tokens]),
        dx: from_vec(dx, [tokens, d]),
        dw: dw.into_tensor([vocab, d]),
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
