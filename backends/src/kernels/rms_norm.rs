//! RMSNorm: `y = x / sqrt(mean(x²) + eps) * w`, statistics in f32 (arXiv 1910.07467).

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::Tensor;

use crate::form::by_form;

/// Normalises each row and scales it by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d]`, `weight`: `[1, d]`
/// - returns: `[tokens, d]` in the dtype of `x`, and the reciprocal root `[tokens, 1]` in f32
pub fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    by_form!("rms_norm", &x, forward(x, weight, eps))
}

/// The output again from the saved statistics, cheaper than keeping it.
///
/// # Shapes
/// As in [`forward`].
pub fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    by_form!("rms_norm", x, replay(x, weight, rstd))
}

/// Gradients with respect to the input, added to `around`, and to the weight, added to `dw`.
///
/// # Shapes
/// - `dy`: `[tokens, d]`
/// - `around`: `[tokens, d]`, what reaches `x` past the norm, along the residual stream
/// - `dw`: `[1, d]` in f32
/// - returns: `dx + around` in the dtype of `x`, and the sum `dw`
pub fn backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    rstd: &Tensor<2>,
    dy: Tensor<2>,
    around: Option<Tensor<2>>,
    dw: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    by_form!("rms_norm", x, backward(x, weight, rstd, dy, around, dw))
}

mod reference {
    use burn::tensor::{DType, Tensor};

    pub(super) fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
        let dtype = x.dtype();
        let wide = x.cast(DType::F32);
        let rstd = wide.clone().square().mean_dim(1).add_scalar(eps).sqrt().recip();
        let y = (wide * rstd.clone()).cast(dtype) * weight.clone().cast(dtype);
        (y, rstd)
    }

    pub(super) fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
        let dtype = x.dtype();
        (x.clone().cast(DType::F32) * rstd.clone()).cast(dtype) * weight.clone().cast(dtype)
    }

    pub(super) fn backward(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        rstd: &Tensor<2>,
        dy: Tensor<2>,
        around: Option<Tensor<2>>,
        dw: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let dtype = x.dtype();
        let normed = x.clone().cast(DType::F32) * rstd.clone();
        let dy = dy.cast(DType::F32);
        let dw = dw + (dy.clone() * normed.clone()).sum_dim(0);
        let scaled = dy * weight.clone().cast(DType::F32);
        let along = (scaled.clone() * normed.clone()).mean_dim(1);
        let dx = ((scaled - normed * along) * rstd.clone()).cast(dtype);
        let dx = match around {
            Some(around) => dx + around,
            None => dx,
        };
        (dx, dw)
    }
}
