//! `y = x wᵀ`, with weights stored as Hugging Face stores them: rows are outputs.
//!
//! Whatever a product is added to is consumed and returned, so that a matrix unit that accumulates
//! does the addition on the way out.

use burn::tensor::{DType, Tensor};

use crate::profile;

/// Multiplies each row of `x` by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d_in]`, `weight`: `[d_out, d_in]`, same dtype
/// - returns: `[tokens, d_out]`
pub fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("linear", x);
    #[cfg(feature = "flex")]
    if let Some(y) = host::forward(x, weight) {
        return y;
    }
    x.clone().matmul(weight.clone().transpose())
}

/// `sum + x wᵀ`.
///
/// # Shapes
/// - `sum`: `[tokens, d_out]` in the dtype of `x`; the rest as in [`forward`]
pub fn add_forward(sum: Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("linear", x);
    #[cfg(feature = "flex")]
    let sum = match host::add_forward(sum, x, weight) {
        Ok(sum) => return sum,
        Err(sum) => sum,
    };
    sum + x.clone().matmul(weight.clone().transpose())
}

/// Gradient with respect to the input.
///
/// # Shapes
/// - `dy`: `[tokens, d_out]`; returns `[tokens, d_in]`
pub fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("linear", dy);
    #[cfg(feature = "flex")]
    if let Some(dx) = host::backward_input(weight, dy) {
        return dx;
    }
    dy.clone().matmul(weight.clone())
}

/// Adds the gradient with respect to the input to `sum`.
///
/// # Shapes
/// - `sum`: `[tokens, d_in]` in the dtype of `dy`; the rest as in [`backward_input`]
pub fn add_backward_input(sum: Tensor<2>, weight: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("linear", dy);
    #[cfg(feature = "flex")]
    let sum = match host::add_backward_input(sum, weight, dy) {
        Ok(sum) => return sum,
        Err(sum) => sum,
    };
    sum + dy.clone().matmul(weight.clone())
}

/// Adds the gradient with respect to the weight to `sum`.
///
/// # Shapes
/// - `sum`: `[d_out, d_in]` in f32; `x`: `[tokens, d_in]`; `dy`: `[tokens, d_out]`
pub fn add_backward_weight(sum: Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("linear", dy);
    #[cfg(feature = "flex")]
    let sum = match host::add_backward_weight(sum, x, dy) {
        Ok(sum) => return sum,
        Err(sum) => sum,
    };
    sum + dy.clone().transpose().matmul(x.clone()).cast(DType::F32)
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;

    use crate::flex::{Host, multiply, product};

    const OPERATION: &str = "linear";

    pub(super) fn forward(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
        let (x, weight) = (Host::read(OPERATION, x)?, Host::read(OPERATION, weight)?);
        Some(product(x.matrix(), weight.matrix().transposed()))
    }

    pub(super) fn backward_input(weight: &Tensor<2>, dy: &Tensor<2>) -> Option<Tensor<2>> {
        let (weight, dy) = (Host::read(OPERATION, weight)?, Host::read(OPERATION, dy)?);
        Some(product(dy.matrix(), weight.matrix()))
    }

    pub(super) fn add_forward(
        sum: Tensor<2>,
        x: &Tensor<2>,
        weight: &Tensor<2>,
    ) -> Result<Tensor<2>, Tensor<2>> {
        let (Some(x), Some(weight)) = (Host::read(OPERATION, x), Host::read(OPERATION, weight))
        else {
            return Err(sum);
        };
        let mut sum = Host::take(OPERATION, sum)?;
        multiply(sum.values_mut(), true, x.matrix(), weight.matrix().transposed());
        Ok(sum.into_tensor())
    }

    pub(super) fn add_backward_input(
        sum: Tensor<2>,
        weight: &Tensor<2>,
        dy: &Tensor<2>,
    ) -> Result<Tensor<2>, Tensor<2>> {
        let (Some(weight), Some(dy)) = (Host::read(OPERATION, weight), Host::read(OPERATION, dy))
        else {
            return Err(sum);
        };
        let mut sum = Host::take(OPERATION, sum)?;
        multiply(sum.values_mut(), true, dy.matrix(), weight.matrix());
        Ok(sum.into_tensor())
    }

    pub(super) fn add_backward_weight(
        sum: Tensor<2>,
        x: &Tensor<2>,
        dy: &Tensor<2>,
    ) -> Result<Tensor<2>, Tensor<2>> {
        let (Some(x), Some(dy)) = (Host::read(OPERATION, x), Host::read(OPERATION, dy)) else {
            return Err(sum);
        };
        let mut sum = Host::take(OPERATION, sum)?;
        multiply(sum.values_mut(), true, dy.matrix().transposed(), x.matrix());
        Ok(sum.into_tensor())
    }
}
