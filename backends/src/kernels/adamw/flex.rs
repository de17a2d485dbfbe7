//! One pass over a parameter, all four tensors where they lie.

use burn::tensor::{DType, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::{AdamW, Factors, Slot};
use crate::flex::{Host, widest_simd};

const PIECE: usize = 16 * 1024;

pub(super) fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
    let gradient = Host::take(gradient);
    let Slot { weight, exp_avg, exp_avg_sq } = slot;
    let [mut weight, mut exp_avg, mut exp_avg_sq] = [weight, exp_avg, exp_avg_sq].map(Host::take);
    let factors = Factors::new(settings);
    let pieces = weight.values_mut().par_chunks_mut(PIECE).zip(gradient.values().par_chunks(PIECE));
    if exp_avg.dtype() == DType::BF16 {
        let moments = exp_avg.bf16_values_mut().par_chunks_mut(PIECE);
        let moments = moments.zip(exp_avg_sq.bf16_values_mut().par_chunks_mut(PIECE));
        pieces.zip(moments).for_each(|((w, g), (m, v))| half_piece(w, m, v, g, factors));
    } else {
        let moments = exp_avg.values_mut().par_chunks_mut(PIECE);
        let moments = moments.zip(exp_avg_sq.values_mut().par_chunks_mut(PIECE));
        pieces.zip(moments).for_each(|((w, g), (m, v))| piece(w, m, v, g, factors));
    }
    let [weight, exp_avg, exp_avg_sq] = [weight, exp_avg, exp_avg_sq].map(Host::into_tensor);
    Slot { weight, exp_avg, exp_avg_sq }
}

/// Moments in bf16: widened for [`piece`] a few at a time, then rounded.
fn half_piece(w: &mut [f32], m: &mut [bf16], v: &mut [bf16], g: &[f32], f: Factors) {
    const N: usize = 256;
    let (mut wide_m, mut wide_v) = ([0f32; N], [0f32; N]);
    for (((w, m), v), g) in
        w.chunks_mut(N).zip(m.chunks_mut(N)).zip(v.chunks_mut(N)).zip(g.chunks(N))
    {
        let (wide_m, wide_v) = (&mut wide_m[..w.len()], &mut wide_v[..w.len()]);
        widen(wide_m, m);
        widen(wide_v, v);
        piece(w, wide_m, wide_v, g, f);
        round(m, wide_m);
        round(v, wide_v);
    }
}

fn widen(to: &mut [f32], from: &[bf16]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
}

fn round(to: &mut [bf16], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = bf16::from_f32(*from));
}

widest_simd! {
    fn piece(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], f: Factors) = piece_body
}

#[inline(always)]
fn piece_body(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], f: Factors) {
    for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * f.scale;
        *m = f.beta1 * *m + f.one_minus_beta1 * g;
        *v = f.beta2 * *v + f.one_minus_beta2 * (g * g);
        *w = *w * f.keep - f.rate * *m / (v.sqrt() * f.root_correction2 + f.eps);
    }
}
