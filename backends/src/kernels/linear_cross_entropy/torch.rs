//! One buffer of logits for all chunks, turned into their gradient where they lie.

use burn::tensor::{Int, Tensor};
use tch::{Kind, Tensor as Torch};

use super::{Output, Targets, chunks};
use crate::torch::{add_product, give, give_ids, read, read_ids, take};

/// Widths of the head below which its products are summed in pieces.
const NARROW: i64 = 16;
/// Terms that such a product adds up.
const PIECE: i64 = 8 * 1024;

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
        found.push(powers(&logits, &rows.of(&targets)).log_prob);
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
        let Powers { log_prob, log_sum, sum } = powers(&logits, &ids);
        let common = (log_sum.unsqueeze(1) * (2.0 * z_loss) + 1.0) * &loss_weights;
        logits *= common / sum;
        let d_logits = logits.scatter_add_(1, &ids.unsqueeze(1), &(-loss_weights));
        let d_logits = d_logits.to_kind(x.kind());
        rows.of(&dx).copy_(&product(&d_logits, &weight));
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

/// What is left of a chunk's logits beside their powers, in f32.
struct Powers {
    /// `[len]`
    log_prob: Torch,
    /// `[len]`
    log_sum: Torch,
    /// What the powers are divided by for probabilities, `[len, 1]`.
    sum: Torch,
}

/// Turns logits into their powers over the largest of a row, where they lie.
///
/// Not ATen's softmax, which adds a row without a tree: over 64,000 values it is wrong by 9e-6.
fn powers(logits: &Torch, ids: &Torch) -> Powers {
    let mut logits = logits.shallow_clone();
    let target = logits.gather(1, &ids.unsqueeze(1), false);
    let top = logits.amax([1i64], true);
    logits -= &top;
    let sum = logits.exp_().sum_dim_intlist(1i64, true, Kind::Float);
    let log_sum = sum.log() + top;
    let log_prob = (target - &log_sum).squeeze_dim(1);
    Powers { log_prob, log_sum: log_sum.squeeze_dim(1), sum }
}

/// `d_logits weight`; for a narrow head piece by piece of the vocabulary.
///
/// Where `d` is below some 16, MKL adds in one running sum, which over 64,000 terms is wrong by
/// 4e-5; wider products are within 1e-6, and in one call faster.
fn product(d_logits: &Torch, weight: &Torch) -> Torch {
    let [vocab, d] = [0, 1].map(|dim| weight.size()[dim]);
    let piece = if d < NARROW { PIECE } else { vocab };
    let d_logits = d_logits.split(piece, 1);
    let weight = weight.split(piece, 0);
    let mut sum = d_logits[0].mm(&weight[0]);
    for (d_logits, weight) in d_logits.iter().zip(&weight).skip(1) {
        sum += d_logits.mm(weight);
    }
    sum
}
