//! AdamW over all parameters: f32 master weights, moments in f32 or bf16, one global clip.

use burn::tensor::{DType, Device, Tensor};
use neo_backends::{
    Precision,
    kernels::{
        adamw::{self, AdamW, Slot},
        grad_norm,
    },
};
use neo_model::{
    ModelConfig, Parameters,
    load::{f32_specs, read_parameters, to_device, to_host},
    weights::{Dtype, HostTensor, TensorSpec, WeightReader},
};

use crate::{
    Result,
    checkpoint::{TensorStream, moment_names},
    recipe::OptimizerSettings,
};

/// Master weights with their moments, in the order of `hf::parameter_names`.
pub struct Optimizer {
    settings: OptimizerSettings,
    specs: Vec<TensorSpec>,
    slots: Vec<Slot>,
    updates: u64,
}

impl Optimizer {
    /// Takes over f32 weights, with moments at zero.
    pub fn new(settings: OptimizerSettings, config: &ModelConfig, weights: Parameters) -> Self {
        let slots = weights.into_vec().into_iter().map(|weight| fresh(weight, &settings)).collect();
        Self { settings, specs: f32_specs(config, ""), slots, updates: 0 }
    }

    /// Updates done since the moments were zero.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Sets moments and update count to zero and keeps the weights.
    pub fn restart(&mut self) {
        self.updates = 0;
        for slot in &mut self.slots {
            *slot = fresh(slot.weight.extract(), &self.settings);
        }
    }

    /// The weights in the format of the matrix products; shared, not copied, where that is f32.
    pub fn weights(&self, dtype: DType) -> Parameters {
        let weights = self.slots.iter().map(|slot| slot.weight.clone()).collect();
        Parameters::from_vec(weights).cast(dtype)
    }

    /// Clips the gradients by their global norm and updates every parameter; returns the norm.
    ///
    /// A norm that is not finite updates nothing.
    ///
    /// # Shapes
    /// - `gradients`: as the parameters, f32
    pub fn update(&mut self, gradients: Parameters, lr: f64) -> f64 {
        let gradients = gradients.into_vec();
        let norm = grad_norm::forward(&gradients);
        if !norm.is_finite() {
            return norm;
        }
        self.updates += 1;
        let OptimizerSettings { beta1, beta2, eps, weight_decay, clip_norm, .. } = self.settings;
        let grad_scale = (clip_norm / (norm + 1e-6)).min(1.0);
        for ((slot, spec), gradient) in self.slots.iter_mut().zip(&self.specs).zip(gradients) {
            // Decay is for matrices only; norms are stored as vectors.
            let weight_decay = if spec.shape.len() == 2 { weight_decay } else { 0.0 };
            let settings =
                AdamW { lr, beta1, beta2, eps, weight_decay, grad_scale, update: self.updates };
            let taken = Slot {
                weight: slot.weight.extract(),
                exp_avg: slot.exp_avg.extract(),
                exp_avg_sq: slot.exp_avg_sq.extract(),
            };
            *slot = adamw::update(taken, gradient, &settings);
        }
        norm
    }

    /// The master weights, read back one at a time.
    pub fn weight_stream(&self) -> TensorStream<'_> {
        let tensors = self.slots.iter().zip(&self.specs);
        TensorStream {
            specs: self.specs.clone(),
            tensors: Box::new(tensors.map(|(slot, spec)| Ok(to_host(&slot.weight, spec)?))),
        }
    }

    /// Both moments of every parameter, read back one at a time; nothing when they are zero.
    pub fn moment_stream(&self) -> TensorStream<'_> {
        if self.updates == 0 {
            return TensorStream { specs: Vec::new(), tensors: Box::new(std::iter::empty()) };
        }
        let moments = self.slots.iter().zip(&self.specs).flat_map(|(slot, spec)| {
            let dtype = match self.settings.moments {
                Precision::F32 => Dtype::F32,
                Precision::Bf16 => Dtype::BF16,
            };
            let named = |name: &String| TensorSpec::new(name.clone(), dtype, spec.shape.clone());
            let [first, second] = moment_names(&spec.name);
            [(&slot.exp_avg, named(&first)), (&slot.exp_avg_sq, named(&second))]
        });
        let moments: Vec<(&Tensor<2>, TensorSpec)> = moments.collect();
        let specs = moments.iter().map(|(_, spec)| spec.clone()).collect();
        let read = |(tensor, spec): (&Tensor<2>, TensorSpec)| -> Result<HostTensor> {
            Ok(to_host(tensor, &spec)?.cast(spec.dtype))
        };
        TensorStream { specs, tensors: Box::new(moments.into_iter().map(read)) }
    }

    /// Reads weights and moments of a checkpoint back.
    ///
    /// # Errors
    /// Files that cannot be read or are not of this model.
    pub fn restore(
        settings: OptimizerSettings,
        config: &ModelConfig,
        checkpoint: &crate::checkpoint::Checkpoint,
        device: &Device,
    ) -> Result<Self> {
        let weights = read_parameters(checkpoint.dir(), config, device)?;
        let mut optimizer = Self::new(settings, config, weights);
        optimizer.updates = checkpoint.state().optimizer_steps;
        if optimizer.updates > 0 {
            let moments = checkpoint.optimizer()?;
            optimizer.read_moments(&moments, device)?;
        }
        Ok(optimizer)
    }

    fn read_moments(&mut self, moments: &WeightReader, device: &Device) -> Result<()> {
        for (slot, spec) in self.slots.iter_mut().zip(&self.specs) {
            let shape = slot.weight.dims();
            let [first, second] = moment_names(&spec.name);
            let dtype = self.settings.moments.compute_dtype();
            slot.exp_avg = to_device(&moments.read(&first)?, shape, device).cast(dtype);
            slot.exp_avg_sq = to_device(&moments.read(&second)?, shape, device).cast(dtype);
        }
        Ok(())
    }
}

/// A weight with its moments at zero.
fn fresh(weight: Tensor<2>, settings: &OptimizerSettings) -> Slot {
    let zeros = Tensor::zeros(weight.dims(), (&weight.device(), settings.moments.compute_dtype()));
    Slot { weight, exp_avg: zeros.clone(), exp_avg_sq: zeros }
}
