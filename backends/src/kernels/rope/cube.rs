//! A unit turns a few pairs, where they lie if nobody else holds the tensor.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::RopeTable;
use crate::cube::{contiguous, elem_type, elementwise, empty, vector_size};

pub(super) fn rotate(x: Tensor<4>, table: &RopeTable, sign: f32) -> Tensor<4> {
    let [cos, sin] = [&table.cos, &table.sin].map(|table| table.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::rope(x.into_dispatch(), cos, sin, sign))
}

/// The launch, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait Rope: Backend {
    #[fusion(dtype = x, shape = x)]
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        sign: f32,
    ) -> FloatTensor<Self>;
}

impl Rope for CubeBackend {
    fn rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, sign: f32) -> CubeTensor {
        let [x, cos, sin] = [x, cos, sin].map(contiguous);
        let [_, _, heads, head_dim] = x.meta.shape().dims();
        let width = vector_size(head_dim / 2);
        let (count, dim) = elementwise(&x.client, x.meta.num_elements() / 2 / width);
        let (client, dtype) = (x.client.clone(), elem_type(&x));
        let (rotated, output) = if x.can_mut() {
            (x.clone(), x.as_tensor_alias(0).into_buffer_arg())
        } else {
            let rotated = empty(&x, x.meta.shape().clone(), x.dtype);
            (rotated.clone(), rotated.into_buffer_arg())
        };
        rotate_kernel::launch(
            &client,
            count,
            dim,
            width,
            x.into_buffer_arg(),
            cos.into_buffer_arg(),
            sin.into_buffer_arg(),
            output,
            sign,
            heads,
            head_dim / 2 / width,
            dtype,
        );
        rotated
    }
}

/// `half` vectors of first elements stand before `half` vectors of their partners, head by head.
/// A table that is shorter than the tokens is the same for every sequence.
#[cube(launch)]
fn rotate_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    cos: &[Vector<f32, N>],
    sin: &[Vector<f32, N>],
    rotated: &mut [Vector<F, N>],
    sign: f32,
    heads: usize,
    half: usize,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < rotated.len() / 2 {
        let head = ABSOLUTE_POS / half;
        let pair = ABSOLUTE_POS % half;
        let angle = head / heads * half % cos.len() + pair;
        let first = 2 * head * half + pair;
        let a = Vector::<f32, N>::cast_from(x[first]);
        let b = Vector::<f32, N>::cast_from(x[first + half]);
        let cos = cos[angle];
        let sin = sin[angle] * Vector::new(sign);
        rotated[first] = Vector::cast_from(a * cos - b * sin);
        rotated[first + half] = Vector::cast_from(b * cos + a * sin);
    }
}
