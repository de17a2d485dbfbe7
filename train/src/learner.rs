//! Who holds the weights and does the steps: burn's tensors on any device, or the card itself.
//!
//! `optimizer.rs` and `step.rs` do a step in burn's tensors, operation by operation; `resident.rs`
//! hands the whole of it to a card that can. The loop, checkpoints and evaluation see this type.

use burn::tensor::DType;
use neo_backends::resident::card_for;
use neo_data::loader::TokenBatch;
use neo_model::{Parameters, Transformer};

use crate::{
    Result,
    checkpoint::{Checkpoint, TensorStream},
    optimizer::Optimizer,
    recipe::Recipe,
    resident::{self, Resident},
    step::{StepOutcome, StepSettings, gradients, train_step},
};

/// Weights and moments, wherever they lie, and the step that changes them.
#[expect(clippy::large_enum_variant, reason = "there is one in a program")]
pub enum Learner {
    /// In burn's tensors.
    Tensors(Optimizer),
    /// On a card that holds the whole step.
    Card(Resident),
}

impl Learner {
    /// The weights of a checkpoint, or the recipe's initial ones, where the settings say.
    ///
    /// # Errors
    /// A checkpoint of another model, or a device without room.
    pub fn open(
        recipe: &Recipe,
        settings: &StepSettings<'_>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self> {
        let (optimizer, device) = (recipe.optimizer, settings.device);
        let seq = recipe.batch.seq_len;
        let shape = resident::settings(settings, seq, optimizer.moments);
        if let Some(card) = card_for(device, &shape)? {
            let mut resident = Resident::new(card, settings, seq, optimizer)?;
            match checkpoint {
                Some(checkpoint) => resident.restore(checkpoint)?,
                None => resident.initialise(recipe.seed)?,
            }
            return Ok(Self::Card(resident));
        }
        Ok(Self::Tensors(match checkpoint {
            Some(checkpoint) => Optimizer::restore(optimizer, &recipe.model, checkpoint, device)?,
            None => {
                let model = Transformer::init(&recipe.model, recipe.seed, device);
                Optimizer::new(optimizer, &recipe.model, model.parameters)
            }
        }))
    }

    /// Runs one step on a whole batch and updates the weights.
    ///
    /// A loss or norm that is not finite is returned as it is, and then nothing is updated.
    ///
    /// # Errors
    /// A batch without a counted target, or a device that fails.
    pub fn step(
        &mut self,
        batch: &TokenBatch,
        lr: f64,
        settings: &StepSettings<'_>,
    ) -> Result<StepOutcome> {
        match self {
            Self::Tensors(optimizer) => train_step(optimizer, batch, lr, settings),
            Self::Card(resident) => resident.step(batch, lr),
        }
    }

    /// Loss, mean squared log-sum-exp and gradients of a whole batch.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn gradients(
        &mut self,
        batch: &TokenBatch,
        settings: &StepSettings<'_>,
    ) -> Result<(f64, f64, Parameters)> {
        match self {
            Self::Tensors(optimizer) => gradients(optimizer, batch, settings),
            Self::Card(resident) => resident.gradients(batch),
        }
    }

    /// Updates done since the moments were zero.
    pub fn updates(&self) -> u64 {
        match self {
            Self::Tensors(optimizer) => optimizer.updates(),
            Self::Card(resident) => resident.updates(),
        }
    }

    /// Sets moments and update count to zero and keeps the weights.
    ///
    /// # Errors
    /// A device that fails.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Self::Tensors(optimizer) => optimizer.restart(),
            Self::Card(resident) => resident.restart()?,
        }
        Ok(())
    }

    /// The weights in a number format, as tensors of the device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn weights(&self, dtype: DType) -> Result<Parameters> {
        match self {
            Self::Tensors(optimizer) => Ok(optimizer.weights(dtype)),
            Self::Card(resident) => resident.weights(dtype),
        }
    }

    /// The master weights, read back one at a time.
    pub fn weight_stream(&self) -> TensorStream<'_> {
        match self {
            Self::Tensors(optimizer) => optimizer.weight_stream(),
            Self::Card(resident) => resident.weight_stream(),
        }
    }

    /// Both moments of every parameter, read back one at a time; nothing when they are zero.
    pub fn moment_stream(&self) -> TensorStream<'_> {
        match self {
            Self::Tensors(optimizer) => optimizer.moment_stream(),
            Self::Card(resident) => resident.moment_stream(),
        }
    }
}
