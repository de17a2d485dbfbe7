//! One pass each way; the backward works where its inputs lie.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use crate::cube::{contiguous, elem_type, elementwise, empty, owned, vector_size};

pub(super) fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch()))
}

pub(super) fn backward(
    gate: Tensor<2>,
    up: Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [gate, up, dy] = [gate, up, dy].map(Tensor::into_dispatch);
    let (output, d_gate, d_up) = Dispatch::swiglu_gradient(gate, up, dy);
    let [output, d_gate, d_up] = [output, d_gate, d_up].map(Tensor::from_dispatch);
    (output, d_gate, d_up)
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait Swiglu: Backend {
    #[fusion(dtype = gate, shape = gate)]
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(meta = |gate, _up, _dy| (gate.clone(), gate.clone(), gate.clone()))]
    fn swiglu_gradient(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Swiglu for CubeBackend {
    fn swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let output = empty(&gate, gate.meta.shape().clone(), gate.dtype);
        let n = gate.meta.num_elements();
        let width = vector_size(n);
        let (count, dim) = elementwise(&gate.client, n / width);
        let client = gate.client.clone();
        let dtype = elem_type(&gate);
        gate_kernel::launch(
            &client,
            count,
            dim,
            width,
            gate.into_buffer_arg(),
            up.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            dtype,
        );
        output
    }

    fn swiglu_gradient(
        gate: CubeTensor,
        up: CubeTensor,
        dy: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [gate, up, dy] = [gate, up, dy].map(owned);
        let n = gate.meta.num_elements();
        let width = vector_size(n);
        let (count, dim) = elementwise(&gate.client, n / width);
        gradient_kernel::launch(
            &gate.client,
            count,
            dim,
            width,
            gate.clone().into_buffer_arg(),
            up.clone().into_buffer_arg(),
            dy.clone().into_buffer_arg(),
            elem_type(&gate),
        );
        (dy, gate, up)
    }
}

#[cube(launch)]
fn gate_kernel<F: Float, N: Size>(
    gate: &[Vector<F, N>],
    up: &[Vector<F, N>],
    output: &mut [Vector<F, N>],
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < output.len() {
        let gate = Vector::<f32, N>::cast_from(gate[ABSOLUTE_POS]);
        let up = Vector::<f32, N>::cast_from(up[ABSOLUTE_POS]);
        output[ABSOLUTE_POS] = Vector::cast_from(gate * sigmoid(gate) * up);
    }
}

/// `dy` becomes the output, `gate` and `up` become their gradients.
#[cube(launch)]
fn gradient_kernel<F: Float, N: Size>(
    gate: &mut [Vector<F, N>],
    up: &mut [Vector<F, N>],
    dy: &mut [Vector<F, N>],
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS < gate.len() {
        let g = Vector::<f32, N>::cast_from(gate[ABSOLUTE_POS]);
        let u = Vector::<f32, N>::cast_from(up[ABSOLUTE_POS]);
        let d = Vector::<f32, N>::cast_from(dy[ABSOLUTE_POS]);
        let s = sigmoid(g);
        let silu = g * s;
        dy[ABSOLUTE_POS] = Vector::cast_from(silu * u);
        gate[ABSOLUTE_POS] = Vector::cast_from(d * u * (s + silu * (Vector::new(1f32) - s)));
        up[ABSOLUTE_POS] = Vector::cast_from(d * silu);
    }
}

/// `1 / (1 + exp(-x))`; the clamp keeps WGSL, which knows no infinity, within f32.
#[cube]
fn sigmoid<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let one = Vector::new(1f32);
    one / (one + clamp(-x, Vector::new(-80f32), Vector::new(80f32)).exp())
}
