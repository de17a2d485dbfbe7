//! Gradients: queries' from tiles of queries over their keys, keys' and values' from tiles of keys
//! over the queries that see them.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{ir::ElemType, prelude::*};

use super::tile::{
    PATCH, Plan, Quad, Rows, add_weighted, late_first, load, products, share, store_sums, weight,
    zero_sums,
};
use super::{cubes, scale, width};
use crate::cube::{ELEMENTWISE_UNITS, elem_type, empty};

/// What each query brings to its pairs, `[batch, kv_heads, q_seq * group, 4]`: log-sum-exp, sum
/// over the head of output times gradient, first visible key, nothing.
///
/// One buffer, since a kernel may have few.
pub(super) fn statistics(
    output: CubeTensor,
    d_output: &CubeTensor,
    log_sums: CubeTensor,
    first: CubeTensor,
    plan: Plan,
) -> CubeTensor {
    let shape = output.meta.shape().clone();
    let [batch, q_seq, kv_heads] = [shape[0], shape[1], shape[2] / plan.group];
    let rows = q_seq * plan.group;
    let stats = empty(&output, [batch, kv_heads, rows, 4], DType::F32);
    let dim = CubeDim::new_1d(ELEMENTWISE_UNITS);
    let x = rows.div_ceil(ELEMENTWISE_UNITS as usize) as u32;
    let dtype = elem_type(&output);
    statistics_kernel::launch(
        &stats.client,
        CubeCount::Static(x, kv_heads as u32, batch as u32),
        dim,
        width(&[&output, d_output]),
        output.into_tensor_arg(),
        d_output.clone().into_tensor_arg(),
        log_sums.into_buffer_arg(),
        first.into_buffer_arg(),
        stats.clone().into_buffer_arg(),
        plan,
        dtype,
    );
    stats
}

/// Gradient of the queries, from `[q, k, v, d_output, stats]`.
pub(super) fn queries([q, k, v, d_output, stats]: [&CubeTensor; 5], plan: Plan) -> CubeTensor {
    let shape = q.meta.shape().clone();
    let (count, dim) = cubes(shape[1] * plan.group, k, plan);
    let dq = empty(q, shape, q.dtype);
    queries_kernel::launch(
        &q.client,
        count,
        dim,
        width(&[q, k, v, d_output, &dq]),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        d_output.clone().into_tensor_arg(),
        stats.clone().into_buffer_arg(),
        dq.clone().into_buffer_arg(),
        scale(plan),
        plan,
        elem_type(q),
    );
    dq
}

/// Gradients of keys and values, from `[q, k, v, d_output, stats]`.
pub(super) fn keys(
    [q, k, v, d_output, stats]: [&CubeTensor; 5],
    plan: Plan,
) -> (CubeTensor, CubeTensor) {
    let shape = k.meta.shape().clone();
    let (count, dim) = cubes(shape[1], k, plan);
    let [dk, dv] = [(); 2].map(|()| empty(k, shape.clone(), k.dtype));
    keys_kernel::launch(
        &k.client,
        count,
        dim,
        width(&[q, k, v, d_output, &dk]),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        d_output.clone().into_tensor_arg(),
        stats.clone().into_buffer_arg(),
        dk.clone().into_buffer_arg(),
        dv.clone().into_buffer_arg(),
        scale(plan),
        plan,
        elem_type(k),
    );
    (dk, dv)
}

#[cube(launch)]
fn statistics_kernel<F: Float, N: Size>(
    output: &Tensor<Vector<F, N>>,
    d_output: &Tensor<Vector<F, N>>,
    log_sums: &[f32],
    first: &[i32],
    stats: &mut [Quad],
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let rows = Rows::of::<F, N>(output, plan.group);
    let d_rows = Rows::of::<F, N>(d_output, plan.group);
    let (row, q_seq) = (ABSOLUTE_POS_X as usize, output.shape(1));
    if row < rows.n {
        let mut common = Quad::new(0f32);
        for quad in 0..comptime!(plan.quads()) {
            let value = load::<F, N>(output, &rows, row, quad, plan);
            common = fma(value, load::<F, N>(d_output, &d_rows, row, quad, plan), common);
        }
        let (query, member) = (row / plan.group, row % plan.group);
        let kv_head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize;
        let mut stat = Quad::new(0f32);
        stat.insert(0usize, log_sums[(kv_head * plan.group + member) * q_seq + query]);
        let halves = (common.extract(0usize) + common.extract(1usize))
            + (common.extract(2usize) + common.extract(3usize));
        stat.insert(1usize, halves);
        if comptime!(plan.documents) {
            stat.insert(2usize, f32::cast_from(first[CUBE_POS_Z as usize * q_seq + query]));
        }
        stats[kv_head * rows.n + row] = stat;
    }
}

#[cube(launch)]
fn queries_kernel<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    d_output: &Tensor<Vector<F, N>>,
    stats: &[Quad],
    dq: &mut [Vector<F, N>],
    scale: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let tile = comptime!(plan.tile());
    let mut staged = Shared::<[Quad]>::new_slice(comptime!(plan.stage_len()));
    let mut weights = Shared::<[Quad]>::new_slice(comptime!(plan.weights_len()));
    let q_rows = Rows::of::<F, N>(q, plan.group);
    let k_rows = Rows::of::<F, N>(k, 1usize);
    let v_rows = Rows::of::<F, N>(v, 1usize);
    let d_rows = Rows::of::<F, N>(d_output, plan.group);
    let offset = k.shape(1) - q.shape(1);

    let row = late_first(CUBE_COUNT_X, CUBE_POS_X, plan);
    let my_row = row + UNIT_POS_Y as usize * PATCH;
    let mut my_stats = Array::<Quad>::new(PATCH);
    #[unroll]
    for i in 0..PATCH {
        my_stats[i] = stat_of_row(stats, my_row + i, q_rows.n);
    }

    let mut sums = zero_sums(plan);
    let mut key = first_of_tile(stats, row, q_rows.n, plan);
    let end = offset + (min(row + tile, q_rows.n) - 1) / plan.group + 1;
    while key < end {
        let mut patch = products::<F, N>((q, &q_rows, row), (k, &k_rows, key), &mut staged, plan);
        let d_weights =
            products::<F, N>((d_output, &d_rows, row), (v, &v_rows, key), &mut staged, plan);
        #[unroll]
        for i in 0..PATCH {
            let position = offset + (my_row + i) / plan.group;
            #[unroll]
            for j in 0..PATCH {
                let n = comptime!(i * PATCH + j);
                let at = key + UNIT_POS_X as usize + j * plan.side;
                let weight = weight(patch[n] * scale, my_stats[i], position, at, plan);
                patch[n] = weight * (d_weights[n] - my_stats[i].extract(1usize)) * scale;
            }
        }
        share(&patch, &mut weights, plan);
        add_weighted::<F, N>(&weights, (k, &k_rows, key), &mut staged, &mut sums, plan);
        key += tile;
    }
    store_sums::<F, N>(dq, &Rows::packed::<F, N>(q, plan.group, plan), row, &sums, plan);
}

/// Rows of the tiles are keys here, columns are queries.
#[cube(launch)]
fn keys_kernel<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    d_output: &Tensor<Vector<F, N>>,
    stats: &[Quad],
    dk: &mut [Vector<F, N>],
    dv: &mut [Vector<F, N>],
    scale: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let tile = comptime!(plan.tile());
    let mut staged = Shared::<[Quad]>::new_slice(comptime!(plan.stage_len()));
    let mut weights = Shared::<[Quad]>::new_slice(comptime!(plan.weights_len()));
    let q_rows = Rows::of::<F, N>(q, plan.group);
    let k_rows = Rows::of::<F, N>(k, 1usize);
    let v_rows = Rows::of::<F, N>(v, 1usize);
    let d_rows = Rows::of::<F, N>(d_output, plan.group);
    let offset = k.shape(1) - q.shape(1);

    let key = CUBE_POS_X as usize * tile;
    let my_key = key + UNIT_POS_Y as usize * PATCH;
    let mut dk_sums = zero_sums(plan);
    let mut dv_sums = zero_sums(plan);
    // The first query that is not before the tile.
    let mut row = (max(key, offset) - offset) * plan.group;
    while row < q_rows.n {
        if first_of_tile(stats, row, q_rows.n, plan) < key + tile {
            let mut patch =
                products::<F, N>((k, &k_rows, key), (q, &q_rows, row), &mut staged, plan);
            let mut d_scores =
                products::<F, N>((v, &v_rows, key), (d_output, &d_rows, row), &mut staged, plan);
            #[unroll]
            for j in 0..PATCH {
                let at = row + UNIT_POS_X as usize + j * plan.side;
                let stat = stat_of_row(stats, at, q_rows.n);
                let position = offset + at / plan.group;
                #[unroll]
                for i in 0..PATCH {
                    let n = comptime!(i * PATCH + j);
                    let weight = weight(patch[n] * scale, stat, position, my_key + i, plan);
                    // Rows beyond the end are zeros, but what scales them must be finite.
                    let weight = select(at < q_rows.n, weight, 0f32);
                    patch[n] = weight;
                    d_scores[n] = weight * (d_scores[n] - stat.extract(1usize)) * scale;
                }
            }
            share(&patch, &mut weights, plan);
            let d_tile = (d_output, &d_rows, row);
            add_weighted::<F, N>(&weights, d_tile, &mut staged, &mut dv_sums, plan);
            sync_cube();
            share(&d_scores, &mut weights, plan);
            add_weighted::<F, N>(&weights, (q, &q_rows, row), &mut staged, &mut dk_sums, plan);
        }
        row += tile;
    }
    let packed = Rows::packed::<F, N>(k, 1usize, plan);
    store_sums::<F, N>(dk, &packed, key, &dk_sums, plan);
    store_sums::<F, N>(dv, &packed, key, &dv_sums, plan);
}

/// Statistics of a row; of the last one beyond the end.
#[cube]
fn stat_of_row(stats: &[Quad], row: usize, n: usize) -> Quad {
    let kv_head = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize;
    stats[kv_head * n + min(row, n - 1)]
}

/// First key that any row of a tile sees.
#[cube]
fn first_of_tile(stats: &[Quad], row: usize, n: usize, #[comptime] plan: Plan) -> usize {
    let mut least = 0usize.runtime();
    if comptime!(plan.documents) {
        let mut first = stat_of_row(stats, row, n).extract(2usize);
        for i in 1..comptime!(plan.tile()) {
            first = min(first, stat_of_row(stats, row + i, n).extract(2usize));
        }
        least = usize::cast_from(first);
    }
    least
}
