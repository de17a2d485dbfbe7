//! One buffer of logits for all chunks, turned into their gradient where they lie.

use burn::tensor::{Int, Tensor};
use tch::{Kind, Tensor as Torch};

use super::{Output, Targets, chunks};
use crate::torch::{add_product, give, give_ids, read, read_ids, take};

pub(super) fn log_probs(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Tensor<1, Int>,
) -> (Tensor<1>, Tensor<1, Int>) {
    let (x, weight, targets) = (read(x), read(weight), read_ids(targets));
    let mut buffer = Logits::new(&x, &weight);
    let (mut found, mut best) = (Vec::new(), Vec::new());
    for rows in buffer.chunks() {
        let logits = buffer.fill(&rows.of(&x), &weight);
        best.push(logits.argmax(1, false));
        found.push(softmax(&logits, &rows.of(&targets)).log_prob);
    }
    (give(Torch::cat(&found, 0)), give_ids(Torch::cat(&best, 0)))
}

pub(super) fn forward_backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Targets,
    z_loss: f64,
    dw: Tensor<2>,
) -> Output {
    let (x, weight, mut dw) = (read(x), read(weight), take(dw));
    let (ids, loss_weights) = (read_ids(&targets.ids), read(&targets.weights));
    let dx = x.empty_like();
    let mut buffer = Logits::new(&x, &weight);
    let (mut log_probs, mut log_sums) = (Vec::new(), Vec::new());
    for rows in buffer.chunks() {
        let mut logits = buffer.fill(&rows.of(&x), &weight);
        let (ids, loss_weights) = (rows.of(&ids), rows.of(&loss_weights).unsqueeze(1));
        let Softmax { log_prob, log_sum } = softmax(&logits, &ids);
        let common = (log_sum.unsqueeze(1) * (2.0 * z_loss) + 1.0) * &loss_weights;
        logits *= common;
        let d_logits = logits.scatter_add_(1, &ids.unsqueeze(1), &(-loss_weights));
        let d_logits = d_logits.to_kind(x.kind());
        let _ = d_logits.mm_out(&rows.of(&dx), &weight);
        add_product(&mut dw, &d_logits.tr(), &rows.of(&x));
        log_probs.push(log_prob);
        log_sums.push(log_sum);
    }
    let [log_probs, log_sum_exp] = [log_probs, log_sums].map(|parts| give(Torch::cat(&parts, 0)));
    Output { log_probs, log_sum_exp, dx: give(dx), dw: give(dw) }
}

/// Some of the tokens.
struct Rows {
    start: i64,
    len: i64,
}

impl Rows {
    fn of(&self, tensor: &Torch) -> Torch {
        tensor.narrow(0, self.start, self.len)
    }
}

/// The logits of one chunk at a time, in f32.
struct Logits {
    tokens: usize,
    vocab: usize,
    wide: Torch,
    /// As the product makes them, where that is not f32.
    narrow: Option<Torch>,
}

impl Logits {
    fn new(x: &Torch, weight: &Torch) -> Self {
        let (tokens, vocab) = (x.size()[0] as usize, weight.size()[0] as usize);
        let longest = chunks(tokens, vocab).map(|(_, len)| len).max().unwrap_or(0);
        let room = |kind| Torch::empty([longest as i64, vocab as i64], (kind, x.device()));
        let narrow = (x.kind() != Kind::Float).then(|| room(x.kind()));
        Self { tokens, vocab, wide: room(Kind::Float), narrow }
    }

    fn chunks(&self) -> impl Iterator<Item = Rows> + use<> {
        chunks(self.tokens, self.vocab)
            .map(|(start, len)| Rows { start: start as i64, len: len as i64 })
    }

    /// `x weightᵀ`, in memory that the next call uses again.
    fn fill(&mut self, x: &Torch, weight: &Torch) -> Torch {
        let rows = Rows { start: 0, len: x.size()[0] };
        let mut logits = rows.of(&self.wide);
        match &self.narrow {
            Some(narrow) => logits.copy_(&x.mm_out(&rows.of(narrow), &weight.tr())),
            None => logits = x.mm_out(&logits, &weight.tr()),
        }
        logits
    }
}

/// What is left of a chunk's logits beside their softmax, `[len]` in f32.
struct Softmax {
    log_prob: Torch,
    log_sum: Torch,
}

/// Turns logits into probabilities where they lie.
///
/// The largest probability is the reciprocal of the sum of powers, so it gives the log-sum-exp.
fn softmax(logits: &Torch, ids: &Torch) -> Softmax {
    let target = logits.gather(1, &ids.unsqueeze(1), false).squeeze_dim(1);
    let top = logits.amax([1i64], false);
    let probabilities = logits.internal_softmax_out(logits, 1, false);
    let log_sum = top - probabilities.amax([1i64], false).log_();
    Softmax { log_prob: target - &log_sum, log_sum }
}
