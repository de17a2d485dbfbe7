//! Output head and cross-entropy in one, a chunk of tokens at a time.
//!
//! `[tokens, vocab]` never exists: the logits of one chunk are made, turned into log-probabilities
//! and, when training, into their own gradient in place, and dropped. The gradient of the loss
//! with respect to each token's log-probability is known before the forward in pretraining and
//! SFT, so one pass does both directions.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::{DType, Int, Tensor};

use crate::form::by_form;

/// Bytes of f32 logits held at a time, about.
const CHUNK_BYTES: usize = 128 << 20;

/// What the loss asks of each token.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Id to be predicted, `[tokens]`.
    pub ids: Tensor<1, Int>,
    /// Weight of the token's negative log-probability in the loss, `[tokens]`, f32; 0 if masked.
    pub weights: Tensor<1>,
}

/// Result of [`forward_backward`].
pub struct Output {
    /// `ln p(target)` of each token, `[tokens]`, f32.
    pub log_probs: Tensor<1>,
    /// Log-sum-exp of each token's logits, `[tokens]`, f32.
    pub log_sum_exp: Tensor<1>,
    /// Gradient of the hidden states, `[tokens, d]`, in their dtype.
    pub dx: Tensor<2>,
    /// Gradient sum of the head, `[vocab, d]`, f32.
    pub dw: Tensor<2>,
}

/// Log-probability of each target, and the most probable id of each token.
///
/// # Shapes
/// - `x`: `[tokens, d]`, `weight`: `[vocab, d]`, `targets`: `[tokens]`
/// - returns: `[tokens]` in f32, `[tokens]`
pub fn log_probs(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Tensor<1, Int>,
) -> (Tensor<1>, Tensor<1, Int>) {
    by_form!("linear_cross_entropy", x, log_probs(x, weight, targets))
}

/// Log-probabilities of the targets and the gradients of
/// `sum_t weight_t (-ln p(target_t) + z_loss * logsumexp_t²)`.
///
/// # Shapes
/// - `x`: `[tokens, d]`, `weight`: `[vocab, d]` in the same dtype
/// - `dw`: `[vocab, d]` in f32, the sum to add to, consumed and returned
pub fn forward_backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Targets,
    z_loss: f64,
    dw: Tensor<2>,
) -> Output {
    by_form!("linear_cross_entropy", x, forward_backward(x, weight, targets, z_loss, dw))
}

/// `(start, length)` of each chunk of tokens.
fn chunks(tokens: usize, vocab: usize) -> impl Iterator<Item = (usize, usize)> {
    let chunk = (CHUNK_BYTES / 4 / vocab).clamp(16, tokens.max(16));
    (0..tokens).step_by(chunk).map(move |start| (start, chunk.min(tokens - start)))
}

/// Logits of `len` tokens from `start` on, in the dtype of `x`.
fn chunk_logits(x: &Tensor<2>, weight: &Tensor<2>, start: usize, len: usize) -> Tensor<2> {
    x.clone().narrow(0, start, len).matmul(weight.clone().transpose())
}

/// Both directions, given what turns a chunk's logits, ids and weights into log-probabilities,
/// log-sum-exp and the gradient of the logits.
fn by_chunks(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Targets,
    mut dw: Tensor<2>,
    chunk_gradient: impl Fn(Tensor<2>, Tensor<1, Int>, Tensor<1>) -> (Tensor<1>, Tensor<1>, Tensor<2>),
) -> Output {
    let (mut log_probs, mut log_sums, mut dx) = (Vec::new(), Vec::new(), Vec::new());
    for (start, len) in chunks(x.dims()[0], weight.dims()[0]) {
        let ids = targets.ids.clone().narrow(0, start, len);
        let weights = targets.weights.clone().narrow(0, start, len);
        let logits = chunk_logits(x, weight, start, len);
        let (log_prob, log_sum, d_logits) = chunk_gradient(logits, ids, weights);
        log_probs.push(log_prob);
        log_sums.push(log_sum);
        dx.push(d_logits.clone().matmul(weight.clone()));
        let part = d_logits.transpose().matmul(x.clone().narrow(0, start, len));
        dw = dw + part.cast(DType::F32);
    }
    Output {
        log_probs: Tensor::cat(log_probs, 0),
        log_sum_exp: Tensor::cat(log_sums, 0),
        dx: Tensor::cat(dx, 0),
        dw,
    }
}

mod reference {
    use burn::tensor::{DType, Int, Tensor};

    use super::{Output, Targets, by_chunks, chunk_logits, chunks};

    pub(super) fn log_probs(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        targets: &Tensor<1, Int>,
    ) -> (Tensor<1>, Tensor<1, Int>) {
        let (mut found, mut best) = (Vec::new(), Vec::new());
        for (start, len) in chunks(x.dims()[0], weight.dims()[0]) {
            let logits = chunk_logits(x, weight, start, len).cast(DType::F32);
            let targets = targets.clone().narrow(0, start, len).reshape([len, 1]);
            best.push(logits.clone().argmax(1).reshape([len]));
            let target_logits = logits.clone().gather(1, targets);
            let log_sum = log_sum_exp(logits);
            found.push((target_logits - log_sum).reshape([len]));
        }
        (Tensor::cat(found, 0), Tensor::cat(best, 0))
    }

    pub(super) fn forward_backward(
        x: &Tensor<2>,
        weight: &Tensor<2>,
        targets: &Targets,
        z_loss: f64,
        dw: Tensor<2>,
    ) -> Output {
        let dtype = x.dtype();
        by_chunks(x, weight, targets, dw, |logits, ids, weights| {
            let (log_prob, log_sum, d_logits) =
                chunk_gradient(logits.cast(DType::F32), ids, weights, z_loss);
            (log_prob, log_sum, d_logits.cast(dtype))
        })
    }

    fn log_sum_exp(logits: Tensor<2>) -> Tensor<2> {
        let top = logits.clone().max_dim(1);
        (logits - top.clone()).exp().sum_dim(1).log() + top
    }

    /// Log-probabilities, log-sum-exp and gradient of the logits of one chunk.
    fn chunk_gradient(
        logits: Tensor<2>,
        ids: Tensor<1, Int>,
        weights: Tensor<1>,
        z_loss: f64,
    ) -> (Tensor<1>, Tensor<1>, Tensor<2>) {
        let len = ids.dims()[0];
        let vocab = logits.dims()[1] as i64;
        let ids = ids.reshape([len, 1]);
        let weights = weights.reshape([len, 1]);
        let target_logits = logits.clone().gather(1, ids.clone());
        let log_sum = log_sum_exp(logits.clone());
        let probabilities = (logits - log_sum.clone()).exp();
        let common = weights.clone() * (log_sum.clone() * (2.0 * z_loss) + 1.0);
        let every = Tensor::<1, Int>::arange(0..vocab, &ids.device()).reshape([1, vocab as usize]);
        let is_target = every.equal(ids).float().cast(DType::F32);
        let d_logits = probabilities * common - is_target * weights;
        ((target_logits - log_sum.clone()).reshape([len]), log_sum.reshape([len]), d_logits)
    }
}
