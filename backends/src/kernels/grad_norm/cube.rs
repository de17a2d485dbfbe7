//! Many sums of squares, then the sum of those.
//!
//! A unit adds 1 in every 256 x 1024 vectors at most, and each lane apart, so that in the largest
//! tensors a sum is a few thousand terms long and its rounding far below 1e-6.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use crate::cube::{Fold, contiguous, cubes, elem_type, empty, fold_row, vector_size};

/// Units of a cube.
const UNITS: usize = 256;
/// Cubes for one tensor, at most.
const CUBES: usize = 1024;
/// Vectors of a unit, at least, unless the tensor is small.
const VECTORS: usize = 8;

pub(super) fn sum_of_squares(gradient: &Tensor<2>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::sum_of_squares(gradient.clone().into_dispatch()))
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait GradNorm: Backend {
    #[fusion(dtype = { let _ = values; DType::F32 }, shape = {
        let _ = values;
        burn::tensor::Shape::new([1])
    })]
    fn sum_of_squares(values: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl GradNorm for CubeBackend {
    fn sum_of_squares(values: CubeTensor) -> CubeTensor {
        let values = contiguous(values);
        let n_vectors = values.meta.num_elements() / vector_size(values.meta.num_elements());
        let n_sums = n_vectors.div_ceil(UNITS * VECTORS).clamp(1, CUBES);
        let sums = sum(values, n_sums, true);
        sum(sums, 1, false)
    }
}

/// `n_sums` sums of the values or their squares, `[n_sums]`.
fn sum(values: CubeTensor, n_sums: usize, square: bool) -> CubeTensor {
    let sums = empty(&values, [n_sums], DType::F32);
    let dtype = elem_type(&values);
    sum_kernel::launch(
        &values.client.clone(),
        cubes(&values.client, n_sums),
        CubeDim::new_1d(UNITS as u32),
        vector_size(values.meta.num_elements()),
        values.into_buffer_arg(),
        sums.clone().into_buffer_arg(),
        square,
        UNITS,
        dtype,
    );
    sums
}

#[cube(launch)]
fn sum_kernel<F: Float, N: Size>(
    values: &[Vector<F, N>],
    sums: &mut [f32],
    #[comptime] square: bool,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let first = CUBE_POS * units + UNIT_POS as usize;
    let mut sum = Vector::<f32, N>::new(0f32);
    for i in range_stepped(first, values.len(), sums.len() * units) {
        let value = Vector::<f32, N>::cast_from(values[i]);
        if square {
            sum += value * value;
        } else {
            sum += value;
        }
    }
    let sum = fold_row::<f32>(sum.vector_sum(), Fold::Sum, units, 1usize);
    if UNIT_POS == 0 && CUBE_POS < sums.len() {
        sums[CUBE_POS] = sum;
    }
}
