//! Output and log-sum-exp of a tile of queries, by a softmax that follows the keys.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{ir::ElemType, prelude::*};

use super::tile::{
    HIDDEN, PATCH, Plan, Quad, Rows, add_weighted, late_first, products, sees, share, store_sums,
    sum_of_rows, top_of_rows, zero_sums,
};
use super::{cubes, scale, width};
use crate::cube::{elem_type, empty};

/// The output in the shape of `q`, the log-sum-exp `[batch, kv_heads, group, q_seq]`.
pub(super) fn launch(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    first: CubeTensor,
    plan: Plan,
) -> (CubeTensor, CubeTensor) {
    let shape = q.meta.shape().clone();
    let [batch, q_seq, heads] = [shape[0], shape[1], shape[2]];
    let log_sums = empty(&q, [batch, heads / plan.group, plan.group, q_seq], DType::F32);
    let output = empty(&q, shape, q.dtype);
    let (count, dim) = cubes(q_seq * plan.group, &k, plan);
    forward_kernel::launch(
        &output.client,
        count,
        dim,
        width(&[&q, &k, &v, &output]),
        q.into_tensor_arg(),
        k.into_tensor_arg(),
        v.into_tensor_arg(),
        first.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        log_sums.clone().into_buffer_arg(),
        scale(plan),
        plan,
        elem_type(&output),
    );
    (output, log_sums)
}

#[cube(launch)]
fn forward_kernel<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    first: &[i32],
    output: &mut [Vector<F, N>],
    log_sums: &mut [f32],
    scale: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let tile = comptime!(plan.tile());
    let columns = comptime!(plan.columns());
    let mut staged = Shared::<[Quad]>::new_slice(comptime!(plan.stage_len()));
    let mut weights = Shared::<[Quad]>::new_slice(comptime!(plan.weights_len()));
    let q_rows = Rows::of::<F, N>(q, plan.group);
    let k_rows = Rows::of::<F, N>(k, 1usize);
    let v_rows = Rows::of::<F, N>(v, 1usize);
    let (q_seq, offset) = (q.shape(1), k.shape(1) - q.shape(1));

    let row = late_first(CUBE_COUNT_X, CUBE_POS_X, plan);
    let my_row = row + UNIT_POS_Y as usize * PATCH;
    let mut my_first = Array::<usize>::new(PATCH);
    #[unroll]
    for i in 0..PATCH {
        my_first[i] = first_of_row(first, my_row + i, q_seq, plan);
    }

    let mut top = Quad::new(HIDDEN);
    let mut sum = Quad::new(0f32);
    let mut sums = zero_sums(plan);
    let mut key = first_of_tile(first, row, q_seq, plan);
    let end = offset + (min(row + tile, q_rows.n) - 1) / plan.group + 1;
    while key < end {
        let mut patch = products::<F, N>((q, &q_rows, row), (k, &k_rows, key), &mut staged, plan);
        let mut new_top = top;
        #[unroll]
        for i in 0..PATCH {
            let position = offset + (my_row + i) / plan.group;
            #[unroll]
            for j in 0..PATCH {
                let at = key + UNIT_POS_X as usize + j * plan.side;
                let visible = sees(position, my_first[i], at, plan);
                patch[i * PATCH + j] = select(visible, patch[i * PATCH + j] * scale, HIDDEN);
                new_top.insert(i, max(new_top.extract(i), patch[i * PATCH + j]));
            }
        }
        new_top = top_of_rows(new_top, &mut weights, plan);
        let shrink = (top - new_top).exp();
        sum *= shrink;
        #[unroll]
        for i in 0..PATCH {
            #[unroll]
            for j in 0..PATCH {
                let score = patch[i * PATCH + j];
                let power = (score - new_top.extract(i)).exp();
                let weight = select(score > HIDDEN / 2.0, power, 0f32);
                patch[i * PATCH + j] = weight;
                sum.insert(i, sum.extract(i) + weight);
            }
            #[unroll]
            for j in 0..columns {
                sums[i * columns + j] *= Quad::new(shrink.extract(i));
            }
        }
        top = new_top;
        share(&patch, &mut weights, plan);
        add_weighted::<F, N>(&weights, (v, &v_rows, key), &mut staged, &mut sums, plan);
        key += tile;
    }

    sync_cube();
    sum = sum_of_rows(sum, &mut weights, plan);
    #[unroll]
    for i in 0..PATCH {
        #[unroll]
        for j in 0..columns {
            sums[i * columns + j] /= Quad::new(sum.extract(i));
        }
    }
    store_sums::<F, N>(output, &Rows::packed::<F, N>(q, plan.group, plan), row, &sums, plan);
    if UNIT_POS_X == 0 {
        let log_sum = top + sum.ln();
        let heads = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize * plan.group;
        #[unroll]
        for i in 0..PATCH {
            let at = my_row + i;
            if at < q_rows.n {
                let head = heads + at % plan.group;
                log_sums[head * q_seq + at / plan.group] = log_sum.extract(i);
            }
        }
    }
}

/// First key that the query of a row sees.
#[cube]
fn first_of_row(first: &[i32], row: usize, q_seq: usize, #[comptime] plan: Plan) -> usize {
    if comptime!(plan.documents) {
        let query = min(row / plan.group, q_seq - 1);
        first[CUBE_POS_Z as usize * q_seq + query] as usize
    } else {
        0usize.runtime()
    }
}

/// First key that any row of a tile sees.
#[cube]
fn first_of_tile(first: &[i32], row: usize, q_seq: usize, #[comptime] plan: Plan) -> usize {
    let mut least = first_of_row(first, row, q_seq, plan);
    if comptime!(plan.documents) {
        for i in 1..comptime!(plan.tile()) {
            least = min(least, first_of_row(first, row + i, q_seq, plan));
        }
    }
    least
}
