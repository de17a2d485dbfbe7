// The sum of exponentials of a row, read once: kept relative to the largest value so far.
#pragma once

#include "reduce.cuh"
#include "vector.cuh"

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

struct ExpSum {
    float top = -1e30f;  // finite, so that nothing minus nothing is not a NaN
    float sum = 0;       // of 2^(x - top)

    // `x` in units of ln 2.
    template <int N> INLINE void add(const Vec<N> &x) {
        float new_top = top;
        UNROLL for (int i = 0; i < N; ++i) new_top = max(new_top, x.at[i]);
        sum *= exp2_fast(top - new_top);
        UNROLL for (int i = 0; i < N; ++i) sum += exp2_fast(x.at[i] - new_top);
        top = new_top;
    }

    // The base-2 logarithm over what all threads of the block have added.
    INLINE float log2_of_block() const {
        float block_top = block_max(top);
        return block_top + log2f(block_sum(sum * exp2_fast(top - block_top)));
    }
};

template <int N> INLINE Vec<N> scaled(Vec<N> x, float factor) {
    UNROLL for (int i = 0; i < N; ++i) x.at[i] *= factor;
    return x;
}
