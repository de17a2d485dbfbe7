//! Pieces on all threads, summed in order.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::flex::{Host, from_vec, sum, widest_simd};

const PIECE: usize = 16 * 1024;

pub(super) fn sum_of_squares(gradient: &Tensor<2>) -> Tensor<1> {
    let gradient = Host::read(gradient);
    let pieces: Vec<f64> =
        gradient.values().par_chunks(PIECE).map(|piece| f64::from(squares(piece))).collect();
    from_vec(vec![pieces.iter().sum::<f64>() as f32], [1])
}

widest_simd! { fn squares(values: &[f32]) -> f32 = squares_body }

#[inline(always)]
fn squares_body(values: &[f32]) -> f32 {
    sum(values.iter().map(|v| v * v))
}
