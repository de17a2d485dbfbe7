//! Rotary position embedding, rotate-half layout: the first half of a head is paired with the
//! second half (arXiv 2104.09864; the layout of Hugging Face's Llama).

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::form::by_form;

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
    by_form!("rope", &x, rotate(x, table, sign))
}

mod reference {
    use burn::tensor::{DType, Tensor};

    use super::RopeTable;

    pub(super) fn rotate(x: Tensor<4>, table: &RopeTable, sign: f32) -> Tensor<4> {
        let dtype = x.dtype();
        let half = x.dims()[3] / 2;
        let x = x.cast(DType::F32);
        let (cos, sin) = (table.cos.clone(), table.sin.clone() * sign);
        let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let rotated_first = first.clone() * cos.clone() - second.clone() * sin.clone();
        let rotated_second = second * cos + first * sin;
        Tensor::cat(vec![rotated_first, rotated_second], 3).cast(dtype)
    }
}
