//! RMSNorm: `y = x / sqrt(mean(x²) + eps) * w`, statistics in f32 (arXiv 1910.07467).

use burn::tensor::{DType, Tensor};

use crate::profile;

/// Normalises each row and scales it by the weight.
///
/// # Shapes
/// - `x`: `[tokens, d]`, `weight`: `[1, d]`
/// - returns: `[tokens, d]` in the dtype of `x`, and the reciprocal root `[tokens, 1]` in f32
pub fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    let _timer = profile::timer("rms_norm", &x);
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
pub fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("rms_norm", x);
    #[cfg(feature = "flex")]
    if let Some(y) = host::replay(x, weight, rstd) {
        return y;
    }
    let dtype = x.dtype();
    (x.clone().cast(DType::F32) * rstd.clone()).cast(dtype) * weight.clone().cast(dtype)
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
    let _timer = profile::timer("rms_norm", x);
    #[cfg(feature = "flex")]
    let dy = match host::backward(x, weight, rstd, dy, around.as_ref()) {
        Ok((dx, part)) => return (dx, dw + part),
        Err(dy) => dy,
    };
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

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::flex::{Host, from_vec, sum, widest_simd};

    const OPERATION: &str = "rms_norm";
    /// Rows per task: enough work to be worth a task at any width. Sums over rows are made per
    /// task and then in order, so they do not depend on the number of threads.
    const ROWS: usize = 16;

    pub(super) fn forward(
        x: Tensor<2>,
        weight: &Tensor<2>,
        eps: f64,
    ) -> Result<(Tensor<2>, Tensor<2>), Tensor<2>> {
        let [tokens, d] = x.dims();
        let x = Host::take(OPERATION, x)?;
        let Some(weight) = Host::read(OPERATION, weight) else {
            return Err(x.into_tensor());
        };
        let (mut y, mut rstd) = (vec![0f32; tokens * d], vec![0f32; tokens]);
        y.par_chunks_mut(d * ROWS)
            .zip(rstd.par_chunks_mut(ROWS))
            .zip(x.values().par_chunks(d * ROWS))
            .for_each(|((y, rstd), x)| {
                statistics(x, d, rstd, eps as f32);
                scale_rows(x, weight.values(), y, rstd);
            });
        Ok((from_vec(y, [tokens, d]), from_vec(rstd, [tokens, 1])))
    }

    pub(super) fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Option<Tensor<2>> {
        let [tokens, d] = x.dims();
        let x = Host::read(OPERATION, x)?;
        let (weight, rstd) = (Host::read(OPERATION, weight)?, Host::read(OPERATION, rstd)?);
        let mut y = vec![0f32; tokens * d];
        y.par_chunks_mut(d * ROWS)
            .zip(rstd.values().par_chunks(ROWS))
            .zip(x.values().par_chunks(d * ROWS))
            .for_each(|((y, rstd), x)| scale_rows(x, weight.values(), y, rstd));
        Some(from_vec(y, [tokens, d]))
    }

    pub(super) fn backward(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        rstd: &Tensor<2>,
        dy: Tensor<2>,
        around: Option<&Tensor<2>>,
    ) -> Result<(Tensor<2>, Tensor<2>), Tensor<2>> {
        let d = x.dims()[1];
        let [x, weight, rstd] = [x, weight, rstd].map(|tensor| Host::read(OPERATION, tensor));
        let (Some(x), Some(weight), Some(rstd)) = (x, weight, rstd) else { return Err(dy) };
        let around = match around.map(|tensor| Host::read(OPERATION, tensor)) {
            Some(None) => return Err(dy),
            found => found.flatten(),
        };
        let mut dy = Host::take(OPERATION, dy)?;
        let parts: Vec<Vec<f32>> = dy
            .values_mut()
            .par_chunks_mut(d * ROWS)
            .zip(rstd.values().par_chunks(ROWS))
            .zip(x.values().par_chunks(d * ROWS))
            .enumerate()
            .map(|(task, ((dy, rstd), x))| {
                let mut dw = vec![0f32; d];
                gradient_rows(x, weight.values(), rstd, dy, &mut dw);
                if let Some(around) = &around {
                    let start = task * d * ROWS;
                    add(dy, &around.values()[start..start + dy.len()]);
                }
                dw
            })
            .collect();
        let mut dw = vec![0f32; d];
        parts.iter().for_each(|part| add(&mut dw, part));
        Ok((dy.into_tensor(), from_vec(dw, [1, d])))
    }

    widest_simd! {
        fn statistics(x: &[f32], d: usize, rstd: &mut [f32], eps: f32) = statistics_body
    }

    #[inline(always)]
    fn statistics_body(x: &[f32], d: usize, rstd: &mut [f32], eps: f32) {
        for (x, rstd) in x.chunks_exact(d).zip(rstd) {
            *rstd = (sum(x.iter().map(|v| v * v)) / d as f32 + eps).sqrt().recip();
        }
    }

    widest_simd! {
        fn scale_rows(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &[f32]) = scale_rows_body
    }

    #[inline(always)]
    fn scale_rows_body(x: &[f32], weight: &[f32], y: &mut [f32], rstd: &[f32]) {
        let d = weight.len();
        for ((x, y), rstd) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(rstd) {
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * *rstd * w;
            }
        }
    }

    widest_simd! {
        /// Turns `dy` into `dx` and adds the weight's gradient into `dw`.
        fn gradient_rows(
            x: &[f32], weight: &[f32], rstd: &[f32], dy: &mut [f32], dw: &mut [f32],
        ) = gradient_rows_body
    }

    #[inline(always)]
    fn gradient_rows_body(x: &[f32], weight: &[f32], rstd: &[f32], dy: &mut [f32], dw: &mut [f32]) {
        let d = weight.len();
        for ((x, dy), &rstd) in x.chunks_exact(d).zip(dy.chunks_exact_mut(d)).zip(rstd) {
            let products = x.iter().zip(&*dy).zip(weight).map(|((x, dy), w)| x * dy * w);
            let along = sum(products) / d as f32 * rstd * rstd;
            for (((dy, x), w), dw) in dy.iter_mut().zip(x).zip(weight).zip(&mut *dw) {
                *dw += *dy * x * rstd;
                *dy = (*dy * w - x * along) * rstd;
            }
        }
    }

    widest_simd! { fn add(sum: &mut [f32], part: &[f32]) = add_body }

    #[inline(always)]
    fn add_body(sum: &mut [f32], part: &[f32]) {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}
