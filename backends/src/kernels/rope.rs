//! Rotary position embedding, rotate-half layout: the first half of a head is paired with the
//! second half (arXiv 2104.09864; the layout of Hugging Face's Llama).

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::profile;

/// Cosines and sines of the angles at each position, in f32.
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RopeTable {
    /// Angles `position * base^(-2i / head_dim)`, computed in f64.
    ///
    /// `positions` holds one row for all sequences or one row for each.
    ///
    /// # Shapes
    /// - `positions`: `[1 or batch][seq]`
    pub fn new(positions: &[Vec<u32>], head_dim: usize, base: f64, device: &Device) -> Self {
        let half = head_dim / 2;
        let (rows, seq) = (positions.len(), positions[0].len());
        let angles: Vec<f64> = positions
            .iter()
            .flatten()
            .flat_map(|&position| {
                (0..half).map(move |i| {
                    f64::from(position) * base.powf(-2.0 * i as f64 / head_dim as f64)
                })
            })
            .collect();
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| f(angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, [rows, seq, 1, half]), (device, DType::F32))
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }
}

/// Rotates queries or keys by their absolute position.
///
/// # Shapes
/// - `x`: `[batch, seq, n_heads, head_dim]`
/// - returns: same shape and dtype
pub fn forward(x: Tensor<4>, table: &RopeTable) -> Tensor<4> {
    rotate(x, table, 1.0)
}

/// Gradient of [`forward`]: the rotation by the opposite angle.
///
/// # Shapes
/// As in [`forward`].
pub fn backward(dy: Tensor<4>, table: &RopeTable) -> Tensor<4> {
    rotate(dy, table, -1.0)
}

/// Rotates by the table's angles times `sign`, which is 1 or -1.
fn rotate(x: Tensor<4>, table: &RopeTable, sign: f32) -> Tensor<4> {
    let _timer = profile::timer("rope", &x);
    #[cfg(feature = "flex")]
    let x = match host::rotate(x, table, sign) {
        Ok(rotated) => return rotated,
        Err(x) => x,
    };
    let dtype = x.dtype();
    let half = x.dims()[3] / 2;
    let x = x.cast(DType::F32);
    let (cos, sin) = (table.cos.clone(), table.sin.clone() * sign);
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let rotated_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let rotated_second = second * cos + first * sin;
    Tensor::cat(vec![rotated_first, rotated_second], 3).cast(dtype)
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use super::RopeTable;
    use crate::flex::{Host, widest_simd};

    const OPERATION: &str = "rope";

    /// In place, a position at a time.
    pub(super) fn rotate(
        x: Tensor<4>,
        table: &RopeTable,
        sign: f32,
    ) -> Result<Tensor<4>, Tensor<4>> {
        let [_, seq, heads, head_dim] = x.dims();
        let [rows, ..] = table.cos.dims();
        let half = head_dim / 2;
        let (Some(cos), Some(sin)) =
            (Host::read(OPERATION, &table.cos), Host::read(OPERATION, &table.sin))
        else {
            return Err(x);
        };
        let mut x = Host::take(OPERATION, x)?;
        x.values_mut().par_chunks_mut(heads * head_dim).with_min_len(16).enumerate().for_each(
            |(at, x)| {
                let (row, position) = (at / seq % rows, at % seq);
                let angles = (row * seq + position) * half..(row * seq + position + 1) * half;
                position_heads(x, &cos.values()[angles.clone()], &sin.values()[angles], sign);
            },
        );
        Ok(x.into_tensor())
    }

    widest_simd! {
        fn position_heads(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) = position_heads_body
    }

    #[inline(always)]
    fn position_heads_body(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        for head in x.chunks_exact_mut(2 * cos.len()) {
            let (first, second) = head.split_at_mut(cos.len());
            for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (a, b, sin) = (*first, *second, sign * sin);
                *first = a * cos - b * sin;
                *second = b * cos + a * sin;
            }
        }
    }
}
