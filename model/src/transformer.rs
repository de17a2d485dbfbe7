//! The network on one screen: embedding, blocks, norm, head; forward, and loss with gradients.
//!
//! The forward is made of differentiable operations, so it can be recorded by burn's autodiff;
//! training does not: `loss_and_gradients` walks the blocks back by hand (`block.rs`), which keeps
//! memory linear in the sequence and sums gradients as soon as they exist. The recorded forward is
//! the oracle in `tests/gradients.rs`.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use neo_backends::kernels::{
    attention::Span, embedding, linear, linear_cross_entropy, linear_cross_entropy::Targets,
    rms_norm, rope::RopeTable,
};

use crate::{
    ModelConfig,
    block::{self, Pass, Recompute},
    init,
    kv_cache::KvCache,
    parameters::Parameters,
};

/// A MAP-Neo decoder on a device.
#[derive(Clone, Debug)]
pub struct Transformer {
    /// Its sizes.
    pub config: ModelConfig,
    /// Its weights, in the number format of the matrix products.
    pub parameters: Parameters,
}

/// What a pass reads: ids on the device with their positions and what they may see.
#[derive(Clone, Debug)]
pub struct Input {
    ids: Tensor<1, Int>,
    span: Span,
    rope: RopeTable,
    batch: usize,
    seq: usize,
}

/// Host side of [`Input`], row-major `[batch, seq]`.
#[derive(Clone, Copy, Debug)]
pub struct InputIds<'a> {
    /// Token ids, each below `vocab_size`.
    pub ids: &'a [u32],
    /// Rows.
    pub batch: usize,
    /// Columns.
    pub seq: usize,
    /// Index in the row at which each position's own document starts: limits attention to the
    /// document. `None`: attention over the row.
    pub document_start: Option<&'a [u32]>,
    /// Position of each token for RoPE; `None`: `0..seq` in every row.
    pub positions: Option<&'a [u32]>,
}

impl<'a> InputIds<'a> {
    /// Rows without document limits at positions `0..seq`.
    pub fn rows(ids: &'a [u32], batch: usize, seq: usize) -> Self {
        Self { ids, batch, seq, document_start: None, positions: None }
    }
}

/// Per-token results of a training pass, `[tokens]`, on the device.
pub struct TokenLosses {
    /// `ln p(target)`.
    pub log_probs: Tensor<1>,
    /// Log-sum-exp of the logits.
    pub log_sum_exp: Tensor<1>,
}

impl Transformer {
    /// A model with initial weights that depend on nothing but `config` and `seed`.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        Self { config: config.clone(), parameters: init::parameters(config, seed, device) }
    }

    /// Puts ids on the device of the weights.
    ///
    /// # Panics
    /// When a slice is not `batch * seq` long.
    pub fn upload(&self, input: InputIds<'_>) -> Input {
        self.upload_at(input, 0)
    }

    fn upload_at(&self, input: InputIds<'_>, first_position: usize) -> Input {
        let InputIds { ids, batch, seq, document_start, positions } = input;
        let device = self.device();
        let ids = upload_ids(ids, &device);
        assert_eq!(ids.dims(), [batch * seq], "ids are [batch, seq]");
        let span = match document_start {
            None => Span::Row,
            Some(first) => Span::document(first, batch, seq, &device),
        };
        let positions: Vec<Vec<u32>> = match positions {
            None => vec![(first_position as u32..(first_position + seq) as u32).collect()],
            Some(positions) => positions.chunks_exact(seq).map(<[u32]>::to_vec).collect(),
        };
        let rope = RopeTable::new(&positions, self.config.head_dim, self.config.rope_base, &device);
        Input { ids, span, rope, batch, seq }
    }

    /// Device of the weights.
    pub fn device(&self) -> Device {
        self.parameters.norm.device()
    }

    /// Hidden states after the final norm.
    ///
    /// # Shapes
    /// - returns: `[batch * seq, d_model]`
    pub fn forward(&self, input: &Input) -> Tensor<2> {
        self.hidden_states(input).pop().expect("the final norm is always there")
    }

    /// The embedding, the residual stream after each block, and the output of the final norm.
    ///
    /// # Shapes
    /// - returns: `n_layers + 2` tensors `[batch * seq, d_model]`
    pub fn hidden_states(&self, input: &Input) -> Vec<Tensor<2>> {
        let pass = self.pass(input);
        let mut states = vec![embedding::forward(&input.ids, &self.parameters.embedding)];
        for weights in &self.parameters.blocks {
            let (y, _) = block::forward(
                weights,
                states[states.len() - 1].clone(),
                &pass,
                None,
                Recompute::Block,
            );
            states.push(y);
        }
        let top = states[states.len() - 1].clone();
        states.push(rms_norm::forward(top, &self.parameters.norm, self.config.norm_eps).0);
        states
    }

    /// Hidden states after the final norm of the new positions, which follow those in `cache`.
    ///
    /// # Shapes
    /// - `ids`: `batch * new` ids; returns `[batch * new, d_model]`
    pub fn forward_cached(&self, ids: &[u32], batch: usize, cache: &mut KvCache) -> Tensor<2> {
        let input = self.upload_at(InputIds::rows(ids, batch, ids.len() / batch), cache.len);
        let pass = self.pass(&input);
        let mut x = embedding::forward(&input.ids, &self.parameters.embedding);
        for (weights, layer) in self.parameters.blocks.iter().zip(&mut cache.layers) {
            x = block::forward(weights, x, &pass, Some(layer), Recompute::Block).0;
        }
        cache.len += input.seq;
        rms_norm::forward(x, &self.parameters.norm, self.config.norm_eps).0
    }

    /// Logits of hidden states, in their number format.
    ///
    /// # Shapes
    /// - `hidden`: `[tokens, d_model]`; returns `[tokens, vocab_size]`
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        linear::forward(&hidden, &self.parameters.head)
    }

    /// Per-token losses, and the gradients of
    /// `sum_t weight_t (-ln p(target_t) + z_loss * logsumexp_t²)` added into `sums`.
    ///
    /// # Shapes
    /// - `targets`: `[batch * seq]`; `sums`: as the parameters, f32
    pub fn loss_and_gradients(
        &self,
        input: &Input,
        targets: &Targets,
        z_loss: f64,
        recompute: Recompute,
        sums: &mut Parameters,
    ) -> TokenLosses {
        let pass = self.pass(input);
        let w = &self.parameters;
        let mut x = embedding::forward(&input.ids, &w.embedding);
        let mut saved = Vec::with_capacity(w.blocks.len());
        for weights in &w.blocks {
            let (y, kept) = block::forward(weights, x, &pass, None, recompute);
            saved.push(kept);
            x = y;
        }
        let (normed, rstd) = rms_norm::forward(x.clone(), &w.norm, self.config.norm_eps);

        let head_sum = sums.head.extract();
        let loss =
            linear_cross_entropy::forward_backward(&normed, &w.head, targets, z_loss, head_sum);
        sums.head = loss.dw;
        let norm_sum = sums.norm.extract();
        let (mut dx, d_norm) = rms_norm::backward(&x, &w.norm, &rstd, loss.dx, None, norm_sum);
        sums.norm = d_norm;
        let blocks = w.blocks.iter().zip(&mut sums.blocks).zip(saved).rev();
        for ((weights, block_sums), kept) in blocks {
            dx = block::backward(weights, kept, dx, &pass, block_sums);
        }
        let dx = dx.cast(DType::F32);
        sums.embedding.inplace(|sum| embedding::backward(sum, &input.ids, dx));
        TokenLosses { log_probs: loss.log_probs, log_sum_exp: loss.log_sum_exp }
    }

    fn pass<'a>(&'a self, input: &'a Input) -> Pass<'a> {
        let &Input { ref span, ref rope, batch, seq, .. } = input;
        Pass { config: &self.config, rope, span, batch, seq }
    }
}

/// Host ids to a tensor.
pub fn upload_ids(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let n = ids.len();
    Tensor::from_data(TensorData::new(ids, [n]), device)
}
