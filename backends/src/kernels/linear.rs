//! `y = x wᵀ`, with weights stored as Hugging Face stores them: rows are outputs.
//!
//! Whatever a product is added to is consumed and returned, so that a matrix unit that accumulates
//! does the addition on the way out.

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::Tensor;
// Burn's products are CubeCL kernels tuned for the device, which add `sum` on the way out.
#[cfg(feature = "cube")]
use reference as cube;

use crate::form::by_form;

/// Multiplies each row of `x` by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d_in]`, `weight`: `[d_out, d_in]`, same dtype
/// - returns: `[tokens, d_out]`
pub fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    by_form!("linear", x, forward(x, weight))
}

/// `sum + x wᵀ`.
///
/// # Shapes
/// - `sum`: `[tokens, d_out]` in the dtype of `x`; the rest as in [`forward`]
pub fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    by_form!("linear", x, add_forward(sum, x, weight))
}

/// Gradient with respect to the input.
///
/// # Shapes
/// - `dy`: `[tokens, d_out]`; returns `[tokens, d_in]`
pub fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    by_form!("linear", dy, backward_input(weight, dy))
}

/// Adds the gradient with respect to the input to `sum`.
///
/// # Shapes
/// - `sum`: `[tokens, d_in]` in the dtype of `dy`; the rest as in [`backward_input`]
pub fn add_backward_input(sum: Tensor<2>, weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    by_form!("linear", dy, add_backward_input(sum, weight, dy))
}

/// Adds the gradient with respect to the weight to `sum`.
///
/// # Shapes
/// - `sum`: `[d_out, d_in]` in f32; `x`: `[tokens, d_in]`; `dy`: `[tokens, d_out]`
pub fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    by_form!("linear", dy, add_backward_weight(sum, x, dy))
}

mod reference {
    use burn::tensor::{DType, Tensor};

    pub(super) fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        x.clone().matmul(weight.clone().transpose())
    }

    pub(super) fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        sum + forward(x, weight)
    }

    pub(super) fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
        dy.clone().matmul(weight.clone())
    }

    pub(super) fn add_backward_input(
        sum: Tensor<2>,
        weight: &Tensor<2>,
        dy: &Tensor<2>,
    ) -> Tensor<2> {
        sum + backward_input(weight, dy)
    }

    pub(super) fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
        sum + dy.clone().transpose().matmul(x.clone()).cast(DType::F32)
    }
}
