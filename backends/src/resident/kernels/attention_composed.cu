// Attention by chunks of queries whose scores exist in memory, between products of the library: for f32
// and for cards before Hopper. These kernels turn scores into probabilities and back; a block takes
// the scores of one query, [keys] of [batch * heads, chunk, row].
#include "exp_sum.cuh"

// The scores that a block takes.
struct Query {
    int batch, position;
    u64 scores;  // where they begin
    u64 stat;    // its place in [batch * heads, seq]
    int begin, end;  // of the keys that it sees

    INLINE Query(const int *starts, int first_query, int chunk, int row, int seq, int heads) {
        batch = blockIdx.x / heads;
        position = first_query + blockIdx.y;
        scores = (u64(blockIdx.x) * chunk + blockIdx.y) * row;
        stat = u64(blockIdx.x) * seq + position;
        begin = starts ? starts[u64(batch) * seq + position] : 0;
        end = position + 1;
    }

    INLINE bool sees(int key) const { return key >= begin && key < end; }
    INLINE bool sees_any(int key, int count) const { return key + count > begin && key < end; }
};

// The first of a thread's vectors that may hold a key from `begin` on.
template <int N> INLINE int first_vector(int begin) { return (begin / N + threadIdx.x) * N; }

template <int N> INLINE float log2_sum(const ELEMENT *scores, const Query &query, float scale) {
    ExpSum sum;
    for (int i = first_vector<N>(query.begin); i < query.end; i += blockDim.x * N) {
        Vec<N> x = scaled(load<N>(scores + i), scale * LOG2_E);
        UNROLL for (int j = 0; j < N; ++j)
            if (!query.sees(i + j)) x.at[j] = -INFINITY;
        sum.add(x);
    }
    return sum.log2_of_block();
}

template <int N> INLINE void softmax_row(ELEMENT *scores, float *lse, const Query &query, int keys, float scale) {
    float log_sum = log2_sum<N>(scores, query, scale);
    if (threadIdx.x == 0) *lse = log_sum * LN_2;
    for (int i = threadIdx.x * N; i < keys; i += blockDim.x * N) {
        Vec<N> x = {};
        if (query.sees_any(i, N)) x = load<N>(scores + i);
        UNROLL for (int j = 0; j < N; ++j)
            x.at[j] = query.sees(i + j) ? exp2_fast(x.at[j] * (scale * LOG2_E) - log_sum) : 0.0f;
        store(scores + i, x);
    }
}

// Scores become probabilities, 0 where the query does not see the key.
// - scores: [batch * heads, chunk, row], of which `keys` columns are used, a few more may be written
// - lse: [batch * heads, seq]
// - starts: [batch, seq], the first key that each query sees, or null
// - grid: (batch * heads, chunk)
KERNEL void attention_softmax(ELEMENT *scores, float *lse, const int *starts, int first_query, int chunk, int keys,
                              int row, int seq, int heads, float scale) {
    Query query(starts, first_query, chunk, row, seq, heads);
    if (row % WIDTH<ELEMENT> == 0)
        softmax_row<WIDTH<ELEMENT>>(scores + query.scores, lse + query.stat, query, keys, scale);
    else
        softmax_row<1>(scores + query.scores, lse + query.stat, query, keys, scale);
}
EXPORT(attention_softmax)

template <int N>
INLINE void softmax_gradient_row(ELEMENT *__restrict__ scores, ELEMENT *__restrict__ d_probs, float lse, float delta,
                                 const Query &query, int keys, float scale) {
    for (int i = threadIdx.x * N; i < keys; i += blockDim.x * N) {
        Vec<N> x = {}, d = {};
        if (query.sees_any(i, N)) x = load<N>(scores + i), d = load<N>(d_probs + i);
        UNROLL for (int j = 0; j < N; ++j) {
            bool seen = query.sees(i + j);
            float p = exp2_fast((x.at[j] * scale - lse) * LOG2_E);
            x.at[j] = seen ? p * (d.at[j] - delta) * scale : 0.0f;
            d.at[j] = seen ? p : 0.0f;
        }
        store(scores + i, x);
        store(d_probs + i, d);
    }
}

// Raw scores become the gradient of the products of queries and keys, `d_probs` the probabilities.
// - d_probs: as scores; delta: [batch * heads, seq], by `attention_delta`; the rest as above
KERNEL void attention_softmax_backward(ELEMENT *scores, ELEMENT *d_probs, const float *lse, const float *delta,
                                       const int *starts, int first_query, int chunk, int keys, int row, int seq,
                                       int heads, float scale) {
    Query query(starts, first_query, chunk, row, seq, heads);
    u64 at = query.scores, stat = query.stat;
    if (row % WIDTH<ELEMENT> == 0)
        softmax_gradient_row<WIDTH<ELEMENT>>(scores + at, d_probs + at, lse[stat], delta[stat], query, keys, scale);
    else
        softmax_gradient_row<1>(scores + at, d_probs + at, lse[stat], delta[stat], query, keys, scale);
}
EXPORT(attention_softmax_backward)

template <int N> INLINE float product_of_head(const ELEMENT *a, const ELEMENT *b, int head_dim) {
    float sum = 0;
    for (int i = lane_index() * N; i < head_dim; i += 2 * 32 * N) {
        Runs<N, 2> x(a, i, 32 * N, head_dim), y(b, i, 32 * N, head_dim);
        UNROLL for (int j = 0; j < 2 * N; ++j) sum += x.at(j) * y.at(j);
    }
    return warp_sum(sum);
}

// What each query's gradients have in common: its output times the output's gradient. A warp takes a
// head, four elements a lane so that no lane of common head sizes is idle.
// - out, d_out: [tokens, heads * head_dim]; delta: [batch * heads, seq]
// - grid: tokens
KERNEL void attention_delta(const ELEMENT *out, const ELEMENT *d_out, float *delta, int seq, int heads, int head_dim) {
    int batch = blockIdx.x / seq, position = blockIdx.x % seq;
    for (int head = warp_index(); head < heads; head += warp_count()) {
        u64 at = (u64(blockIdx.x) * heads + head) * head_dim;
        float sum = head_dim % 4 == 0 ? product_of_head<4>(out + at, d_out + at, head_dim)
                                      : product_of_head<1>(out + at, d_out + at, head_dim);
        if (lane_index() == 0) delta[(u64(batch) * heads + head) * seq + position] = sum;
    }
}
EXPORT(attention_delta)
