//! Global gradient norm over all parameters, one number to the host.

use burn::tensor::{DType, Tensor};

use crate::profile;

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

fn sum_of_squares(gradient: &Tensor<2>) -> Tensor<1> {
    let _timer = profile::timer("grad_norm", gradient);
    #[cfg(feature = "flex")]
    if let Some(sum) = host::sum_of_squares(gradient) {
        return sum;
    }
    gradient.clone().cast(DType::F32).square().sum()
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::flex::{Host, from_vec, sum, widest_simd};

    const PIECE: usize = 16 * 1024;

    pub(super) fn sum_of_squares(gradient: &Tensor<2>) -> Option<Tensor<1>> {
        let gradient = Host::take("grad_norm", gradient.clone()).ok()?;
        let pieces: Vec<f64> =
            gradient.values().par_chunks(PIECE).map(|piece| f64::from(squares(piece))).collect();
        Some(from_vec(vec![pieces.iter().sum::<f64>() as f32], [1]))
    }

    widest_simd! { fn squares(values: &[f32]) -> f32 = squares_body }

    #[inline(always)]
    fn squares_body(values: &[f32]) -> f32 {
        sum(values.iter().map(|v| v * v))
    }
}
