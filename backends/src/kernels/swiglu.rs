//! SwiGLU gate: `silu(gate) * up` (arXiv 2002.05202), computed in f32.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::Tensor;

use crate::form::by_form;

/// Gates `up` by `silu(gate)`.
///
/// # Shapes
/// - `gate`, `up`: `[tokens, d_ff]`, same dtype
/// - returns: `[tokens, d_ff]`
pub fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    by_form!("swiglu", &gate, forward(gate, up))
}

/// The output again, and the gradients with respect to `gate` and `up`, from the inputs.
///
/// # Shapes
/// - `dy`: `[tokens, d_ff]`; returns `(output, d_gate, d_up)`, all `[tokens, d_ff]`
pub fn backward(
    gate: Tensor<2>,
    up: Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    by_form!("swiglu", &gate, backward(gate, up, dy))
}

mod reference {
    use burn::tensor::{DType, Tensor, activation::sigmoid};

    pub(super) fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
        let dtype = gate.dtype();
        let gate = gate.cast(DType::F32);
        (gate.clone() * sigmoid(gate) * up.cast(DType::F32)).cast(dtype)
    }

    pub(super) fn backward(
        gate: Tensor<2>,
        up: Tensor<2>,
        dy: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let dtype = gate.dtype();
        let [gate, up, dy] = [gate, up, dy].map(|x| x.cast(DType::F32));
        let s = sigmoid(gate.clone());
        let silu = gate.clone() * s.clone();
        let slope = s.clone() + silu.clone() * (s.neg() + 1.0);
        let d_gate = dy.clone() * up.clone() * slope;
        ((silu.clone() * up).cast(dtype), d_gate.cast(dtype), (dy * silu).cast(dtype))
    }
}
