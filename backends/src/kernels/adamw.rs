//! AdamW with decoupled weight decay (arXiv 1711.05101): f32 master weights, moments in f32 or bf16.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::Tensor;

use crate::form::by_form;

/// What the update needs besides the tensors; the same for all parameters but `weight_decay`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay; 0 for norms.
    pub weight_decay: f64,
    /// Multiplies the gradient: the clip factor.
    pub grad_scale: f64,
    /// Number of this update, counted from 1.
    pub update: u64,
}

/// One parameter with its moments, all `[rows, cols]`.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Master weight, f32.
    pub weight: Tensor<2>,
    /// Running mean of the gradient, f32 or bf16.
    pub exp_avg: Tensor<2>,
    /// Running mean of its square, in the format of `exp_avg`.
    pub exp_avg_sq: Tensor<2>,
}

/// Updates one parameter:
/// `p *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²;
/// p -= lr (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + eps)`.
///
/// All of it in f32; moments in bf16 are rounded when they are put back, after their use.
///
/// # Shapes
/// - `gradient`: `[rows, cols]` in f32, as the tensors of `slot`
pub fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
    by_form!("adamw", &gradient, update(slot, gradient, settings))
}

impl AdamW {
    /// `(1 - beta1^k, 1 - beta2^k)` at this update.
    fn bias_corrections(&self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.update as f64);
        (power(self.beta1), power(self.beta2))
    }
}

/// The settings as the one-pass forms multiply by them: made in f64, used in f32.
#[cfg(any(feature = "flex", feature = "cube"))]
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    keep: f32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    root_correction2: f32,
    eps: f32,
    scale: f32,
}

#[cfg(any(feature = "flex", feature = "cube"))]
impl Factors {
    fn new(s: &AdamW) -> Self {
        let (correction1, correction2) = s.bias_corrections();
        Self {
            keep: (1.0 - s.lr * s.weight_decay) as f32,
            rate: (s.lr / correction1) as f32,
            beta1: s.beta1 as f32,
            beta2: s.beta2 as f32,
            one_minus_beta1: (1.0 - s.beta1) as f32,
            one_minus_beta2: (1.0 - s.beta2) as f32,
            root_correction2: correction2.sqrt().recip() as f32,
            eps: s.eps as f32,
            scale: s.grad_scale as f32,
        }
    }
}

mod reference {
    use burn::tensor::{DType, Tensor};

    use super::{AdamW, Slot};

    pub(super) fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
        let AdamW { lr, beta1, beta2, eps, weight_decay, grad_scale, .. } = *settings;
        let (correction1, correction2) = settings.bias_corrections();
        let dtype = slot.exp_avg.dtype();
        let gradient = gradient * grad_scale;
        let exp_avg = slot.exp_avg.cast(DType::F32) * beta1 + gradient.clone() * (1.0 - beta1);
        let exp_avg_sq =
            slot.exp_avg_sq.cast(DType::F32) * beta2 + gradient.square() * (1.0 - beta2);
        let denominator = (exp_avg_sq.clone() / correction2).sqrt() + eps;
        let weight = slot.weight * (1.0 - lr * weight_decay)
            - exp_avg.clone() / denominator * (lr / correction1);
        Slot { weight, exp_avg: exp_avg.cast(dtype), exp_avg_sq: exp_avg_sq.cast(dtype) }
    }
}
