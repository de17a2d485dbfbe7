//! ATen's SiLU and its gradient; two new buffers in the backward, the third result lies in `dy`.

use burn::tensor::Tensor;

use crate::torch::{give, read, read_wide, take_wide};

pub(super) fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    let kind = read(&gate).kind();
    let mut output = take_wide(gate).silu_();
    give(output.g_mul_(&read(&up)).to_kind(kind))
}

pub(super) fn backward(
    gate: Tensor<2>,
    up: Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let kind = read(&gate).kind();
    let (gate, up, mut d_up) = (read_wide(&gate), read_wide(&up), take_wide(dy));
    let mut output = gate.silu();
    let d_gate = &d_up * &up;
    // In place: each element of the gradient replaces the one that it is made from.
    let d_gate = gate.silu_backward_grad_input(&d_gate, &d_gate);
    let d_up = d_up.g_mul_(&output);
    let output = output.g_mul_(&up);
    (give(output.to_kind(kind)), give(d_gate.to_kind(kind)), give(d_up.to_kind(kind)))
}
