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

/// Below every value that occurs: where a maximum starts, WGSL being without infinities.
pub(crate) const LEAST: f32 = -1e30;

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

/// Cubes for `n` pieces of work of a cube each, over as many axes as it takes; there may be a few
/// more cubes than pieces.
pub(crate) fn cubes(client: &Client, n: usize) -> CubeCount {
    calculate_cube_count_elemwise(client, n, CubeDim::new_single())
}

/// Units that share a row of `width` vectors: a power of two, so many that each has a few vectors.
pub(crate) fn units_of_row(client: &Client, width: usize, most: usize) -> usize {
    let most = most.min(client.properties().hardware.max_units_per_cube as usize);
    width.div_ceil(4).next_power_of_two().clamp(32, most)
}

/// How the units of a row put their values together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fold {
    /// The sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// The fold of one value of each unit along X, known to all of them afterwards.
///
/// Through shared memory and in a fixed order: first `lanes` units take a share each, then every
/// unit reads their results, which waits for the others twice, whatever the number of units. All
/// units of the cube must come here; rows lie along Y.
#[cube]
pub(crate) fn fold_row<T: Numeric>(
    value: T,
    #[comptime] fold: Fold,
    #[comptime] units: usize,
    #[comptime] rows: usize,
) -> T {
    let lanes = comptime!(lanes(units));
    let mut shared = Shared::<[T]>::new_slice(comptime!(units * rows));
    let at = UNIT_POS_X as usize;
    let row = UNIT_POS_Y as usize * units;
    shared[row + at] = value;
    sync_cube();
    if at < lanes {
        let mut share = value;
        #[unroll]
        for i in 1..units / lanes {
            share = combine::<T>(share, shared[row + i * lanes + at], fold);
        }
        shared[row + at] = share;
    }
    sync_cube();
    let mut total = shared[row];
    #[unroll]
    for i in 1..lanes {
        total = combine::<T>(total, shared[row + i], fold);
    }
    total
}

/// Units that take a share each: about the root of all, so that both steps are equally long.
fn lanes(units: usize) -> usize {
    1 << units.ilog2().div_ceil(2)
}

#[cube]
fn combine<T: Numeric>(a: T, b: T, #[comptime] fold: Fold) -> T {
    match comptime!(fold) {
        Fold::Sum => a + b,
        Fold::Max => max(a, b),
        Fold::Min => min(a, b),
    }
}
