//! Products that add into their sums where they lie.

use burn::tensor::Tensor;

use crate::flex::{self, Host};

pub(super) fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let (x, weight) = (Host::read(x), Host::read(weight));
    flex::product(x.matrix(), weight.matrix().transposed())
}

pub(super) fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let (mut sum, x, weight) = (Host::take(sum), Host::read(x), Host::read(weight));
    flex::multiply(sum.values_mut(), true, x.matrix(), weight.matrix().transposed());
    sum.into_tensor()
}

pub(super) fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let (weight, dy) = (Host::read(weight), Host::read(dy));
    flex::product(dy.matrix(), weight.matrix())
}

pub(super) fn add_backward_input(sum: Tensor<2>, weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let (mut sum, weight, dy) = (Host::take(sum), Host::read(weight), Host::read(dy));
    flex::multiply(sum.values_mut(), true, dy.matrix(), weight.matrix());
    sum.into_tensor()
}

pub(super) fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let (mut sum, x, dy) = (Host::take(sum), Host::read(x), Host::read(dy));
    flex::multiply(sum.values_mut(), true, dy.matrix().transposed(), x.matrix());
    sum.into_tensor()
}
