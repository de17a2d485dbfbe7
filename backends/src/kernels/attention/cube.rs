//! Flash attention: scores live in registers and shared memory only, forward and backward.
//!
//! A cube of units takes a tile of queries against tiles of keys (forward, queries' gradient) or a
//! tile of keys against tiles of queries (keys' and values' gradients), so that each result has one
//! writer and sums have one order. Tiles that hold no visible pair are skipped. Statistics and sums
//! are f32 whatever the inputs are.
//!
//! Where the device has matrix instructions for the inputs' type, the products are burn's, which
//! use them, and the scores of a chunk of queries are in memory: linear in the sequence as well.

#![expect(clippy::too_many_arguments, reason = "tensors cross the dispatch one by one")]

mod backward;
mod chunks;
mod forward;
mod tile;

use burn::backend::{
    Backend, Dispatch, DispatchDevice, backend_extension,
    cubecl::dtype_to_storage_type,
    fusion::custom::TensorSpec,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, IntDType, Shape, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{Saved, Sizes, Span};
use crate::cube::{contiguous, vector_size};
use tile::Plan;

/// Rows of queries that are too few for matrix units.
const FEW_ROWS: usize = 32;

/// Where scores are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scores {
    /// In registers and shared memory, a tile at a time.
    OnChip,
    /// In memory, a chunk of queries at a time.
    InChunks,
}

impl Scores {
    /// Chunks for matrix units that would else lie idle; a few queries cannot fill them.
    fn of(q: &Tensor<4>, sizes: Sizes) -> Self {
        let has_units = match q.device().as_dispatch() {
            DispatchDevice::Cube(device) => has_matrix_units(&device.client(), q.dtype()),
            _ => false,
        };
        if has_units && sizes.q_seq * sizes.group > FEW_ROWS {
            Self::InChunks
        } else {
            Self::OnChip
        }
    }
}

/// Whether the device multiplies matrices of this type, and it is not f32, which burn's products
/// would round.
fn has_matrix_units(client: &Client, dtype: DType) -> bool {
    let matmul = &client.properties().features.matmul;
    let elem = dtype_to_storage_type(dtype);
    let mut configs = matmul.cmma.iter().chain(&matmul.mma);
    matches!(dtype, DType::BF16 | DType::F16) && configs.any(|config| config.a_type == elem)
}

pub(super) fn forward(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    span: &Span,
    sizes: Sizes,
) -> (Tensor<4>, Saved) {
    forward_with([q, k, v], span, sizes, Scores::of(q, sizes))
}

fn forward_with(
    qkv: [&Tensor<4>; 3],
    span: &Span,
    sizes: Sizes,
    scores: Scores,
) -> (Tensor<4>, Saved) {
    let (first, documents) = first_keys(span, sizes, qkv[0]);
    let [q, k, v] = qkv.map(|x| x.clone().into_dispatch());
    let (output, log_sums) = Dispatch::attention(q, k, v, first.into_dispatch(), documents, scores);
    (Tensor::from_dispatch(output), Saved { log_sum_exp: Tensor::from_dispatch(log_sums) })
}

pub(super) fn backward(
    qkv: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
    sizes: Sizes,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let scores = Scores::of(qkv[0], sizes);
    backward_with(qkv, span, [&saved.log_sum_exp, output, d_output], sizes, scores)
}

fn backward_with(
    qkv: [&Tensor<4>; 3],
    span: &Span,
    results: [&Tensor<4>; 3],
    sizes: Sizes,
    scores: Scores,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let (first, documents) = first_keys(span, sizes, qkv[0]);
    let first = first.into_dispatch();
    let [q, k, v] = qkv.map(|x| x.clone().into_dispatch());
    let [log_sums, output, d_output] = results.map(|x| x.clone().into_dispatch());
    let gradients =
        Dispatch::attention_gradient(q, k, v, first, log_sums, output, d_output, documents, scores);
    let (dq, dk, dv) = gradients;
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
    #[fusion(meta = |q, k, _v, _first, _documents, _scores| (q.clone(), log_sums_of(q, k)))]
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: IntTensor<Self>,
        documents: bool,
        scores: Scores,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of queries, keys and values.
    #[fusion(meta = |q, k, v, _first, _log_sums, _output, _d_output, _documents, _scores| {
        (q.clone(), k.clone(), v.clone())
    })]
    fn attention_gradient(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: IntTensor<Self>,
        log_sums: FloatTensor<Self>,
        output: FloatTensor<Self>,
        d_output: FloatTensor<Self>,
        documents: bool,
        scores: Scores,
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
        scores: Scores,
    ) -> (CubeTensor, CubeTensor) {
        let [q, k, v] = [q, k, v].map(rows_of_channels);
        let plan = plan(&q, &k, documents);
        let first = contiguous(first);
        match scores {
            Scores::OnChip => forward::launch(q, k, v, first, plan),
            Scores::InChunks => chunks::forward([&q, &k, &v], &first, plan),
        }
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
        scores: Scores,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [q, k, v, output, d_output] = [q, k, v, output, d_output].map(rows_of_channels);
        let plan = plan(&q, &k, documents);
        let stats =
            backward::statistics(output, &d_output, contiguous(log_sums), contiguous(first), plan);
        let inputs = [&q, &k, &v, &d_output, &stats];
        match scores {
            Scores::OnChip => {
                let (dk, dv) = backward::keys(inputs, plan);
                (backward::queries(inputs, plan), dk, dv)
            }
            Scores::InChunks => chunks::backward(inputs, plan),
        }
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

#[cfg(all(test, feature = "flex", feature = "wgpu"))]
mod tests {
    use super::super::reference;
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// `(batch, q_seq, k_seq, heads, kv_heads, head_dim, documents)`.
    type Case = (usize, usize, usize, usize, usize, usize, bool);

    /// Chunks give what the reference gives, on f32, which the choice never sends there.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
    fn chunks_agree_with_the_reference() {
        let Ok(device) = crate::device::open("wgpu") else {
            eprintln!("skipped: no device for wgpu");
            return;
        };
        check(&device, (2, 270, 270, 4, 2, 10, true));
        check(&device, (1, 20, 33, 3, 1, 24, false));
    }

    fn check(device: &Device, case: Case) {
        let [ours, expected] = [(device, true), (&Device::flex(), false)]
            .map(|(device, in_chunks)| run(device, in_chunks, case));
        let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (n, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
            let off: Vec<f32> = ours.iter().zip(expected).map(|(a, b)| a - b).collect();
            let error = norm(&off) / norm(expected);
            assert!(error <= 1e-5, "result {n} of {case:?}: {error:e}");
        }
    }

    /// Output, log-sum-exp, and the gradients of queries, keys and values.
    fn run(device: &Device, in_chunks: bool, case: Case) -> [Vec<f32>; 5] {
        let (batch, q_seq, k_seq, heads, kv_heads, head_dim, documents) = case;
        let draw = |seed: usize, seq: usize, heads: usize| {
            let n = batch * seq * heads * head_dim;
            let values: Vec<f32> = (0..n).map(|i| ((i * 37 + seed) as f32).sin() * 1.5).collect();
            let data = TensorData::new(values, [batch, seq, heads, head_dim]);
            Tensor::<4>::from_data(data, (device, DType::F32))
        };
        let (q, d) = (draw(1, q_seq, heads), draw(2, q_seq, heads));
        let (k, v) = (draw(3, k_seq, kv_heads), draw(4, k_seq, kv_heads));
        let sizes = Sizes::of(&q, &k);
        let span = if documents {
            let first: Vec<u32> =
                (0..batch * q_seq).map(|at| (at % q_seq / 100 * 100) as u32).collect();
            Span::document(&first, batch, q_seq, device)
        } else {
            Span::Row
        };
        let inputs = [&q, &k, &v];
        let (output, saved) = if in_chunks {
            forward_with(inputs, &span, sizes, Scores::InChunks)
        } else {
            reference::forward(&q, &k, &v, &span, sizes)
        };
        let (dq, dk, dv) = if in_chunks {
            let results = [&saved.log_sum_exp, &output, &d];
            backward_with(inputs, &span, results, sizes, Scores::InChunks)
        } else {
            reference::backward(inputs, &span, &saved, &output, &d, sizes)
        };
        [output, saved.log_sum_exp, dq, dk, dv]
            .map(|x| x.try_into_vec_as::<f32>().expect("the device gives its values back"))
    }
}
