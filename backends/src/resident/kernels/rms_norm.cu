// RMSNorm, `y = x / sqrt(mean(x^2) + eps) * w` (arXiv 1910.07467): statistics in f32, the normalised
// value rounded to ELEMENT before it is multiplied by the weight. One block takes a row.
#include "reduce.cuh"
#include "vector.cuh"

// Vectors that a thread has on the way at a time.
constexpr int RUNS = 2;

template <int N> INLINE float sum_of_squares(const ELEMENT *x, int d) {
    float sum = 0;
    int apart = blockDim.x * N;
    for (int i = threadIdx.x * N; i < d; i += RUNS * apart) {
        Runs<N, RUNS> v(x, i, apart, d);
        UNROLL for (int j = 0; j < RUNS * N; ++j) sum += v.at(j) * v.at(j);
    }
    return block_sum(sum);
}

template <int N>
INLINE void scale_row(const ELEMENT *__restrict__ x, const ELEMENT *__restrict__ w, float rstd,
                      ELEMENT *__restrict__ y, int d) {
    int apart = blockDim.x * N;
    for (int i = threadIdx.x * N; i < d; i += RUNS * apart) {
        Runs<N, RUNS> v(x, i, apart, d), weight(w, i, apart, d);
        UNROLL for (int j = 0; j < RUNS * N; ++j) v.at(j) = rounded<ELEMENT>(v.at(j) * rstd) * weight.at(j);
        v.put(y, i, apart, d);
    }
}

template <int N>
INLINE void forward_row(const ELEMENT *x, const ELEMENT *w, ELEMENT *y, float *rstd, int d, float eps) {
    float r = 1.0f / sqrtf(sum_of_squares<N>(x, d) / d + eps);
    if (threadIdx.x == 0) *rstd = r;
    scale_row<N>(x, w, r, y, d);
}

// - x, y: [tokens, d]; w: [d]; rstd: [tokens]
// - grid: tokens
KERNEL void rms_norm_forward(const ELEMENT *x, const ELEMENT *w, ELEMENT *y, float *rstd, int d, float eps) {
    u64 row = blockIdx.x, at = row * d;
    if (d % WIDTH<ELEMENT> == 0)
        forward_row<WIDTH<ELEMENT>>(x + at, w, y + at, rstd + row, d, eps);
    else
        forward_row<1>(x + at, w, y + at, rstd + row, d, eps);
}
EXPORT(rms_norm_forward)

// The output again, bit for bit.
KERNEL void rms_norm_replay(const ELEMENT *x, const ELEMENT *w, const float *rstd, ELEMENT *y, int d) {
    u64 row = blockIdx.x, at = row * d;
    if (d % WIDTH<ELEMENT> == 0)
        scale_row<WIDTH<ELEMENT>>(x + at, w, rstd[row], y + at, d);
    else
        scale_row<1>(x + at, w, rstd[row], y + at, d);
}
EXPORT(rms_norm_replay)

// Columns that a thread has at most.
template <int N> INLINE int columns_of_thread(int d) { return (d + blockDim.x * N - 1) / (blockDim.x * N) * N; }

// The weight's gradient of the rows that a block has seen, in shared memory. A thread touches only
// its own columns, which lie apart by the number of threads: no barriers, no bank conflicts.
struct WeightGradient {
    float *mine;

    INLINE explicit WeightGradient(int columns) : mine(reinterpret_cast<float *>(dynamic_shared()) + threadIdx.x) {
        for (int n = 0; n < columns; ++n) of(n) = 0;
    }

    // Sum of the thread's n-th column.
    INLINE float &of(int n) { return mine[n * blockDim.x]; }

    template <int N> INLINE void put(float *to, int d) {
        for (int i = threadIdx.x * N, n = 0; i < d; i += blockDim.x * N, n += N) {
            Vec<N> sum;
            UNROLL for (int j = 0; j < N; ++j) sum.at[j] = of(n + j);
            store(to + i, sum);
        }
    }
};

// mean(dy * w * x) * rstd, what the norm's own slope takes away.
template <int N>
INLINE float along_row(const ELEMENT *x, const ELEMENT *w, const ELEMENT *dy, float rstd, int d) {
    float sum = 0;
    int apart = blockDim.x * N;
    for (int i = threadIdx.x * N; i < d; i += RUNS * apart) {
        Runs<N, RUNS> v(x, i, apart, d), weight(w, i, apart, d), slope(dy, i, apart, d);
        UNROLL for (int j = 0; j < RUNS * N; ++j) sum += slope.at(j) * weight.at(j) * v.at(j);
    }
    return block_sum(sum) / d * rstd;
}

template <int N>
INLINE void gradient_row(const ELEMENT *x, const ELEMENT *w, const ELEMENT *dy, const ELEMENT *around,
                         ELEMENT *dx, float rstd, float along, int d, WeightGradient dw) {
    for (int i = threadIdx.x * N, n = 0; i < d; i += blockDim.x * N, n += N) {
        Vec<N> v = load<N>(x + i), weight = load<N>(w + i), slope = load<N>(dy + i), past = {};
        if (around) past = load<N>(around + i);
        UNROLL for (int j = 0; j < N; ++j) {
            float normed = v.at[j] * rstd;
            dw.of(n + j) += slope.at[j] * normed;
            v.at[j] = rounded<ELEMENT>((slope.at[j] * weight.at[j] - normed * along) * rstd) + past.at[j];
        }
        store(dx + i, v);
    }
}

INLINE void prefetch_row(const ELEMENT *row, int d) {
    constexpr int LINE = 128 / sizeof(ELEMENT);
    for (int i = threadIdx.x * LINE; i < d; i += blockDim.x * LINE) prefetch(row + i);
}

template <int N>
INLINE void backward_rows(const ELEMENT *x, const ELEMENT *w, const float *rstd, const ELEMENT *dy,
                          const ELEMENT *around, ELEMENT *dx, float *partial, int d, int tokens) {
    WeightGradient dw(columns_of_thread<N>(d));
    for (int row = blockIdx.x; row < tokens; row += gridDim.x) {
        u64 at = u64(row) * d, next = at + u64(gridDim.x) * d;
        if (around) prefetch_row(around + at, d);
        if (row + int(gridDim.x) < tokens) prefetch_row(x + next, d), prefetch_row(dy + next, d);
        float along = along_row<N>(x + at, w, dy + at, rstd[row], d);
        gradient_row<N>(x + at, w, dy + at, around ? around + at : nullptr, dx + at, rstd[row], along, d, dw);
    }
    dw.put<N>(partial + u64(blockIdx.x) * d, d);
}

// The gradient of the input, added to `around` (or null), and each block's share of the weight's.
// - x, dy, around, dx: [tokens, d]; dx may be dy or around; partial: [grid, d]
// - grid: any; block: at most 1024; shared: 4 bytes for each of d rounded up to a multiple of the block's WIDTH * threads
KERNEL void __launch_bounds__(1024)
    rms_norm_backward(const ELEMENT *x, const ELEMENT *w, const float *rstd, const ELEMENT *dy, const ELEMENT *around,
                      ELEMENT *dx, float *partial, int d, int tokens) {
    if (d % WIDTH<ELEMENT> == 0)
        backward_rows<WIDTH<ELEMENT>>(x, w, rstd, dy, around, dx, partial, d, tokens);
    else
        backward_rows<1>(x, w, rstd, dy, around, dx, partial, d, tokens);
}
EXPORT(rms_norm_backward)

// Joins the blocks' shares. A warp takes 32 columns of a run of blocks; the runs are added in order.
// - partial: [blocks, d]; dw: [d], the sum is added to it if `add`
// - grid: ceil(d / 32); block: 1024
KERNEL void rms_norm_weight(const float *partial, float *dw, int blocks, int d, int add) {
    __shared__ float sums[32][32];
    int column = blockIdx.x * 32 + lane_index();
    int run = (blocks + warp_count() - 1) / warp_count();
    int end = min(blocks, (warp_index() + 1) * run);
    float sum = 0;
    if (column < d)
        UNROLL4 for (int i = warp_index() * run; i < end; ++i) sum += partial[u64(i) * d + column];
    sums[warp_index()][lane_index()] = sum;
    __syncthreads();
    if (warp_index() > 0 || column >= d) return;
    for (int i = 1; i < warp_count(); ++i) sum += sums[i][lane_index()];
    dw[column] = add ? dw[column] + sum : sum;
}
EXPORT(rms_norm_weight)
