//! Parameters from and to host tensors, one at a time.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use neo_backends::Precision;

use crate::{
    Error, ModelConfig, Result,
    hf::{self, HfConfig},
    parameters::Parameters,
    transformer::Transformer,
    weights::{HostTensor, TensorSpec, WeightReader},
};

impl Transformer {
    /// Reads a model folder or a checkpoint: `config.json` and safetensors, sharded or not.
    ///
    /// Weights are raised or rounded to the precision's compute format.
    ///
    /// # Errors
    /// A file that is missing or malformed, tensors that are not this configuration's, or a device
    /// that cannot compute in the precision.
    pub fn load(dir: &Path, precision: Precision, device: &Device) -> Result<Self> {
        precision.check(device)?;
        let config = HfConfig::read(dir)?.model;
        let parameters = read_parameters(dir, &config, device)?.cast(precision.compute_dtype());
        Ok(Self { config, parameters })
    }
}

/// Reads the weights of a folder as f32.
///
/// # Errors
/// As [`Transformer::load`].
pub fn read_parameters(dir: &Path, config: &ModelConfig, device: &Device) -> Result<Parameters> {
    let weights = WeightReader::open(dir)?;
    hf::check_parameters(&weights, config)?;
    Parameters::build(config, |name, shape| {
        Ok::<_, Error>(to_device(&weights.read(name)?, shape, device))
    })
}

/// A host tensor as an f32 matrix on a device.
pub fn to_device(tensor: &HostTensor, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(tensor.to_f32(), shape), (device, DType::F32))
}

/// Names, shapes and types of the parameters when stored as f32, with `prefix` before each name.
pub fn f32_specs(config: &ModelConfig, prefix: &str) -> Vec<TensorSpec> {
    hf::parameter_names(config)
        .into_iter()
        .map(|(name, shape)| {
            TensorSpec::new(format!("{prefix}{name}"), crate::weights::Dtype::F32, shape)
        })
        .collect()
}

/// One parameter read back from the device as f32.
///
/// # Errors
/// When the device fails.
pub fn to_host(tensor: &Tensor<2>, spec: &TensorSpec) -> Result<HostTensor> {
    let values: Vec<f32> = tensor
        .clone()
        .cast(DType::F32)
        .try_into_vec_as::<f32>()
        .map_err(|problem| Error::Device(problem.to_string()))?;
    Ok(HostTensor::from_f32(spec.name.clone(), spec.shape.clone(), &values))
}
