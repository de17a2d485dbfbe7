//! `y = x wᵀ`, with weights stored as Hugging Face stores them: rows are outputs.

use burn::tensor::Tensor;

/// Multiplies each row of `x` by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d_in]`, `weight`: `[d_out, d_in]`, same dtype
/// - returns: `[tokens, d_out]`
pub fn forward(x: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    x.matmul(weight.clone().transpose())
}

/// Gradient with respect to the input.
///
/// # Shapes
/// - `dy`: `[tokens, d_out]`; returns `[tokens, d_in]`
pub fn backward_input(weight: &Tensor<2>, dy: Tensor<2>) -> Tensor<2> {
    dy.matmul(weight.clone())
}

/// Gradient with respect to the weight.
///
/// # Shapes
/// - `x`: `[tokens, d_in]`, `dy`: `[tokens, d_out]`; returns `[d_out, d_in]`
pub fn backward_weight(x: Tensor<2>, dy: Tensor<2>) -> Tensor<2> {
    dy.transpose().matmul(x)
}
