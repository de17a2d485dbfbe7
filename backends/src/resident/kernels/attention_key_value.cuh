// Flash attention, backward, gradients of keys and values: a block takes keys of one head and streams
// over the queries that see them, of all heads that share the keys.
//
// All is transposed: S^T = K Q^T and dP^T = V dO^T have keys as rows, so that the weights P^T and
// dS^T = P^T (dP^T - delta) are operands in registers for dV += P^T dO and dK += dS^T Q. Where a
// consumer has registers for both gradients, it takes 64 keys (`KeyValueTile`). For wider heads two
// share 64 keys: one multiplies for dV (`ValueTile`) and gives its weights to the other (`KeyTile`),
// through shared memory, thread by thread.
#pragma once

#if HEAD_DIM > 128
#include "attention_key_value_paired.cuh"
#else
#include "attention_key_value_single.cuh"
#endif

static_assert(sizeof(KeyValueShared) <= SHARED_LIMIT, "tiles of the keys' and values' gradients are too large");

KERNEL void __launch_bounds__(KEY_VALUE.threads(), 1)
    attention_backward_key_value(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                                 const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap d_out,
                                 const float *lse, const float *delta, const int *ends, bf16 *d_key, bf16 *d_value,
                                 int row, int batch, int seq, int heads, int kv_heads, float scale) {
    KeyValueShared &shared = *reinterpret_cast<KeyValueShared *>(dynamic_shared());
    int group = heads / kv_heads, warpgroup = warp_index() / 4;
    Work work = order_work(seq, kv_heads, batch, KEY_VALUE_KEYS, cached_heads(seq) / group, false);
    const int *row_ends = of_batch(ends, work.at.batch, seq);
    Span<KEY_VALUE.rows> span = query_span<KEY_VALUE_KEYS, KEY_VALUE.rows>(row_ends, work.row, seq);
    GroupSpan all = {span, {work.at.head * group, work.at.batch}, group};
    if (threadIdx.x == 0) {
        prefetch_maps(q, k, v, d_out);
        shared.init();
    }
    __syncthreads();
    if (warpgroup == 0) {
        shrink_registers<KEY_VALUE.producer_registers>();
        key_value_produce(stream_of(shared), {q, k, v, d_out}, lse, delta, work, all, heads, seq);
    } else {
        grow_registers<KEY_VALUE.consumer_registers>();
        i64 at = (i64(work.at.batch) * seq + work.row) * row + work.at.head * HEAD_DIM;
        GradientRows to = {d_key + at, d_value + at, row, seq - work.row, scale};
        consume(shared, warpgroup - 1, all, row_ends, work.row, seq, to);
    }
}
EXPORT(attention_backward_key_value)
