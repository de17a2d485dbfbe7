// Global norm of all gradients and the factor that clips it, without a round trip to the host.
#include "reduce.cuh"
#include "vector.cuh"

// Sixteen squares are added in f32, the rest in f64: 7e9 of them would not fit the digits of f32.
constexpr int RUN = 4;

INLINE float squares(const Vec<4> &x) {
    return (x.at[0] * x.at[0] + x.at[1] * x.at[1]) + (x.at[2] * x.at[2] + x.at[3] * x.at[3]);
}

// Each block's share of the sum.
// - g: [n]; partial: [grid]
// - grid: any, but the last digits of the sum depend on it
KERNEL void sum_of_squares(const float *g, u64 n, double *partial) {
    u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x, threads = u64(gridDim.x) * blockDim.x;
    u64 vectors = n / 4, i = thread;
    double sum = 0;
    for (; i + (RUN - 1) * threads < vectors; i += RUN * threads) {
        Vec<4> x[RUN];
        UNROLL for (int j = 0; j < RUN; ++j) x[j] = load<4>(g + (i + j * threads) * 4);
        float run = 0;
        UNROLL for (int j = 0; j < RUN; ++j) run += squares(x[j]);
        sum += run;
    }
    for (; i < vectors; i += threads) sum += squares(load<4>(g + i * 4));
    if (vectors * 4 + thread < n) sum += double(g[vectors * 4 + thread]) * g[vectors * 4 + thread];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
EXPORT(sum_of_squares)

// The norm, and what gradients are multiplied by so that it is at most `clip`; 0 if it is not finite.
// - partial: [blocks]; norm_and_scale: [2]
// - grid: 1
KERNEL void grad_norm(const double *partial, int blocks, float clip, float *norm_and_scale) {
    double sum = 0;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) sum += partial[i];
    double norm = sqrt(block_sum(sum));
    if (threadIdx.x > 0) return;
    norm_and_scale[0] = float(norm);
    norm_and_scale[1] = float(norm) < INFINITY ? min(1.0f, float(clip / (norm + 1e-6))) : 0.0f;
}
EXPORT(grad_norm)
