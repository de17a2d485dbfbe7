// Cross-entropy with z-loss on the logits of a chunk of tokens, forward and gradient at once where the
// logits lie. One block takes a token.
#include "exp_sum.cuh"

// Vectors that a thread has on the way at a time.
constexpr int RUNS = 2;

// ln(sum(exp(x))) over the first `vocab` of a row.
template <int N> INLINE float log_sum_exp(const ELEMENT *x, int vocab) {
    ExpSum sum;
    int whole = vocab / N * N, apart = blockDim.x * N;
    for (int i = threadIdx.x * N; i < whole; i += 2 * RUNS * apart) {
        Runs<N, 2 * RUNS> v(x, i, apart, whole, -INFINITY);
        UNROLL for (int r = 0; r < 2 * RUNS; ++r) sum.add(scaled(v.run[r], LOG2_E));
    }
    if (whole + int(threadIdx.x) < vocab) sum.add(scaled(load<1>(x + whole + threadIdx.x), LOG2_E));
    return sum.log2_of_block() * LN_2;
}

// What a row's gradient is made of.
struct Slope {
    float log_sum;  // in units of ln 2
    float common;   // multiplies every probability
    float weight;   // is taken off at the target
    int target, vocab;

    // The gradient of the logits `x`, which begin at column `i`; 0 past the vocabulary.
    template <int N> INLINE Vec<N> at(int i, Vec<N> x) const {
        UNROLL for (int j = 0; j < N; ++j) {
            float d = exp2_fast(x.at[j] * LOG2_E - log_sum) * common;
            if (i + j == target) d -= weight;
            x.at[j] = i + j < vocab ? d : 0.0f;
        }
        return x;
    }
};

// From the end to the beginning: what was read last is still in the cache.
template <int N> INLINE void gradient_row(ELEMENT *x, int row, const Slope &slope) {
    int apart = blockDim.x * N, step = RUNS * apart;
    for (int i = threadIdx.x * N + (row - 1) / step * step; i >= 0; i -= step) {
        Runs<N, RUNS> v(x, i, apart, row);
        UNROLL for (int r = 0; r < RUNS; ++r) v.run[r] = slope.at(i + r * apart, v.run[r]);
        v.put(x, i, apart, row);
    }
}

template <int N> INLINE void clear_row(ELEMENT *x, int row) {
    for (int i = threadIdx.x * N; i < row; i += blockDim.x * N) store(x + i, Vec<N>{});
}

template <int N>
INLINE void cross_entropy_row(ELEMENT *x, int target, float weight, float *log_prob, float *log_sum, int vocab,
                              int row, float z_loss) {
    float lse = log_sum_exp<N>(x, vocab);
    if (threadIdx.x == 0) {
        *log_prob = to_float(x[target]) - lse;
        *log_sum = lse;
    }
    __syncthreads();  // the target's logit has been read
    if (weight == 0.0f)
        clear_row<N>(x, row);
    else
        gradient_row<N>(x, row, Slope{lse * LOG2_E, weight * (1.0f + 2.0f * z_loss * lse), weight, target, vocab});
}

// Logits become the gradient of `weight * (-ln p(target) + z_loss * log_sum^2)`, 0 past the vocabulary.
// - logits: [tokens, row], row >= vocab; targets, weights, log_probs, log_sums: [tokens]
// - grid: tokens
KERNEL void cross_entropy(ELEMENT *logits, const int *targets, const float *weights, float *log_probs,
                          float *log_sums, int vocab, int row, float z_loss) {
    int token = blockIdx.x;
    ELEMENT *x = logits + u64(token) * row;
    if (row % WIDTH<ELEMENT> == 0)
        cross_entropy_row<WIDTH<ELEMENT>>(x, targets[token], weights[token], log_probs + token, log_sums + token,
                                          vocab, row, z_loss);
    else
        cross_entropy_row<1>(x, targets[token], weights[token], log_probs + token, log_sums + token, vocab, row,
                             z_loss);
}
EXPORT(cross_entropy)
