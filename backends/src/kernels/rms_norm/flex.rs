//! Rows on all threads; the backward turns `dy` into `dx` where it lies.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::flex::{Host, by_pieces, from_vec, sum, widest_simd};

/// Rows per task: enough work to be worth a task at any width. Sums over rows are made per
/// task and then in order, so they do not depend on the number of threads.
const ROWS: usize = 16;

pub(super) fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    let [tokens, d] = x.dims();
    let (x, weight) = (Host::take(x), Host::read(weight));
    let mut rstd = vec![0f32; tokens];
    let rows = rstd.par_chunks_mut(ROWS).zip(x.values().par_chunks(d * ROWS));
    let y = by_pieces(tokens * d, d * ROWS, rows, |y, (rstd, x)| {
        statistics(x, d, rstd, eps as f32);
        scale_rows(x, weight.values(), y, rstd);
    });
    (from_vec(y, [tokens, d]), from_vec(rstd, [tokens, 1]))
}

pub(super) fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    let [tokens, d] = x.dims();
    let (x, weight, rstd) = (Host::read(x), Host::read(weight), Host::read(rstd));
    let rows = rstd.values().par_chunks(ROWS).zip(x.values().par_chunks(d * ROWS));
    let y = by_pieces(tokens * d, d * ROWS, rows, |y, (rstd, x)| {
        scale_rows(x, weight.values(), y, rstd);
    });
    from_vec(y, [tokens, d])
}

pub(super) fn backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    rstd: &Tensor<2>,
    dy: Tensor<2>,
    around: Option<Tensor<2>>,
    dw: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let d = x.dims()[1];
    let (x, weight, rstd) = (Host::read(x), Host::read(weight), Host::read(rstd));
    let around = around.map(Host::take);
    let mut dy = Host::take(dy);
    let parts: Vec<Vec<f32>> = dy
        .values_mut()
        .par_chunks_mut(d * ROWS)
        .zip(rstd.values().par_chunks(ROWS))
        .zip(x.values().par_chunks(d * ROWS))
        .enumerate()
        .map(|(task, ((dy, rstd), x))| {
            let mut dw = vec![0f32; d];
            gradient_rows(x, weight.values(), rstd, dy, &mut dw);
            if let Some(around) = &around {
                let start = task * d * ROWS;
                add(dy, &around.values()[start..start + dy.len()]);
            }
            dw
        })
        .collect();
    let mut dw = Host::take(dw);
    let mut sum = vec![0f32; d];
    parts.iter().for_each(|part| add(&mut sum, part));
    add(dw.values_mut(), &sum);
    (dy.into_tensor(), dw.into_tensor())
}

widest_simd! {
    fn statistics(x: &[f32], d: usize, rstd: &mut [f32], eps: f32) = statistics_body
}

#[inline(always)]
fn statistics_body(x: &[f32], d: usize, rstd: &mut [f32], eps: f32) {
    for (x, rstd) in x.chunks_exact(d).zip(rstd) {
        *rstd = (sum(x.iter().map(|v| v * v)) / d as f32 + eps).sqrt().recip();
    }
}

widest_simd! {
    fn scale_rows(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &[f32]) = scale_rows_body
}

#[inline(always)]
fn scale_rows_body(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &[f32]) {
    let d = weight.len();
    for ((x, y), rstd) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(rstd) {
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * *rstd * w;
        }
    }
}

widest_simd! {
    /// Turns `dy` into `dx` and adds the weight's gradient into `dw`.
    fn gradient_rows(
        x: &[f32], weight: &[f32], rstd: &[f32], dy: &mut [f32], dw: &mut [f32],
    ) = gradient_rows_body
}

#[inline(always)]
fn gradient_rows_body(x: &[f32], weight: &[f32], rstd: &[f32], dy: &mut [f32], dw: &mut [f32]) {
    let d = weight.len();
    for ((x, dy), &rstd) in x.chunks_exact(d).zip(dy.chunks_exact_mut(d)).zip(rstd) {
        let products = x.iter().zip(&*dy).zip(weight).map(|((x, dy), w)| x * dy * w);
        let along = sum(products) / d as f32 * rstd * rstd;
        for (((dy, x), w), dw) in dy.iter_mut().zip(x).zip(weight).zip(&mut *dw) {
            *dw += *dy * x * rstd;
            *dy = (*dy * w - x * along) * rstd;
        }
    }
}

widest_simd! { fn add(sum: &mut [f32], part: &[f32]) = add_body }

#[inline(always)]
fn add_body(sum: &mut [f32], part: &[f32]) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
}
