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
        let ids = targets.clone().narrow(0, start, len);
        let (log_probs, largest) = chunk_log_probs(chunk_logits(x, weight, start, len), ids);
        found.push(log_probs);
        best.push(largest);
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
        chunk_gradient(logits, ids, weights, z_loss)
    })
}

fn chunk_log_probs(logits: Tensor<2>, ids: Tensor<1, Int>) -> (Tensor<1>, Tensor<1, Int>) {
    let (log_probs, best) = Dispatch::log_probs(logits.into_dispatch(), ids.into_dispatch());
    (Tensor::from_dispatch(log_probs), Tensor::from_dispatch(best))
}

/// Log-probabilities, log-sum-exp and gradient of the logits of one chunk.
fn chunk_gradient(
    logits: Tensor<2>,
    ids: Tensor<1, Int>,
    weights: Tensor<1>,
    z_loss: f64,
) -> (Tensor<1>, Tensor<1>, Tensor<2>) {
    let (ids, weights) = (ids.into_dispatch(), weights.into_dispatch());
    let (log_probs, log_sums, d_logits) =
        Dispatch::cross_entropy_gradient(logits.into_dispatch(), ids, weights, z_loss);
    let [log_probs, log_sums] = [log_probs, log_sums].map(Tensor::from_dispatch);
    (log_probs, log_sums, Tensor::from_dispatch(d_logits))
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// The kernels by themselves: products of such shapes take software Vulkan minutes to tune.
    #[test]
    fn any_vocabulary_and_number_of_tokens() {
        let Some(device) = device() else { return };
        // No z-loss for a single id: its gradient would be what two equal numbers of f32 leave.
        check(&device, 3, 1, 3.0, 0.0);
        for (tokens, vocab) in [
            (5, 2),
            (7, 17),
            (70_000, 3), // more tokens than one axis has cubes
            (4, 1001),
            (3, 4100),
            (3, 64_005),
            (2, 151_936),
        ] {
            check(&device, tokens, vocab, 3.0, 1e-3);
        }
        check(&device, 5, 300, 1000.0, 0.0); // where exp of most is 0
    }

    /// The device of the tests, if it takes these kernels.
    fn device() -> Option<Device> {
        let name = std::env::var("NEO_TEST_DEVICE").unwrap_or_else(|_| "flex".to_owned());
        let is_cube = name.starts_with("cuda") || name.starts_with("wgpu");
        is_cube.then(|| crate::device::open(&name).expect("the device of the tests"))
    }

    /// Logits of 65 values, so that many are equal, against f64 on the host.
    fn check(device: &Device, tokens: usize, vocab: usize, scale: f32, z_loss: f64) {
        let mut state = vocab as u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize
        };
        let logits: Vec<f32> = (0..tokens * vocab)
            .map(|_| (draw() % 65) as f32 / 64.0 * scale - scale / 2.0)
            .collect();
        let ids: Vec<usize> = (0..tokens).map(|t| (draw() * (t % 3)) % vocab).collect();
        let weights: Vec<f32> = (0..tokens).map(|t| (t % 4) as f32 / 2.0).collect();

        let floats = |values: &[f32], shape: Vec<usize>| TensorData::new(values.to_vec(), shape);
        let ids_on = ids.iter().map(|&id| id as i64).collect::<Vec<_>>();
        let ids_on = Tensor::<1, Int>::from_data(TensorData::new(ids_on, [tokens]), device);
        let logits_on = Tensor::from_data(floats(&logits, vec![tokens, vocab]), device);
        let weights_on = Tensor::from_data(floats(&weights, vec![tokens]), device);
        let (found, best) = chunk_log_probs(logits_on.clone(), ids_on.clone());
        let (log_probs, log_sums, gradient) =
            chunk_gradient(logits_on.clone(), ids_on, weights_on, z_loss);

        let mut expected = [const { Vec::<f64>::new() }; 4];
        for ((row, &id), &weight) in logits.chunks_exact(vocab).zip(&ids).zip(&weights) {
            let top = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let total: f64 = row.iter().map(|&v| (f64::from(v) - top).exp()).sum();
            let log_sum = top + total.ln();
            let weight = f64::from(weight);
            expected[0].push(f64::from(row[id]) - log_sum);
            expected[1].push(log_sum);
            expected[2].push(row.iter().position(|&v| f64::from(v) == top).unwrap_or(vocab) as f64);
            for (at, &v) in row.iter().enumerate() {
                let p = (f64::from(v) - log_sum).exp() * (1.0 + 2.0 * z_loss * log_sum);
                expected[3].push(weight * (p - if at == id { 1.0 } else { 0.0 }));
            }
        }
        let host = |tensor: Tensor<1>| -> Vec<f64> { tensor.into_data().iter().collect() };
        let case = format!("{tokens} x {vocab}, {scale}");
        close(&case, host(log_probs), &expected[0]);
        close(&case, host(found), &expected[0]);
        close(&case, host(log_sums), &expected[1]);
        close(&case, host(gradient.flatten(0, 1)), &expected[3]);
        let best: Vec<f64> = best.into_data().iter().collect();
        assert_eq!(best, expected[2], "{case}: the first of the largest");
        let held: Vec<f32> = logits_on.into_data().iter().collect();
        assert_eq!(held, logits, "{case}: logits of another holder were overwritten");
    }

    fn close(case: &str, actual: Vec<f64>, expected: &[f64]) {
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
        let size = norm(&mut expected.iter().copied());
        let size = if size == 0.0 { 1.0 } else { size };
        assert!(
            actual.len() == expected.len() && difference <= 1e-5 * size,
            "{case}: {difference:e}"
        );
    }
}
