// Between f32 and ELEMENT. Four elements a thread at a time: 16 bytes on the wider side.
#include "vector.cuh"

template <class From, class To> INLINE void convert(const From *__restrict__ x, To *__restrict__ y, u64 n) {
    u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x, threads = u64(gridDim.x) * blockDim.x;
    for (u64 i = thread * 4; i + 4 <= n; i += threads * 4) store(y + i, load<4>(x + i));
    u64 left = n / 4 * 4 + thread;
    if (left < n) store(y + left, load<1>(x + left));
}

// - x, y: [n]
// - grid: any
KERNEL void cast(const float *x, ELEMENT *y, u64 n) { convert(x, y, n); }
EXPORT(cast)

// - x: [tokens, width]; y: [tokens, row], of which the first `width` columns are written
// - grid: tokens
KERNEL void cast_rows(const float *x, ELEMENT *y, int width, int row) {
    x += u64(blockIdx.x) * width;
    y += u64(blockIdx.x) * row;
    for (int i = threadIdx.x; i < width; i += blockDim.x) y[i] = from_float<ELEMENT>(x[i]);
}
EXPORT(cast_rows)
