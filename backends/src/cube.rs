//! What the CubeCL kernels share: one source for CUDA, and for Vulkan, Metal and DX12 through wgpu.
//!
//! A kernel is a burn backend extension: a trait with a method for each launch, implemented for
//! `CubeBackend`. Burn's fusion stream defers it with everything around it, so that it is right
//! with fusion and without. Kernels read contiguous buffers; a tensor that nobody else holds may be
//! written in place.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, ir::ElemType, prelude::*};

/// Units of a cube whose units each do one element.
pub(crate) const ELEMENTWISE_UNITS: u32 = 256;

/// A new tensor beside `like`, its values undefined.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, shape.into(), dtype)
}

/// The tensor in row-major order.
pub(crate) fn contiguous(tensor: CubeTensor) -> CubeTensor {
    burn_cubecl::kernel::into_contiguous(tensor)
}

/// The tensor in row-major order, in memory that nobody else holds.
pub(crate) fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// The type that a kernel's generic stands for.
pub(crate) fn elem_type(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype)
}

/// Largest of 4, 2, 1 that divides `n`: neighbours that a unit loads at once.
pub(crate) fn vector_size(n: usize) -> usize {
    [4, 2].into_iter().find(|size| n.is_multiple_of(*size)).unwrap_or(1)
}

/// Cubes and units for one unit per element.
pub(crate) fn elementwise(client: &Client, n_elements: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(ELEMENTWISE_UNITS);
    (calculate_cube_count_elemwise(client, n_elements, dim), dim)
}
