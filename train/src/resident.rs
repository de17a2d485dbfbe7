//! The training step of a card that holds all of it: recipes, batches and checkpoints to and from
//! `neo_backends::resident`, which knows sizes and numbers only.

use std::path::Path;

use burn::tensor::{DType, Device};
use neo_backends::{
    Precision, profile,
    resident::{
        Card, Decoder, Keep, MicroBatch, Settings, State, Step, UpdateSettings,
        facts::square_tflops,
    },
};
use neo_data::loader::TokenBatch;
use neo_model::{
    ModelConfig, Parameters, Recompute, hf, init,
    load::{f32_specs, to_device},
    weights::{Dtype, HostTensor, TensorSpec, WeightReader},
};

use crate::{
    Error, Result,
    checkpoint::{Checkpoint, TensorStream, moment_names},
    recipe::{AttentionSpan, OptimizerSettings, Recipe},
    step::{StepOutcome, StepSettings, micro_batch_parts},
};

/// A network on a card, with its optimizer.
pub struct Resident {
    step: Step,
    config: ModelConfig,
    optimizer: OptimizerSettings,
    specs: Vec<TensorSpec>,
    device: Device,
    updates: u64,
}

/// The card's view of a recipe, with micro-batches of so many rows.
pub(crate) fn planned(recipe: &Recipe, rows: usize) -> Settings {
    Settings {
        decoder: decoder(&recipe.model),
        rows,
        seq: recipe.batch.seq_len,
        element: recipe.precision,
        moments: recipe.optimizer.moments,
        keep: keep(recipe.recompute),
        documents: recipe.attention_span == AttentionSpan::Document,
        z_loss: recipe.optimizer.z_loss,
    }
}

/// The card's view of a step over rows of `seq` tokens.
pub(crate) fn settings(step: &StepSettings<'_>, seq: usize, moments: Precision) -> Settings {
    Settings {
        decoder: decoder(step.config),
        rows: step.micro_batch_sequences,
        seq,
        element: step.precision,
        moments,
        keep: keep(step.recompute),
        documents: step.attention_span == AttentionSpan::Document,
        z_loss: step.z_loss,
    }
}

fn decoder(m: &ModelConfig) -> Decoder {
    Decoder {
        vocab: m.vocab_size,
        d_model: m.d_model,
        n_layers: m.n_layers,
        n_heads: m.n_heads,
        n_kv_heads: m.n_kv_heads,
        head_dim: m.head_dim,
        d_ff: m.d_ff,
        norm_eps: m.norm_eps,
        rope_base: m.rope_base,
    }
}

fn keep(recompute: Recompute) -> Keep {
    match recompute {
        Recompute::None => Keep::All,
        Recompute::Mlp => Keep::Attention,
        Recompute::Block => Keep::Input,
    }
}

impl Resident {
    /// Takes room on a card for a step over rows of `seq` tokens; weights and moments are zeros.
    ///
    /// # Errors
    /// Sizes that the card's kernels do not take, or a card without room.
    pub fn new(
        card: Box<dyn Card>,
        step: &StepSettings<'_>,
        seq: usize,
        optimizer: OptimizerSettings,
    ) -> Result<Self> {
        Ok(Self {
            step: Step::open(card, settings(step, seq, optimizer.moments))?,
            config: step.config.clone(),
            optimizer,
            specs: f32_specs(step.config, ""),
            device: step.device.clone(),
            updates: 0,
        })
    }

    /// Sets the weights to the initial ones of a seed.
    ///
    /// # Errors
    /// A card that fails.
    pub fn initialise(&mut self, seed: u64) -> Result<()> {
        for index in 0..self.specs.len() {
            let TensorSpec { name, shape, .. } = self.specs[index].clone();
            let values = init::values(&self.config, seed, &name, shape.iter().product());
            let tensor = HostTensor::from_f32(name, shape, &values);
            self.step.write(State::Weight, index, &tensor.bytes)?;
        }
        Ok(())
    }

    /// Reads the weights of a model folder.
    ///
    /// # Errors
    /// Files that cannot be read or are not of this model, or a card that fails.
    pub fn load(&mut self, dir: &Path) -> Result<()> {
        let weights = WeightReader::open(dir)?;
        hf::check_parameters(&weights, &self.config)?;
        for index in 0..self.specs.len() {
            let weight = weights.read(&self.specs[index].name)?.cast(Dtype::F32);
            self.step.write(State::Weight, index, &weight.bytes)?;
        }
        Ok(())
    }

    /// Reads weights and moments of a checkpoint back.
    ///
    /// # Errors
    /// As [`Resident::load`].
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.load(checkpoint.dir())?;
        self.updates = checkpoint.state().optimizer_steps;
        if self.updates == 0 {
            return Ok(());
        }
        let moments = checkpoint.optimizer()?;
        for index in 0..self.specs.len() {
            let names = moment_names(&self.specs[index].name);
            for (state, name) in [State::ExpAvg, State::ExpAvgSq].into_iter().zip(names) {
                let moment = moments.read(&name)?.cast(self.moment_dtype());
                self.step.write(state, index, &moment.bytes)?;
            }
        }
        Ok(())
    }

    /// Rate of one large product in the format of the model's, TFLOP/s.
    ///
    /// # Errors
    /// A card that fails or has no room for it.
    pub fn matrix_tflops(&self, size: usize) -> Result<f64> {
        Ok(square_tflops(self.step.card(), size, self.step.settings().element)?)
    }

    /// Updates done since the moments were zero.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Sets moments and update count to zero and keeps the weights.
    ///
    /// # Errors
    /// A card that fails.
    pub fn restart(&mut self) -> Result<()> {
        self.updates = 0;
        Ok(self.step.restart()?)
    }

    /// Runs one step on a whole batch; the card's own norm decides whether anything is updated.
    ///
    /// # Errors
    /// A batch without a counted target, or a card that fails.
    pub fn step(&mut self, batch: &TokenBatch, lr: f64) -> Result<StepOutcome> {
        self.queue_gradients(batch)?;
        let OptimizerSettings { beta1, beta2, eps, weight_decay, clip_norm, .. } = self.optimizer;
        let _stage = profile::stage("update", &self.device);
        let update = self.updates + 1;
        let settings = UpdateSettings { lr, beta1, beta2, eps, weight_decay, clip_norm, update };
        let grad_norm = self.step.update(&settings)?;
        if grad_norm.is_finite() {
            self.updates = update;
        }
        let [loss, mean_square_log_z] = self.step.totals()?;
        Ok(StepOutcome { loss, mean_square_log_z, grad_norm })
    }

    /// Loss, mean squared log-sum-exp and gradients of a whole batch.
    ///
    /// # Errors
    /// As [`Resident::step`].
    pub fn gradients(&mut self, batch: &TokenBatch) -> Result<(f64, f64, Parameters)> {
        self.queue_gradients(batch)?;
        let [loss, square] = self.step.totals()?;
        Ok((loss, square, self.parameters(State::Gradient, DType::F32)?))
    }

    fn queue_gradients(&mut self, batch: &TokenBatch) -> Result<()> {
        let Settings { rows, .. } = *self.step.settings();
        let n_targets = batch.n_targets();
        if n_targets == 0.0 {
            return Err(Error::Setting("a batch has no token that counts in the loss".into()));
        }
        for start in (0..batch.n_sequences).step_by(rows) {
            let _stage = profile::stage("micro-batch", &self.device);
            let part = batch.rows(start..start + rows);
            let parts = micro_batch_parts(&part, n_targets);
            let micro_batch = MicroBatch {
                ids: &parts.inputs,
                targets: &parts.targets,
                weights: &parts.weights,
                document_start: Some(&part.document_start),
            };
            self.step.micro_batch(&micro_batch, start == 0)?;
        }
        Ok(())
    }

    /// The weights in a number format, as tensors of the device.
    ///
    /// # Errors
    /// A card that fails.
    pub fn weights(&self, dtype: DType) -> Result<Parameters> {
        self.parameters(State::Weight, dtype)
    }

    /// An f32 array as tensors of the device.
    fn parameters(&self, state: State, dtype: DType) -> Result<Parameters> {
        let mut index = 0..;
        Parameters::build(&self.config, |_, shape| {
            let tensor = self.read(state, index.next().expect("indices do not end"))?;
            Ok(to_device(&tensor, shape, &self.device).cast(dtype))
        })
    }

    /// The master weights, read back one at a time.
    pub fn weight_stream(&self) -> TensorStream<'_> {
        let tensors = (0..self.specs.len()).map(|index| self.read(State::Weight, index));
        TensorStream { specs: self.specs.clone(), tensors: Box::new(tensors) }
    }

    /// Both moments of every parameter, read back one at a time; nothing when they are zero.
    pub fn moment_stream(&self) -> TensorStream<'_> {
        if self.updates == 0 {
            return TensorStream { specs: Vec::new(), tensors: Box::new(std::iter::empty()) };
        }
        let places = (0..self.specs.len())
            .flat_map(|index| [(index, State::ExpAvg, 0), (index, State::ExpAvgSq, 1)]);
        let named = |(index, _, which): (usize, State, usize)| {
            let spec: &TensorSpec = &self.specs[index];
            let [first, second] = moment_names(&spec.name);
            let name = if which == 0 { first } else { second };
            TensorSpec::new(name, self.moment_dtype(), spec.shape.clone())
        };
        let specs = places.clone().map(named).collect();
        let tensors = places.map(move |place| {
            let TensorSpec { name, dtype, shape } = named(place);
            let bytes = self.step.read(place.1, place.0)?;
            Ok(HostTensor { name, dtype, shape, bytes })
        });
        TensorStream { specs, tensors: Box::new(tensors) }
    }

    fn moment_dtype(&self) -> Dtype {
        match self.optimizer.moments {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::BF16,
        }
    }

    /// A parameter of an f32 array.
    fn read(&self, state: State, index: usize) -> Result<HostTensor> {
        let TensorSpec { name, dtype, shape } = self.specs[index].clone();
        Ok(HostTensor { name, dtype, shape, bytes: self.step.read(state, index)? })
    }
}
