//! Flash attention: scores live in registers and shared memory only, forward and backward.
//!
//! A cube of units takes a tile of queries against tiles of keys (forward, queries' gradient) or a
//! tile of keys against tiles of queries (keys' and values' gradients), so that each result has one
//! writer and sums have one order. Tiles that hold no visible pair are skipped. Statistics and sums
//! are f32 whatever the inputs are.

mod backward;
mod forward;
mod tile;

use burn::backend::{
    Backend, Dispatch, backend_extension,
    fusion::custom::TensorSpec,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, IntDType, Shape, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{Saved, Sizes, Span};
use crate::cube::{contiguous, vector_size};
use tile::Plan;

pub(super) fn forward(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    span: &Span,
    sizes: Sizes,
) -> (Tensor<4>, Saved) {
    let (first, documents) = first_keys(span, sizes, q);
    let [q, k, v] = [q, k, v].map(|x| x.clone().into_dispatch());
    let (output, log_sum_exp) = Dispatch::attention(q, k, v, first.into_dispatch(), documents);
    let log_sum_exp = Tensor::from_dispatch(log_sum_exp);
    (Tensor::from_dispatch(output), Saved { log_sum_exp })
}

pub(super) fn backward(
    [q, k, v]: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
    sizes: Sizes,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let (first, documents) = first_keys(span, sizes, q);
    let [q, k, v, log_sums, output, d_output] =
        [q, k, v, &saved.log_sum_exp, output, d_output].map(|x| x.clone().into_dispatch());
    let first = first.into_dispatch();
    let (dq, dk, dv) =
        Dispatch::attention_gradient(q, k, v, first, log_sums, output, d_output, documents);
    let [dq, dk, dv] = [dq, dk, dv].map(Tensor::from_dispatch);
    (dq, dk, dv)
}

/// First visible key of each query, and whether that limits anything; if not, nobody reads it.
fn first_keys(span: &Span, sizes: Sizes, q: &Tensor<4>) -> (Tensor<2, Int>, bool) {
    match span {
        Span::Row => (Tensor::empty([1, 1], (&q.device(), DType::I32)), false),
        Span::Document { first } => {
            let queries = first.dims()[1];
            assert!(queries == sizes.q_seq, "one document start for each query");
            (first.clone().cast(IntDType::I32), true)
        }
    }
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait Attention: Backend {
    /// Output and log-sum-exp.
    #[fusion(meta = |q, k, _v, _first, _documents| (q.clone(), log_sums_of(q, k)))]
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: IntTensor<Self>,
        documents: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of queries, keys and values.
    #[fusion(meta = |q, k, v, _first, _log_sums, _output, _d_output, _documents| {
        (q.clone(), k.clone(), v.clone())
    })]
    #[expect(clippy::too_many_arguments, reason = "tensors cross the dispatch one by one")]
    fn attention_gradient(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: IntTensor<Self>,
        log_sums: FloatTensor<Self>,
        output: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        documents: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn log_sums_of(q: &TensorSpec, k: &TensorSpec) -> TensorSpec {
    let (heads, kv_heads) = (q.shape[2], k.shape[2]);
    let shape = Shape::new([q.shape[0], kv_heads, heads / kv_heads, q.shape[1]]);
    TensorSpec::new(shape, DType::F32)
}

impl Attention for CubeBackend {
    fn attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        first: CubeTensor,
        documents: bool,
    ) -> (CubeTensor, CubeTensor) {
        let [q, k, v] = [q, k, v].map(rows_of_channels);
        let plan = plan(&q, &k, documents);
        forward::launch(q, k, v, contiguous(first), plan)
    }

    fn attention_gradient(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        first: CubeTensor,
        log_sums: CubeTensor,
        output: CubeTensor,
        d_output: CubeTensor,
        documents: bool,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [q, k, v, output, d_output] = [q, k, v, output, d_output].map(rows_of_channels);
        let plan = plan(&q, &k, documents);
        let stats =
            backward::statistics(output, &d_output, contiguous(log_sums), contiguous(first), plan);
        let dq = backward::queries([&q, &k, &v, &d_output, &stats], plan);
        let (dk, dv) = backward::keys([&q, &k, &v, &d_output, &stats], plan);
        (dq, dk, dv)
    }
}

/// The tensor itself if each head's channels lie side by side, wherever the heads are; a copy
/// otherwise.
fn rows_of_channels(x: CubeTensor) -> CubeTensor {
    if x.meta.strides()[3] == 1 && !x.meta.is_tiled() { x } else { contiguous(x) }
}

/// Channels that are loaded at once from each of the tensors.
fn width(tensors: &[&CubeTensor]) -> usize {
    let steps = tensors.iter().flat_map(|x| x.meta.strides()[..3].iter().copied());
    let head_dim = tensors.iter().map(|x| x.meta.shape()[3]);
    steps.chain(head_dim).map(vector_size).min().unwrap_or(1)
}

/// Large cubes where the device has the shared memory and the call has the rows for them.
fn plan(q: &CubeTensor, k: &CubeTensor, documents: bool) -> Plan {
    let (shape, kv_heads) = (q.meta.shape(), k.meta.shape()[2]);
    let group = shape[2] / kv_heads;
    let of_side = |side| Plan { head_dim: shape[3], group, side, documents };
    let (large, small) = (of_side(16), of_side(8));
    let hardware = &q.client.properties().hardware;
    let fits = large.shared_bytes() <= hardware.max_shared_memory_size
        && large.units() <= hardware.max_units_per_cube as usize;
    if fits && shape[1] * group > small.tile() { large } else { small }
}

/// One cube for each tile of `rows`, key head and sequence.
fn cubes(rows: usize, k: &CubeTensor, plan: Plan) -> (CubeCount, CubeDim) {
    let shape = k.meta.shape();
    let count = [rows.div_ceil(plan.tile()), shape[2], shape[0]].map(|n| n as u32);
    let side = plan.side as u32;
    (CubeCount::Static(count[0], count[1], count[2]), CubeDim::new_2d(side, side))
}

/// What the scores are multiplied with.
fn scale(plan: Plan) -> f32 {
    (plan.head_dim as f64).sqrt().recip() as f32
}
