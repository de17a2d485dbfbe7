//! Which number format does what.

use burn::tensor::{DType, Device};

use crate::Error;

/// Number formats of a run. Master weights, gradient sums, optimizer moments, the loss and the
/// statistics of norms and softmax are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Everything in f32.
    F32,
    /// Matrix products and activations in bf16, from a bf16 copy of the weights.
    Bf16,
}

impl Precision {
    /// Format of activations and of the weights that are multiplied.
    pub fn compute_dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Asks the device whether it computes in this precision; some give wrong numbers otherwise.
    ///
    /// # Errors
    /// The device lacks the format.
    pub fn check(self, device: &Device) -> Result<(), Error> {
        let dtype = self.compute_dtype();
        if device.supports_dtype(dtype) {
            return Ok(());
        }
        Err(Error::UnsupportedPrecision { precision: dtype.name() })
    }
}
