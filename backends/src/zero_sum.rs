//! Sums begin as zeros that take no memory.
//!
//! What is added first to a sum need not be added to zeros that were written and are read back:
//! the gradients of a step are as large as the weights.

use burn::tensor::{DType, Device, Tensor};

/// Zeros in f32. In host memory they are one zero seen everywhere, until something is added.
///
/// # Shapes
/// - returns: `shape`
pub fn new(shape: [usize; 2], device: &Device) -> Tensor<2> {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => {
            Tensor::<2>::zeros([1, 1], (device, DType::F32)).expand(shape)
        }
        _ => Tensor::zeros(shape, (device, DType::F32)),
    }
}
