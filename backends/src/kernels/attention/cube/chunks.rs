//! The scores of a chunk of queries in memory, between products that use matrix instructions.
//!
//! Products of halves are burn's, which run on matrix units and give f32; the kernels here turn
//! scores into weights and weights' gradients into scores'. Rows are those of the tiles: positions
//! times the heads of a group.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::{
    CubeBackend,
    kernel::{
        self,
        matmul::{MatmulStrategy, matmul},
    },
    ops::{permute, reshape},
    tensor::CubeTensor,
};
use cubecl::{ir::ElemType, prelude::*};

use super::scale;
use super::tile::{HIDDEN, Plan, Quad, sees, weight};
use crate::cube::{contiguous, elem_type, elementwise, empty};

/// Positions whose scores are held at a time.
const CHUNK: usize = 256;
/// Units of a row.
const UNITS: usize = 32;
/// Rows of a cube.
const ROWS: usize = 8;

/// Positions of a chunk of queries, and the number of keys that they can see.
struct Chunk {
    positions: Range<usize>,
    seen: usize,
}

/// Chunks from the last to the first: the last sees every key.
fn chunks(q_seq: usize, k_seq: usize) -> impl Iterator<Item = Chunk> {
    (0..q_seq).step_by(CHUNK).rev().map(move |start| {
        let end = (start + CHUNK).min(q_seq);
        Chunk { positions: start..end, seen: k_seq - q_seq + end }
    })
}

/// Output and log-sum-exp.
pub(super) fn forward(
    [q, k, v]: [&CubeTensor; 3],
    first: &CubeTensor,
    plan: Plan,
) -> (CubeTensor, CubeTensor) {
    let [batch, q_seq, heads, _] = dims(q);
    let log_sums = empty(q, [batch, heads / plan.group, plan.group, q_seq], DType::F32);
    let mut outputs = Vec::new();
    for chunk in chunks(q_seq, dims(k)[1]) {
        let queries = rows(q, &chunk.positions, plan);
        let scores = multiply(queries, across(heads_first(k, chunk.seen)), DType::F32);
        let weights = empty(&scores, scores.meta.shape().clone(), q.dtype);
        let (count, dim) = row_cubes(&scores);
        softmax_kernel::launch(
            &q.client,
            count,
            dim,
            scores.clone().into_tensor_arg(),
            first.clone().into_buffer_arg(),
            weights.clone().into_buffer_arg(),
            log_sums.clone().into_tensor_arg(),
            chunk.positions.start as u32,
            (chunk.seen - chunk.positions.end) as u32,
            scale(plan),
            plan,
            elem_type(q),
        );
        let output = multiply(weights, heads_first(v, chunk.seen), q.dtype);
        outputs.push(positions(output, plan));
    }
    (join(outputs), log_sums)
}

/// Gradients of queries, keys and values, from `[q, k, v, d_output, stats]`.
pub(super) fn backward(
    [q, k, v, d_output, stats]: [&CubeTensor; 5],
    plan: Plan,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let dtype = q.dtype;
    let mut dq = Vec::new();
    let (mut dk, mut dv) = (None, None);
    for chunk in chunks(dims(q)[1], dims(k)[1]) {
        let queries = rows(q, &chunk.positions, plan);
        let d_rows = rows(d_output, &chunk.positions, plan);
        let keys = heads_first(k, chunk.seen);
        let scores = multiply(queries.clone(), across(keys.clone()), DType::F32);
        let d_weights = multiply(d_rows.clone(), across(heads_first(v, chunk.seen)), DType::F32);
        let [weights, d_scores] =
            [(); 2].map(|()| empty(&scores, scores.meta.shape().clone(), dtype));
        let (count, dim) = row_cubes(&scores);
        score_gradient_kernel::launch(
            &q.client,
            count,
            dim,
            scores.into_tensor_arg(),
            d_weights.into_buffer_arg(),
            stats.clone().into_buffer_arg(),
            weights.clone().into_buffer_arg(),
            d_scores.clone().into_buffer_arg(),
            (dims(q)[1] * plan.group) as u32,
            chunk.positions.start as u32,
            (chunk.seen - chunk.positions.end) as u32,
            scale(plan),
            plan,
            elem_type(q),
        );
        dq.push(positions(multiply(d_scores.clone(), keys, dtype), plan));
        add_prefix(&mut dk, multiply(across(d_scores), queries, DType::F32));
        add_prefix(&mut dv, multiply(across(weights), d_rows, DType::F32));
    }
    let [dk, dv] = [dk, dv].map(|sum| {
        let sum = kernel::cast(sum.expect("a sequence has at least one chunk"), dtype);
        contiguous(permute(sum, &[0, 2, 1, 3]))
    });
    (join(dq), dk, dv)
}

fn dims(x: &CubeTensor) -> [usize; 4] {
    let shape = x.meta.shape();
    [shape[0], shape[1], shape[2], shape[3]]
}

fn multiply(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
    matmul(a, b, None, MatmulStrategy::default(), dtype).expect("products take every shape")
}

/// `[batch, seq, heads, head_dim]` -> `[batch, kv_heads, len * group, head_dim]`.
fn rows(x: &CubeTensor, positions: &Range<usize>, plan: Plan) -> CubeTensor {
    let [batch, _, heads, head_dim] = dims(x);
    let kv_heads = heads / plan.group;
    let len = positions.len();
    let x = kernel::slice(x.clone(), &[0..batch, positions.clone(), 0..heads, 0..head_dim]);
    let x = reshape(x, Shape::new([batch, len, kv_heads, plan.group * head_dim]));
    let x = permute(x, &[0, 2, 1, 3]);
    reshape(x, Shape::new([batch, kv_heads, len * plan.group, head_dim]))
}

/// The inverse of [`rows`].
fn positions(x: CubeTensor, plan: Plan) -> CubeTensor {
    let [batch, kv_heads, rows, head_dim] = dims(&x);
    let len = rows / plan.group;
    let x = reshape(x, Shape::new([batch, kv_heads, len, plan.group * head_dim]));
    let x = permute(x, &[0, 2, 1, 3]);
    reshape(x, Shape::new([batch, len, kv_heads * plan.group, head_dim]))
}

/// The first keys or values, `[batch, kv_heads, seen, head_dim]`.
fn heads_first(x: &CubeTensor, seen: usize) -> CubeTensor {
    let [batch, _, heads, head_dim] = dims(x);
    let x = kernel::slice(x.clone(), &[0..batch, 0..seen, 0..heads, 0..head_dim]);
    permute(x, &[0, 2, 1, 3])
}

fn across(x: CubeTensor) -> CubeTensor {
    permute(x, &[0, 1, 3, 2])
}

/// The whole sequence from chunks that stand last to first.
fn join(mut parts: Vec<CubeTensor>) -> CubeTensor {
    parts.reverse();
    if parts.len() == 1 { parts.swap_remove(0) } else { CubeBackend::float_cat(parts, 1) }
}

/// Adds a gradient of the first keys into the sum over all of them.
fn add_prefix(sum: &mut Option<CubeTensor>, part: CubeTensor) {
    let Some(sum) = sum else {
        *sum = Some(part);
        return;
    };
    let [_, _, seen, head_dim] = dims(&part);
    let n = part.meta.num_elements();
    let (count, dim) = elementwise(&part.client, n);
    add_prefix_kernel::launch(
        &part.client.clone(),
        count,
        dim,
        sum.clone().into_buffer_arg(),
        part.into_buffer_arg(),
        (seen * head_dim) as u32,
        (dims(sum)[2] * head_dim) as u32,
    );
}

#[cube(launch)]
fn add_prefix_kernel(sum: &mut [f32], part: &[f32], part_len: u32, sum_len: u32) {
    if ABSOLUTE_POS < part.len() {
        let (head, at) = (ABSOLUTE_POS / part_len as usize, ABSOLUTE_POS % part_len as usize);
        sum[head * sum_len as usize + at] += part[ABSOLUTE_POS];
    }
}

/// Cubes for `[batch, kv_heads, rows, seen]`.
fn row_cubes(scores: &CubeTensor) -> (CubeCount, CubeDim) {
    let [batch, kv_heads, rows, _] = dims(scores);
    let count = CubeCount::Static(rows.div_ceil(ROWS) as u32, kv_heads as u32, batch as u32);
    (count, CubeDim::new_2d(UNITS as u32, ROWS as u32))
}

/// Weights and log-sum-exp of a chunk of rows, [`UNITS`] units to a row.
#[cube(launch)]
fn softmax_kernel<F: Float>(
    scores: &Tensor<f32>,
    first: &[i32],
    weights: &mut [F],
    log_sums: &mut Tensor<f32>,
    start: u32,
    offset: u32,
    scale: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let mut parts = Shared::<[f32]>::new_slice(comptime!(2 * UNITS * ROWS));
    let (n, seen, q_seq) = (scores.shape(2), scores.shape(3), log_sums.shape(3));
    let row = CUBE_POS_X as usize * ROWS + UNIT_POS_Y as usize;
    let query = start as usize + min(row, n - 1) / plan.group;
    let position = offset as usize + query;
    let kv_head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize;
    let at = (kv_head * n + min(row, n - 1)) * seen;
    let mut my_first = 0usize.runtime();
    if comptime!(plan.documents) {
        my_first = first[CUBE_POS_Z as usize * q_seq + query] as usize;
    }

    let mut top = f32::new(HIDDEN);
    let mut sum = f32::new(0.0);
    let mut key = my_first + UNIT_POS_X as usize;
    while key <= position {
        let score = scores[at + key] * scale;
        let new_top = max(top, score);
        sum = sum * (top - new_top).exp() + (score - new_top).exp();
        top = new_top;
        key += UNITS;
    }
    let mine = UNIT_POS_Y as usize * comptime!(2 * UNITS);
    parts[mine + UNIT_POS_X as usize] = top;
    parts[mine + UNITS + UNIT_POS_X as usize] = sum;
    sync_cube();
    for unit in 0..UNITS {
        top = max(top, parts[mine + unit]);
    }
    sum = 0f32;
    for unit in 0..UNITS {
        sum += parts[mine + UNITS + unit] * (parts[mine + unit] - top).exp();
    }

    if row < n {
        let mut key = UNIT_POS_X as usize;
        while key < seen {
            let visible = sees(position, my_first, key, plan);
            let score = select(visible, scores[at + key] * scale - top, HIDDEN);
            weights[at + key] = F::cast_from(score.exp() / sum);
            key += UNITS;
        }
        if UNIT_POS_X == 0 {
            let head = kv_head * plan.group + row % plan.group;
            log_sums[head * q_seq + query] = top + sum.ln();
        }
    }
}

/// Weights again and the gradient of the unscaled scores, [`UNITS`] units to a row.
#[cube(launch)]
fn score_gradient_kernel<F: Float>(
    scores: &Tensor<f32>,
    d_weights: &[f32],
    stats: &[Quad],
    weights: &mut [F],
    d_scores: &mut [F],
    n_rows: u32,
    start: u32,
    offset: u32,
    scale: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let (n, seen) = (scores.shape(2), scores.shape(3));
    let row = CUBE_POS_X as usize * ROWS + UNIT_POS_Y as usize;
    if row < n {
        let kv_head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize;
        let at = (kv_head * n + row) * seen;
        let stat = stats[kv_head * n_rows as usize + start as usize * plan.group + row];
        let position = offset as usize + start as usize + row / plan.group;
        let mut key = UNIT_POS_X as usize;
        while key < seen {
            let weight = weight(scores[at + key] * scale, stat, position, key, plan);
            let d_score = weight * (d_weights[at + key] - stat.extract(1usize)) * scale;
            weights[at + key] = F::cast_from(weight);
            d_scores[at + key] = F::cast_from(d_score);
            key += UNITS;
        }
    }
}
