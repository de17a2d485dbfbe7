// What the threads of a block do together: sums and maxima, always in the same order. Every thread
// of the warp or block must come and gets the result. Blocks are whole warps in one dimension.
#pragma once

#include "common.cuh"

INLINE int lane_index() { return threadIdx.x % 32; }
INLINE int warp_index() { return threadIdx.x / 32; }
INLINE int warp_count() { return blockDim.x / 32; }

struct Sum {
    template <class T> static INLINE T none() { return T(0); }
    template <class T> static INLINE T join(T a, T b) { return a + b; }
};

struct Max {
    template <class T> static INLINE T none() { return -INFINITY; }
    template <class T> static INLINE T join(T a, T b) { return a < b ? b : a; }
};

template <class Of, class T> INLINE T warp_reduce(T x) {
    UNROLL for (int mask = 16; mask > 0; mask /= 2) x = Of::join(x, __shfl_xor_sync(~0u, x, mask));
    return x;
}

template <class Of, class T> INLINE T block_reduce(T x) {
    __shared__ T of_warps[32];
    x = warp_reduce<Of>(x);
    __syncthreads();  // the previous result has been read
    if (lane_index() == 0) of_warps[warp_index()] = x;
    __syncthreads();
    x = lane_index() < warp_count() ? of_warps[lane_index()] : Of::template none<T>();
    return warp_reduce<Of>(x);
}

template <class T> INLINE T warp_sum(T x) { return warp_reduce<Sum>(x); }
template <class T> INLINE T block_sum(T x) { return block_reduce<Sum>(x); }
template <class T> INLINE T block_max(T x) { return block_reduce<Max>(x); }
