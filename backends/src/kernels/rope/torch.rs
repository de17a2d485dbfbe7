//! One product for the whole head, and one fused multiply and add for each half.

use burn::tensor::Tensor;

use super::RopeTable;
use crate::torch::{give, read};

pub(super) fn rotate(x: Tensor<4>, table: &RopeTable, sign: f32) -> Tensor<4> {
    let x = read(&x);
    let shape = x.size();
    let halves = x.reshape([shape[0], shape[1], shape[2], 2, shape[3] / 2]);
    let sin = read(&table.sin) * f64::from(sign);
    // The product is in f32, as the table is.
    let rotated = &halves * &read(&table.cos).unsqueeze(3);
    let [first, second] = [0, 1].map(|half| halves.select(3, half));
    let _ = rotated.select(3, 0).addcmul_(&second, &(-&sin));
    let _ = rotated.select(3, 1).addcmul_(&first, &sin);
    give(rotated.reshape(shape.as_slice()).to_kind(x.kind()))
}
