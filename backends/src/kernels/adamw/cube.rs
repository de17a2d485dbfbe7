//! One pass over a parameter, its weight and moments where they lie.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{AdamW, Factors, Slot};
use crate::cube::{contiguous, elem_type, elementwise, owned, vector_size};

pub(super) fn update(slot: Slot, gradient: Tensor<2>, settings: &AdamW) -> Slot {
    let Slot { weight, exp_avg, exp_avg_sq } = slot;
    let [weight, exp_avg, exp_avg_sq, gradient] =
        [weight, exp_avg, exp_avg_sq, gradient].map(Tensor::into_dispatch);
    let factors = Factors::new(settings);
    let (weight, exp_avg, exp_avg_sq) =
        Dispatch::adamw(weight, exp_avg, exp_avg_sq, gradient, factors);
    let [weight, exp_avg, exp_avg_sq] = [weight, exp_avg, exp_avg_sq].map(Tensor::from_dispatch);
    Slot { weight, exp_avg, exp_avg_sq }
}

/// The launch, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait Update: Backend {
    #[fusion(meta = |weight, mean, square, _gradient, _factors| {
        (weight.clone(), mean.clone(), square.clone())
    })]
    fn adamw(
        weight: FloatTensor<Self>,
        exp_avg: FloatTensor<Self>,
        exp_avg_sq: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        factors: Factors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Update for CubeBackend {
    fn adamw(
        weight: CubeTensor,
        exp_avg: CubeTensor,
        exp_avg_sq: CubeTensor,
        gradient: CubeTensor,
        f: Factors,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [weight, exp_avg, exp_avg_sq] = [weight, exp_avg, exp_avg_sq].map(owned);
        let gradient = contiguous(gradient);
        let n = weight.meta.num_elements();
        let width = vector_size(n);
        let (count, dim) = elementwise(&weight.client, n / width);
        let dtypes = [&exp_avg, &gradient].map(elem_type);
        update_kernel::launch(
            &weight.client,
            count,
            dim,
            width,
            weight.clone().into_buffer_arg(),
            exp_avg.clone().into_buffer_arg(),
            exp_avg_sq.clone().into_buffer_arg(),
            gradient.into_buffer_arg(),
            f.keep,
            f.rate,
            f.beta1,
            f.beta2,
            f.one_minus_beta1,
            f.one_minus_beta2,
            f.root_correction2,
            f.eps,
            f.scale,
            dtypes,
        );
        (weight, exp_avg, exp_avg_sq)
    }
}

/// The moments are used before they are rounded to their format.
#[cube(launch)]
fn update_kernel<M: Float, G: Float, N: Size>(
    weight: &mut [Vector<f32, N>],
    exp_avg: &mut [Vector<M, N>],
    exp_avg_sq: &mut [Vector<M, N>],
    gradient: &[Vector<G, N>],
    keep: f32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    root_correction2: f32,
    eps: f32,
    scale: f32,
    #[define(M, G)] _dtypes: [ElemType; 2],
) {
    let at = ABSOLUTE_POS;
    if at < weight.len() {
        let g = Vector::<f32, N>::cast_from(gradient[at]) * Vector::new(scale);
        let m = Vector::<f32, N>::cast_from(exp_avg[at]) * Vector::new(beta1)
            + g * Vector::new(one_minus_beta1);
        let v = Vector::<f32, N>::cast_from(exp_avg_sq[at]) * Vector::new(beta2)
            + g * g * Vector::new(one_minus_beta2);
        let root = v.sqrt() * Vector::new(root_correction2) + Vector::new(eps);
        weight[at] = weight[at] * Vector::new(keep) - m * Vector::new(rate) / root;
        exp_avg[at] = Vector::cast_from(m);
        exp_avg_sq[at] = Vector::cast_from(v);
    }
}
