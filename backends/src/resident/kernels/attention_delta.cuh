// Flash attention, before its backward: for each query the sum over its head of output times gradient.
#pragma once

#include "attention_tiles.cuh"

// Threads of one head: each takes eight elements.
INLINE constexpr int delta_lanes() {
    int lanes = 1;
    while (lanes * 8 < HEAD_DIM) lanes *= 2;
    return lanes;
}

constexpr int DELTA_THREADS = 256, DELTA_LANES = delta_lanes(), DELTA_ROWS = DELTA_THREADS / DELTA_LANES;

INLINE float dot_packed(u32 a, u32 b) {
    float low = __uint_as_float(a << 16) * __uint_as_float(b << 16);
    return low + __uint_as_float(a & 0xffff0000u) * __uint_as_float(b & 0xffff0000u);
}

KERNEL void __launch_bounds__(DELTA_THREADS)
    attention_delta(const bf16 *out, const bf16 *d_out, float *delta, int seq, int heads) {
    int row = int(blockIdx.x) * DELTA_ROWS + int(threadIdx.x) / DELTA_LANES;  // token of the row of the batch, head
    int column = int(threadIdx.x) % DELTA_LANES * 8;
    bool inside = row < seq * heads;
    float sum = 0;
    if (inside && column < HEAD_DIM) {
        i64 at = (i64(blockIdx.y) * seq * heads + row) * HEAD_DIM + column;
        uint4 a = *reinterpret_cast<const uint4 *>(out + at), b = *reinterpret_cast<const uint4 *>(d_out + at);
        sum = dot_packed(a.x, b.x) + dot_packed(a.y, b.y) + (dot_packed(a.z, b.z) + dot_packed(a.w, b.w));
    }
    UNROLL for (int mask = DELTA_LANES / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    if (inside && column == 0) delta[(i64(blockIdx.y) * heads + row % heads) * seq + row / heads] = sum;
}
EXPORT(attention_delta)
