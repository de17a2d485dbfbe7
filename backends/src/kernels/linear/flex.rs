//! Products that add into their sums where they lie.

use burn::tensor::Tensor;

use crate::flex::{Host, add_product, from_vec, product};

pub(super) fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let shape = [x.dims()[0], weight.dims()[0]];
    let (x, weight) = (Host::read(x), Host::read(weight));
    from_vec(product(x.matrix(), weight.matrix().transposed()), shape)
}

pub(super) fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let (x, weight) = (Host::read(x), Host::read(weight));
    add_product(sum, x.matrix(), weight.matrix().transposed())
}

pub(super) fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let shape = [dy.dims()[0], weight.dims()[1]];
    let (weight, dy) = (Host::read(weight), Host::read(dy));
    from_vec(product(dy.matrix(), weight.matrix()), shape)
}

pub(super) fn add_backward_input(sum: Tensor<2>, weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let (weight, dy) = (Host::read(weight), Host::read(dy));
    add_product(sum, dy.matrix(), weight.matrix())
}

pub(super) fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let (x, dy) = (Host::read(x), Host::read(dy));
    add_product(sum, dy.matrix().transposed(), x.matrix())
}
