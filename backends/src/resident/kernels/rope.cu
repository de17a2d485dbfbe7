// Rotary position embedding (arXiv 2104.09864) in the rotate-half form, in place: element i of a head
// and element i + half are turned as a pair.
#include "vector.cuh"

template <int N>
INLINE void rotate_heads(ELEMENT *x, const float *cos, const float *sin, int heads, int half, float sign) {
    for (int i = threadIdx.x * N; i < heads * half; i += blockDim.x * N) {
        int head = i / half, pair = i - head * half;
        ELEMENT *first = x + head * 2 * half + pair, *second = first + half;
        Vec<N> a = load<N>(first), b = load<N>(second), c = load<N>(cos + pair), s = load<N>(sin + pair);
        UNROLL for (int j = 0; j < N; ++j) {
            float turned = a.at[j] * c.at[j] - b.at[j] * (sign * s.at[j]);
            b.at[j] = b.at[j] * c.at[j] + a.at[j] * (sign * s.at[j]);
            a.at[j] = turned;
        }
        store(first, a);
        store(second, b);
    }
}

// Turns the first `heads` heads (queries and keys) of every row; `sign` is 1, or -1 for the gradient.
// - qkv: [tokens, row]; cos, sin: [seq, half]
// - grid: tokens
KERNEL void rope(ELEMENT *qkv, const float *cos, const float *sin, int seq, int row, int heads, int half, float sign) {
    ELEMENT *x = qkv + u64(blockIdx.x) * row;
    int angle = blockIdx.x % seq * half;
    if (row % WIDTH<ELEMENT> == 0 && half % WIDTH<ELEMENT> == 0)
        rotate_heads<WIDTH<ELEMENT>>(x, cos + angle, sin + angle, heads, half, sign);
    else
        rotate_heads<1>(x, cos + angle, sin + angle, heads, half, sign);
}
EXPORT(rope)
