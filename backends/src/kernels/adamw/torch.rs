//! In place, in pieces that stay in the cache on the CPU.
//!
//! `tch` does not export ATen's `_fused_adamw_`.

use burn::tensor::Tensor;
use tch::Kind;

use super::{AdamW, Slot};
use crate::torch::{give, pieces, take, take_wide};

/// Values per piece on the CPU: half a MiB of each of the four tensors.
const PIECE: i64 = 128 * 1024;

pub(super) fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
    let tensors = [take(slot.weight), take(slot.exp_avg), take(slot.exp_avg_sq)];
    let gradient = take_wide(gradient).view([-1]);
    let [weights, means, squares] = tensors.each_ref().map(|t| pieces(&t.view([-1]), PIECE));
    let moments = means.zip(squares).map(<[_; 2]>::from);
    for ((weight, moments), gradient) in weights.zip(moments).zip(pieces(&gradient, PIECE)) {
        update_piece(weight, moments, gradient, settings);
    }
    let [weight, exp_avg, exp_avg_sq] = tensors.map(give);
    Slot { weight, exp_avg, exp_avg_sq }
}

/// Updates weight and moments where they lie; `gradient` is scratch afterwards.
///
/// `lr (m / c1) / (sqrt(v / c2) + eps)` is computed as `m / (sqrt(v) + eps sqrt(c2))` times
/// `lr sqrt(c2) / c1`.
fn update_piece(
    mut weight: tch::Tensor,
    moments: [tch::Tensor; 2],
    mut gradient: tch::Tensor,
    settings: &AdamW,
) {
    let AdamW { lr, beta1, beta2, eps, weight_decay, grad_scale, .. } = *settings;
    let (correction1, correction2) = settings.bias_corrections();
    // Moments in bf16 are copied here and rounded at the end; those in f32 are worked on directly.
    let [mut exp_avg, mut exp_avg_sq] = moments.each_ref().map(|m| m.to_kind(Kind::Float));
    gradient *= grad_scale;
    let _ = exp_avg.lerp_(&gradient, 1.0 - beta1);
    let square = gradient.square_();
    let _ = exp_avg_sq.lerp_(&square, 1.0 - beta2);
    let mut denominator = exp_avg_sq.sqrt_out(&square);
    denominator += eps * correction2.sqrt();
    let mut step = exp_avg.divide_out(&denominator, &denominator);
    step *= -lr * correction2.sqrt() / correction1;
    weight *= 1.0 - lr * weight_decay;
    weight += step;
    for (mut kept, new) in moments.into_iter().zip([exp_avg, exp_avg_sq]) {
        if kept.kind() != Kind::Float {
            kept.copy_(&new);
        }
    }
}
