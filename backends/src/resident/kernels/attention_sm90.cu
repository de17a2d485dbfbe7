// Flash attention for Hopper (sm_90a): forward and backward, bf16 in and out, f32 sums. Causal, over
// whole rows of the batch or inside of documents; heads may share keys and values. Without atomics, so
// the same input gives the same bits. HEAD_DIM: any multiple of 8 up to 256; 64, 128, 192 and 256 are tuned.
//
// Tensors: q, k and v lie in one buffer `[batch * seq, (heads + 2 kv_heads) * HEAD_DIM]`, out and d_out
// are `[batch * seq, heads * HEAD_DIM]`, lse (natural logarithm of the sum of exp(scale * score)) and
// delta `[batch, heads, seq]` in f32, starts and ends `[batch * seq]` (attention_rows.cuh) or null.
// d_query, d_key and d_value point to the first element of their part of the gradient's buffer, whose
// rows are `row` elements long.
//
// Maps: dimensions {HEAD_DIM, heads of the tensor, seq, batch}, box {64, 1, rows, 1}, 128-byte swizzle,
// zeros outside. Rows of the boxes, threads and dynamic shared memory are in `attention_launches`:
//
//   kernel                        blocks                              boxes: a block's own, streamed
//   attention_forward             ceil(seq / own) * heads * batch     q; k, v
//   attention_delta               ceil(seq * heads / rows), batch     none
//   attention_backward_key_value  ceil(seq / own) * kv_heads * batch  k, v; q, d_out
//   attention_backward_query      ceil(seq / own) * heads * batch     q, d_out; k, v

#include "attention_delta.cuh"
#include "attention_forward.cuh"
#include "attention_key_value.cuh"
#include "attention_query.cuh"

// How the kernels, in the order above, are launched.
struct AttentionLaunch {
    int rows;      // of a block; also of the boxes of its own tiles
    int streamed;  // rows of the boxes of streamed tiles
    int threads;
    int shared;  // bytes of dynamic shared memory
};

// Tells the host.
// - launches: [4]
// - grid: 1; block: any
KERNEL void attention_launches(AttentionLaunch *launches) {
    if (threadIdx.x > 0) return;
    launches[0] = {FORWARD_QUERIES, FORWARD.rows, FORWARD.threads(), sizeof(ForwardShared)};
    launches[1] = {DELTA_ROWS, 0, DELTA_THREADS, 0};
    launches[2] = {KEY_VALUE_KEYS, KEY_VALUE.rows, KEY_VALUE.threads(), sizeof(KeyValueShared)};
    launches[3] = {QUERY_QUERIES, QUERY.rows, QUERY.threads(), sizeof(QueryShared)};
}
EXPORT(attention_launches)
