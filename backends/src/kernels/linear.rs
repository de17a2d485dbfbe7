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
    if let Some(y) = host::multiply(x, weight, |x, w| (x, w.transposed())) {
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
    let sum = match host::add(sum, x, weight, |x, w| (x, w.transposed())) {
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
    if let Some(dx) = host::multiply(dy, weight, |dy, w| (dy, w)) {
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
    let sum = match host::add(sum, dy, weight, |dy, w| (dy, w)) {
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
    let sum = match host::add(sum, dy, x, |dy, x| (dy.transposed(), x)) {
        Ok(sum) => return sum,
        Err(sum) => sum,
    };
    sum + dy.clone().transpose().matmul(x.clone()).cast(DType::F32)
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;

    use crate::flex::{self, Host, View};

    const OPERATION: &str = "linear";

    /// Which of the two matrices are transposed before they are multiplied.
    type Arrange = for<'a> fn(View<'a>, View<'a>) -> (View<'a>, View<'a>);

    /// The product of two matrices as `arrange` lays them.
    pub(super) fn multiply(a: &Tensor<2>, b: &Tensor<2>, arrange: Arrange) -> Option<Tensor<2>> {
        let (a, b) = (Host::read(OPERATION, a)?, Host::read(OPERATION, b)?);
        let (a, b) = arrange(a.matrix(), b.matrix());
        Some(flex::product(a, b))
    }

    /// Adds the product of two matrices, as `arrange` lays them, to `sum` where it lies.
    pub(super) fn add(
        sum: Tensor<2>,
        a: &Tensor<2>,
        b: &Tensor<2>,
        arrange: Arrange,
    ) -> Result<Tensor<2>, Tensor<2>> {
        let (Some(a), Some(b)) = (Host::read(OPERATION, a), Host::read(OPERATION, b)) else {
            return Err(sum);
        };
        let mut sum = Host::take(OPERATION, sum)?;
        let (a, b) = arrange(a.matrix(), b.matrix());
        flex::multiply(sum.values_mut(), true, a, b);
        Ok(sum.into_tensor())
    }
}
