//! One training step: micro-batches forward and backward, gradients summed, one update.
//!
//! The loss is the token-weighted mean over the whole batch: every token's weight is one over the
//! number of counted targets of all micro-batches, so a split changes nothing but rounding.

use burn::tensor::{DType, Device, Tensor, TensorData};
use neo_backends::{Precision, kernels::linear_cross_entropy::Targets, profile};
use neo_data::loader::TokenBatch;
use neo_model::{
    ModelConfig, Parameters, Recompute, Transformer,
    transformer::{InputIds, upload_ids},
};

use crate::{Error, Result, optimizer::Optimizer, recipe::AttentionSpan, recipe::Recipe};

/// What a step needs beside the batch and the optimizer.
pub struct StepSettings<'a> {
    /// Shape of the network.
    pub config: &'a ModelConfig,
    /// Number formats.
    pub precision: Precision,
    /// How far attention reaches.
    pub attention_span: AttentionSpan,
    /// Weight of the mean squared log-sum-exp in the loss.
    pub z_loss: f64,
    /// What the backward makes again.
    pub recompute: Recompute,
    /// Rows of one forward and backward pass.
    pub micro_batch_sequences: usize,
    /// Where to compute.
    pub device: &'a Device,
}

impl<'a> StepSettings<'a> {
    /// What a recipe says of its steps, over micro-batches of so many rows.
    pub fn of(recipe: &'a Recipe, micro_batch_sequences: usize, device: &'a Device) -> Self {
        Self {
            config: &recipe.model,
            precision: recipe.precision,
            attention_span: recipe.attention_span,
            z_loss: recipe.optimizer.z_loss,
            recompute: recipe.recompute,
            micro_batch_sequences,
            device,
        }
    }
}

/// What a step measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Token-weighted mean loss before the update, nats per token, z-loss left out.
    pub loss: f64,
    /// Token-weighted mean of the squared log-sum-exp.
    pub mean_square_log_z: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
}

/// Runs one step on a whole batch and updates the weights.
///
/// A loss or norm that is not finite is returned as it is, and then nothing is updated.
///
/// # Errors
/// A batch without a counted target, or a device that fails.
pub fn train_step(
    optimizer: &mut Optimizer,
    batch: &TokenBatch,
    lr: f64,
    settings: &StepSettings<'_>,
) -> Result<StepOutcome> {
    let (loss, mean_square_log_z, gradients) = gradients(optimizer, batch, settings)?;
    let _stage = profile::stage("update", settings.device);
    let grad_norm = if loss.is_finite() { optimizer.update(gradients, lr) } else { f64::NAN };
    Ok(StepOutcome { loss, mean_square_log_z, grad_norm })
}

/// Loss, mean squared log-sum-exp and gradients of a whole batch, micro-batch by micro-batch.
///
/// # Errors
/// As [`train_step`].
pub fn gradients(
    optimizer: &Optimizer,
    batch: &TokenBatch,
    settings: &StepSettings<'_>,
) -> Result<(f64, f64, Parameters)> {
    let n_targets = batch.n_targets();
    if n_targets == 0.0 {
        return Err(Error::Setting("a batch has no token that counts in the loss".into()));
    }
    let parameters = optimizer.weights(settings.precision.compute_dtype());
    let model = Transformer { config: settings.config.clone(), parameters };
    let mut sums = Parameters::zeros(settings.config, settings.device);
    let mut totals: Option<Tensor<1>> = None;
    for start in (0..batch.n_sequences).step_by(settings.micro_batch_sequences) {
        let end = (start + settings.micro_batch_sequences).min(batch.n_sequences);
        let part = micro_batch(&model, &batch.rows(start..end), n_targets, settings, &mut sums);
        totals = Some(match totals {
            None => part,
            Some(totals) => totals + part,
        });
    }
    let totals = totals.ok_or_else(|| Error::Setting("a batch has no rows".into()))?;
    let totals = totals
        .try_into_vec_as::<f32>()
        .map_err(|problem| neo_model::Error::Device(problem.to_string()))?;
    Ok((f64::from(totals[0]), f64::from(totals[1]), sums))
}

/// Inputs, targets and loss weights of rows that hold one id more than their input.
pub(crate) struct MicroBatchParts {
    pub(crate) inputs: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

/// Takes rows apart; each counted target weighs one over the targets of the whole batch.
pub(crate) fn micro_batch_parts(batch: &TokenBatch, n_targets: f64) -> MicroBatchParts {
    let rows = || batch.ids.chunks_exact(batch.seq_len + 1);
    MicroBatchParts {
        inputs: rows().flat_map(|ids| &ids[..batch.seq_len]).copied().collect(),
        targets: rows().flat_map(|ids| &ids[1..]).copied().collect(),
        weights: batch.loss_mask.iter().map(|m| (f64::from(*m) / n_targets) as f32).collect(),
    }
}

/// One forward and backward pass; returns its share of `[loss, mean square log-sum-exp]`.
fn micro_batch(
    model: &Transformer,
    batch: &TokenBatch,
    n_targets: f64,
    settings: &StepSettings<'_>,
    sums: &mut Parameters,
) -> Tensor<1> {
    let _stage = profile::stage("micro-batch", settings.device);
    let MicroBatchParts { inputs, targets, weights } = micro_batch_parts(batch, n_targets);
    let document_start = match settings.attention_span {
        AttentionSpan::Row => None,
        AttentionSpan::Document => Some(&batch.document_start[..]),
    };
    let input = model.upload(InputIds {
        document_start,
        ..InputIds::rows(&inputs, batch.n_sequences, batch.seq_len)
    });
    let n_tokens = weights.len();
    let weights =
        Tensor::<1>::from_data(TensorData::new(weights, [n_tokens]), (settings.device, DType::F32));
    let targets = Targets { ids: upload_ids(&targets, settings.device), weights: weights.clone() };
    let losses =
        model.loss_and_gradients(&input, &targets, settings.z_loss, settings.recompute, sums);
    let loss = (losses.log_probs.neg() * weights.clone()).sum();
    let square = (losses.log_sum_exp.square() * weights).sum();
    Tensor::cat(vec![loss, square], 0)
}
