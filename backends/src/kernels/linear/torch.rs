//! ATen's products, which add into their sums where they lie.

use burn::tensor::Tensor;

use crate::torch::{add_product, give, read, take};

pub(super) fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    give(read(x).mm(&read(weight).tr()))
}

pub(super) fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    give(take(sum).addmm_(&read(x), &read(weight).tr()))
}

pub(super) fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    give(read(dy).mm(&read(weight)))
}

pub(super) fn add_backward_input(sum: Tensor<2>, weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    give(take(sum).addmm_(&read(dy), &read(weight)))
}

pub(super) fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let mut sum = take(sum);
    add_product(&mut sum, &read(dy).tr(), &read(x));
    give(sum)
}
