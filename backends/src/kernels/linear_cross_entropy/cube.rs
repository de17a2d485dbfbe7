//! A cube per token reads its logits once for their log-sum-exp and once more to put their
//! gradient in their place, in the format that the product gave them.

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{Output, Targets, by_chunks, chunk_logits, chunks};
use crate::cube::{
    Fold, LEAST, contiguous, cubes, elem_type, empty, fold_row, owned, units_of_row, vector_size,
};

/// Units of a cube, at most: a chunk of a large vocabulary has few tokens.
const UNITS: usize = 1024;

pub(super) fn log_probs(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Tensor<1, Int>,
) -> (Tensor<1>, Tensor<1, Int>) {
    let (mut found, mut best) = (Vec::new(), Vec::new());
    for (start, len) in chunks(x.dims()[0], weight.dims()[0]) {
        let logits = chunk_logits(x, weight, start, len).into_dispatch();
        let ids = targets.clone().narrow(0, start, len).into_dispatch();
        let (log_probs, largest) = Dispatch::log_probs(logits, ids);
        found.push(Tensor::from_dispatch(log_probs));
        best.push(Tensor::from_dispatch(largest));
    }
    (Tensor::cat(found, 0), Tensor::cat(best, 0))
}

pub(super) fn forward_backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Targets,
    z_loss: f64,
    dw: Tensor<2>,
) -> Output {
    by_chunks(x, weight, targets, dw, |logits, ids, weights| {
        let logits = logits.into_dispatch();
        let (ids, weights) = (ids.into_dispatch(), weights.into_dispatch());
        let (log_probs, log_sums, d_logits) =
            Dispatch::cross_entropy_gradient(logits, ids, weights, z_loss);
        let [log_probs, log_sums] = [log_probs, log_sums].map(Tensor::from_dispatch);
        (log_probs, log_sums, Tensor::from_dispatch(d_logits))
    })
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait CrossEntropy: Backend {
    #[fusion(meta = |logits, ids| {
        let _ = logits;
        let shape = ids.shape.clone();
        (burn::backend::fusion::custom::TensorSpec::new(shape, DType::F32), ids.clone())
    })]
    fn log_probs(
        logits: FloatTensor<Self>,
        ids: IntTensor<Self>,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    #[fusion(meta = |logits, _ids, weights, _z_loss| {
        (weights.clone(), weights.clone(), logits.clone())
    })]
    fn cross_entropy_gradient(
        logits: FloatTensor<Self>,
        ids: IntTensor<Self>,
        weights: FloatTensor<Self>,
        z_loss: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl CrossEntropy for CubeBackend {
    fn log_probs(logits: CubeTensor, ids: CubeTensor) -> (CubeTensor, CubeTensor) {
        let [logits, ids] = [logits, ids].map(contiguous);
        let (tokens, vocab) = sizes(&logits);
        let (vector_size, width, units) = row(&logits, vocab);
        let log_probs = empty(&logits, [tokens], DType::F32);
        let best = empty(&ids, [tokens], ids.dtype);
        log_probs_kernel::launch(
            &logits.client.clone(),
            cubes(&logits.client, tokens),
            CubeDim::new_1d(units as u32),
            vector_size,
            logits.clone().into_buffer_arg(),
            ids.clone().into_buffer_arg(),
            log_probs.clone().into_buffer_arg(),
            best.clone().into_buffer_arg(),
            width,
            units,
            [&logits, &ids].map(elem_type),
        );
        (log_probs, best)
    }

    fn cross_entropy_gradient(
        logits: CubeTensor,
        ids: CubeTensor,
        weights: CubeTensor,
        z_loss: f64,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let (logits, ids, weights) = (owned(logits), contiguous(ids), contiguous(weights));
        let (tokens, vocab) = sizes(&logits);
        let (vector_size, width, units) = row(&logits, vocab);
        let log_probs = empty(&logits, [tokens], DType::F32);
        let log_sums = empty(&logits, [tokens], DType::F32);
        gradient_kernel::launch(
            &logits.client.clone(),
            cubes(&logits.client, tokens),
            CubeDim::new_1d(units as u32),
            vector_size,
            logits.clone().into_buffer_arg(),
            ids.clone().into_buffer_arg(),
            weights.into_buffer_arg(),
            log_probs.clone().into_buffer_arg(),
            log_sums.clone().into_buffer_arg(),
            (2.0 * z_loss) as f32,
            width,
            units,
            [&logits, &ids].map(elem_type),
        );
        (log_probs, log_sums, logits)
    }
}

fn sizes(logits: &CubeTensor) -> (usize, usize) {
    let [tokens, vocab] = logits.meta.shape().dims();
    (tokens, vocab)
}

/// Elements of a vector, vectors of a row, units of a row.
fn row(logits: &CubeTensor, vocab: usize) -> (usize, usize, usize) {
    let vector_size = vector_size(vocab);
    let width = vocab / vector_size;
    (vector_size, width, units_of_row(&logits.client, width, UNITS))
}

#[cube(launch)]
fn log_probs_kernel<F: Float, I: Numeric, N: Size>(
    logits: &[Vector<F, N>],
    ids: &[I],
    log_probs: &mut [f32],
    best: &mut [I],
    width: usize,
    #[comptime] units: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let token = min(CUBE_POS, ids.len() - 1);
    let row = token * width;
    let share = sweep::<F, N>(logits, row, width, units);
    let top = fold_row::<f32>(share.top, Fold::Max, units, 1usize);
    let part = share.sum * bounded_exp::<Const<1>>(Vector::new(share.top - top)).vector_sum();
    let sum = fold_row::<f32>(part, Fold::Sum, units, 1usize);
    let mut candidate = width as u32;
    if share.top == top {
        candidate = share.at;
    }
    let at = fold_row::<u32>(candidate, Fold::Min, units, 1usize);
    if UNIT_POS == 0 && CUBE_POS < ids.len() {
        let target = logit_of::<F, N>(logits, row, u32::cast_from(ids[token]));
        log_probs[token] = target - (top + sum.ln());
        let lane = first_lane::<N>(Vector::cast_from(logits[row + at as usize]), top);
        best[token] = I::cast_from(at * N::value() as u32 + lane);
    }
}

/// `twice_z` is 2 times the factor of the squared log-sum-exp.
#[cube(launch)]
fn gradient_kernel<F: Float, I: Numeric, N: Size>(
    logits: &mut [Vector<F, N>],
    ids: &[I],
    weights: &[f32],
    log_probs: &mut [f32],
    log_sums: &mut [f32],
    twice_z: f32,
    width: usize,
    #[comptime] units: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let is_token = CUBE_POS < ids.len();
    let token = min(CUBE_POS, ids.len() - 1);
    let row = token * width;
    let share = sweep::<F, N>(&*logits, row, width, units);
    let id = u32::cast_from(ids[token]);
    let target = logit_of::<F, N>(&*logits, row, id);
    let top = fold_row::<f32>(share.top, Fold::Max, units, 1usize);
    let part = share.sum * bounded_exp::<Const<1>>(Vector::new(share.top - top)).vector_sum();
    // All units have read the target before any goes on from here to overwrite it.
    let sum = fold_row::<f32>(part, Fold::Sum, units, 1usize);
    let log_sum = top + sum.ln();
    let weight = weights[token];
    if is_token {
        if UNIT_POS == 0 {
            log_probs[token] = target - log_sum;
            log_sums[token] = log_sum;
        }
        let factor = Vector::<f32, N>::new(weight * (1f32 + twice_z * log_sum) / sum);
        for i in range_stepped(UNIT_POS as usize, width, units) {
            let logit = Vector::<f32, N>::cast_from(logits[row + i]);
            let mut gradient = bounded_exp::<N>(logit - Vector::new(top)) * factor;
            if i == id as usize / N::value() {
                gradient -= one_hot::<N>(id as usize % N::value()) * Vector::new(weight);
            }
            logits[row + i] = Vector::cast_from(gradient);
        }
    }
}

/// What a unit has seen of a row.
#[derive(CubeType)]
struct Share {
    /// The largest logit.
    top: f32,
    /// Sum of the exponentials, less `top`.
    sum: f32,
    /// The first vector that holds `top`.
    at: u32,
}

/// Every `units`-th vector of a row; a sum is scaled down when a larger logit turns up.
#[cube]
fn sweep<F: Float, N: Size>(
    logits: &[Vector<F, N>],
    row: usize,
    width: usize,
    #[comptime] units: usize,
) -> Share {
    let mut top = LEAST.runtime();
    let mut sum = 0f32;
    let mut at = 0u32;
    for i in range_stepped(UNIT_POS as usize, width, units) {
        let logit = Vector::<f32, N>::cast_from(logits[row + i]);
        let mut largest = logit.extract(0usize);
        #[unroll]
        for lane in 1..N::value() {
            largest = max(largest, logit.extract(lane));
        }
        if largest > top {
            sum *= bounded_exp::<Const<1>>(Vector::new(top - largest)).vector_sum();
            top = largest;
            at = i as u32;
        }
        sum += bounded_exp::<N>(logit - Vector::new(top)).vector_sum();
    }
    Share { top, sum, at }
}

/// `exp(x)` for x <= 0, with a floor so small that a vocabulary of them adds nothing.
#[cube]
fn bounded_exp<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    max(x, Vector::new(-80f32)).exp()
}

#[cube]
fn logit_of<F: Float, N: Size>(logits: &[Vector<F, N>], row: usize, id: u32) -> f32 {
    let vector = Vector::<f32, N>::cast_from(logits[row + id as usize / N::value()]);
    (vector * one_hot::<N>(id as usize % N::value())).vector_sum()
}

/// 1 in one lane, 0 in the others.
#[cube]
fn one_hot<N: Size>(lane: usize) -> Vector<f32, N> {
    let mut one = Vector::<f32, N>::new(0f32);
    #[unroll]
    for i in 0..N::value() {
        if i == lane {
            one.insert(i, 1f32);
        }
    }
    one
}

/// The first lane that holds `value`.
#[cube]
fn first_lane<N: Size>(vector: Vector<f32, N>, value: f32) -> u32 {
    let mut first = N::value() as u32;
    #[unroll]
    for i in 0..N::value() {
        if first == N::value() as u32 && vector.extract(i) == value {
            first = i as u32;
        }
    }
    first
}
