//! RMSNorm: `y = x / sqrt(mean(x²) + eps) * w`, statistics in f32 (arXiv 1910.07467).

use burn::tensor::{DType, Tensor};

/// Normalises each row and scales it by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d]`, `weight`: `[1, d]`
/// - returns: `[tokens, d]` in the dtype of `x`, and the reciprocal root `[tokens, 1]` in f32
pub fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    #[cfg(feature = "flex")]
    let x = match host::forward(x, weight, eps) {
        Ok(done) => return done,
        Err(x) => x,
    };
    let dtype = x.dtype();
    let wide = x.cast(DType::F32);
    let rstd = wide.clone().square().mean_dim(1).add_scalar(eps).sqrt().recip();
    let y = (wide * rstd.clone()).cast(dtype) * weight.clone().cast(dtype);
    (y, rstd)
}

/// The output again from the saved statistics, cheaper than keeping it.
///
/// # Shapes
/// As in [`forward`].
pub fn replay(x: Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    let dtype = x.dtype();
    (x.cast(DType::F32) * rstd.clone()).cast(dtype) * weight.clone().cast(dtype)
}

/// Gradients with respect to the input and the weight.
///
/// # Shapes
/// - `dy`: `[tokens, d]`
/// - returns: `dx [tokens, d]` in the dtype of `x`, `dw [1, d]` in f32
pub fn backward(
    x: Tensor<2>,
    weight: &Tensor<2>,
    rstd: &Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let dtype = x.dtype();
    let normed = x.cast(DType::F32) * rstd.clone();
    let dy = dy.cast(DType::F32);
    let dw = (dy.clone() * normed.clone()).sum_dim(0);
    let scaled = dy * weight.clone().cast(DType::F32);
    let along = (scaled.clone() * normed.clone()).mean_dim(1);
    let dx = (scaled - normed * along) * rstd.clone();
    (dx.cast(dtype), dw)
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::flex::{Host, from_vec, sum, widest_simd};

    /// Rows per task: enough work to be worth a task at any width.
    const ROWS: usize = 16;

    pub(super) fn forward(
        x: Tensor<2>,
        weight: &Tensor<2>,
        eps: f64,
    ) -> Result<(Tensor<2>, Tensor<2>), Tensor<2>> {
        let [tokens, d] = x.dims();
        let x = Host::take("rms_norm", x)?;
        let Ok(weight) = Host::take("rms_norm", weight.clone()) else {
            return Err(x.into_tensor());
        };
        let (mut y, mut rstd) = (vec![0f32; tokens * d], vec![0f32; tokens]);
        y.par_chunks_mut(d * ROWS)
            .zip(rstd.par_chunks_mut(ROWS))
            .zip(x.values().par_chunks(d * ROWS))
            .for_each(|((y, rstd), x)| rows(x, weight.values(), y, rstd, eps as f32));
        Ok((from_vec(y, [tokens, d]), from_vec(rstd, [tokens, 1])))
    }

    widest_simd! {
        fn rows(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &mut [f32], eps: f32) = rows_body
    }

    #[inline(always)]
    fn rows_body(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &mut [f32], eps: f32) {
        let d = weight.len();
        for ((x, y), rstd) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(rstd) {
            *rstd = (sum(x.iter().map(|v| v * v)) / d as f32 + eps).sqrt().recip();
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * *rstd * w;
            }
        }
    }
}
