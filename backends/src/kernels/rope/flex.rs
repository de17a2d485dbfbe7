//! In place, a position at a time.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::RopeTable;
use crate::flex::{Host, widest_simd};

pub(super) fn rotate(x: Tensor<4>, table: &RopeTable, sign: f32) -> Tensor<4> {
    let [_, seq, heads, head_dim] = x.dims();
    let [rows, ..] = table.cos.dims();
    let half = head_dim / 2;
    let (cos, sin, mut x) = (Host::read(&table.cos), Host::read(&table.sin), Host::take(x));
    x.values_mut().par_chunks_mut(heads * head_dim).with_min_len(16).enumerate().for_each(
        |(at, x)| {
            let (row, position) = (at / seq % rows, at % seq);
            let angles = (row * seq + position) * half..(row * seq + position + 1) * half;
            position_heads(x, &cos.values()[angles.clone()], &sin.values()[angles], sign);
        },
    );
    x.into_tensor()
}

widest_simd! {
    fn position_heads(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) = position_heads_body
}

#[inline(always)]
fn position_heads_body(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    for head in x.chunks_exact_mut(2 * cos.len()) {
        let (first, second) = head.split_at_mut(cos.len());
        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (a, b, sin) = (*first, *second, sign * sin);
            *first = a * cos - b * sin;
            *second = b * cos + a * sin;
        }
    }
}
