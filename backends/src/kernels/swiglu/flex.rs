//! In place, with a vectorised exponential.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::flex::{Host, exp, widest_simd};

const PIECE: usize = 16 * 1024;

pub(super) fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    let (mut gate, up) = (Host::take(gate), Host::take(up));
    gate.values_mut()
        .par_chunks_mut(PIECE)
        .zip(up.values().par_chunks(PIECE))
        .for_each(|(gate, up)| gate_piece(gate, up));
    gate.into_tensor()
}

widest_simd! { fn gate_piece(gate: &mut [f32], up: &[f32]) = gate_piece_body }

#[inline(always)]
fn gate_piece_body(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// `dy` becomes the output, `gate` and `up` become their gradients.
pub(super) fn backward(
    gate: Tensor<2>,
    up: Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [mut gate, mut up, mut dy] = [gate, up, dy].map(Host::take);
    gate.values_mut()
        .par_chunks_mut(PIECE)
        .zip(up.values_mut().par_chunks_mut(PIECE))
        .zip(dy.values_mut().par_chunks_mut(PIECE))
        .for_each(|((gate, up), dy)| gradient_piece(gate, up, dy));
    (dy.into_tensor(), gate.into_tensor(), up.into_tensor())
}

widest_simd! {
    fn gradient_piece(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) = gradient_piece_body
}

#[inline(always)]
fn gradient_piece_body(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
        let s = 1.0 / (1.0 + exp(-*gate));
        let silu = *gate * s;
        let d_output = *dy;
        *dy = silu * *up;
        *gate = d_output * *up * (s + silu * (1.0 - s));
        *up = d_output * silu;
    }
}
