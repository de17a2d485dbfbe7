//! Global gradient norm over all parameters, one number to the host.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::Tensor;

use crate::form::by_form;

/// Square root of the sum of all squares, accumulated in f32 (f64 across blocks on the CPU).
///
/// # Shapes
/// - `gradients`: matrices of any shapes
pub fn forward<'a>(gradients: impl IntoIterator<Item = &'a Tensor<2>>) -> f64 {
    let squares: Vec<Tensor<1>> = gradients.into_iter().map(sum_of_squares).collect();
    if squares.is_empty() {
        return 0.0;
    }
    let squares = Tensor::cat(squares, 0).into_data();
    squares.iter::<f64>().sum::<f64>().sqrt()
}

/// `[1]` in f32.
fn sum_of_squares(gradient: &Tensor<2>) -> Tensor<1> {
    by_form!("grad_norm", gradient, sum_of_squares(gradient))
}

mod reference {
    use burn::tensor::{DType, Tensor};

    pub(super) fn sum_of_squares(gradient: &Tensor<2>) -> Tensor<1> {
        gradient.clone().cast(DType::F32).square().sum()
    }
}
