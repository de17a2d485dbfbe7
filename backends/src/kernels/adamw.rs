//! AdamW with decoupled weight decay (arXiv 1711.05101), f32 master weights and moments.

use burn::tensor::Tensor;

use crate::profile;

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

/// One parameter with its moments, all `[rows, cols]` in f32.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Master weight.
    pub weight: Tensor<2>,
    /// Running mean of the gradient.
    pub exp_avg: Tensor<2>,
    /// Running mean of its square.
    pub exp_avg_sq: Tensor<2>,
}

/// Updates one parameter:
/// `p *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²;
/// p -= lr (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + eps)`.
///
/// # Shapes
/// - `gradient`: `[rows, cols]` in f32, as the tensors of `slot`
pub fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
    let _timer = profile::timer("adamw", &gradient);
    #[cfg(feature = "flex")]
    let (slot, gradient) = match host::update(slot, gradient, settings) {
        Ok(done) => return done,
        Err(inputs) => inputs,
    };
    let AdamW { lr, beta1, beta2, eps, weight_decay, grad_scale, .. } = *settings;
    let (correction1, correction2) = settings.bias_corrections();
    let gradient = gradient * grad_scale;
    let exp_avg = slot.exp_avg * beta1 + gradient.clone() * (1.0 - beta1);
    let exp_avg_sq = slot.exp_avg_sq * beta2 + gradient.square() * (1.0 - beta2);
    let denominator = (exp_avg_sq.clone() / correction2).sqrt() + eps;
    let weight = slot.weight * (1.0 - lr * weight_decay)
        - exp_avg.clone() / denominator * (lr / correction1);
    Slot { weight, exp_avg, exp_avg_sq }
}

impl AdamW {
    /// `(1 - beta1^k, 1 - beta2^k)` at this update.
    fn bias_corrections(&self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.update as f64);
        (power(self.beta1), power(self.beta2))
    }
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use super::{AdamW, Slot};
    use crate::flex::{Host, widest_simd};

    const PIECE: usize = 16 * 1024;

    pub(super) fn update(
        slot: Slot,
        gradient: Tensor<2>,
        settings: &AdamW,
    ) -> Result<Slot, (Slot, Tensor<2>)> {
        let gradient = match Host::take("adamw", gradient) {
            Ok(gradient) => gradient,
            Err(gradient) => return Err((slot, gradient)),
        };
        let Slot { weight, exp_avg, exp_avg_sq } = slot;
        // All four tensors of a parameter live on one device in one format.
        let [mut weight, mut exp_avg, mut exp_avg_sq] =
            [weight, exp_avg, exp_avg_sq].map(|tensor| {
                Host::take("adamw", tensor)
                    .expect("the moments are f32 and lie beside the gradient")
            });
        let factors = Factors::new(settings);
        weight
            .values_mut()
            .par_chunks_mut(PIECE)
            .zip(exp_avg.values_mut().par_chunks_mut(PIECE))
            .zip(exp_avg_sq.values_mut().par_chunks_mut(PIECE))
            .zip(gradient.values().par_chunks(PIECE))
            .for_each(|(((w, m), v), g)| piece(w, m, v, g, factors));
        Ok(Slot {
            weight: weight.into_tensor(),
            exp_avg: exp_avg.into_tensor(),
            exp_avg_sq: exp_avg_sq.into_tensor(),
        })
    }

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

    widest_simd! {
        fn piece(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], f: Factors) = piece_body
    }

    #[inline(always)]
    fn piece_body(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], f: Factors) {
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * f.scale;
            *m = f.beta1 * *m + f.one_minus_beta1 * g;
            *v = f.beta2 * *v + f.one_minus_beta2 * (g * g);
            *w = *w * f.keep - f.rate * *m / (v.sqrt() * f.root_correction2 + f.eps);
        }
    }
}
