// Embedding: rows of the table by id, and their gradients summed per id. The host sorts the tokens by
// id beforehand, so every sum has one writer and one order.
#include "reduce.cuh"
#include "vector.cuh"

// An id with more tokens than this takes more than one block.
constexpr int FREQUENT = 64;
// Warps of such a block, at most.
constexpr int WARPS = 16;

template <int N> INLINE void copy_row(const ELEMENT *__restrict__ from, ELEMENT *__restrict__ to, int d) {
    int apart = blockDim.x * N;
    for (int i = threadIdx.x * N; i < d; i += 2 * apart) Runs<N, 2>(from, i, apart, d).put(to, i, apart, d);
}

// - ids: [tokens]; w: [vocab, d]; x: [tokens, d]
// - grid: tokens
KERNEL void embedding_forward(const int *ids, const ELEMENT *w, ELEMENT *x, int d) {
    const ELEMENT *from = w + u64(ids[blockIdx.x]) * d;
    ELEMENT *to = x + u64(blockIdx.x) * d;
    if (d % WIDTH<ELEMENT> == 0)
        copy_row<WIDTH<ELEMENT>>(from, to, d);
    else
        copy_row<1>(from, to, d);
}
EXPORT(embedding_forward)

template <int N> INLINE void add(Vec<N> &sum, const Vec<N> &x) {
    UNROLL for (int j = 0; j < N; ++j) sum.at[j] += x.at[j];
}

// The sum of some tokens' rows at one column; four rows are asked for at a time.
template <int N>
INLINE Vec<N> sum_tokens(const int *__restrict__ order, int begin, int end, const ELEMENT *__restrict__ dx, int d) {
    Vec<N> sum = {};
    UNROLL4 for (int i = begin; i < end; ++i) add(sum, load<N>(dx + u64(order[i]) * d));
    return sum;
}

template <int N> INLINE void add_to(float *dw, const Vec<N> &sum) {
    Vec<N> total = load<N>(dw);
    add(total, sum);
    store(dw, total);
}

template <int N>
INLINE void add_tokens(const int *order, int begin, int end, const ELEMENT *dx, float *dw, int d) {
    for (int i = threadIdx.x * N; i < d; i += blockDim.x * N)
        add_to(dw + i, sum_tokens<N>(order, begin, end, dx + i, d));
}

// Adds the gradients of all tokens of an id to its row; leaves frequent ids to the kernel below.
// - rows: [tokens], the distinct ids in any order, then -1; first: [tokens + 1] into order
// - order: [tokens], the positions of the first id's tokens, then of the next's; dx: [tokens, d]
// - dw: [vocab, d]
// - grid: tokens
KERNEL void embedding_backward(const int *rows, const int *first, const int *order, const ELEMENT *dx, float *dw,
                               int d) {
    int id = rows[blockIdx.x];
    if (id < 0) return;
    int begin = first[blockIdx.x], end = first[blockIdx.x + 1];
    if (end - begin > FREQUENT) return;
    dw += u64(id) * d;
    if (d % WIDTH<ELEMENT> == 0)
        add_tokens<WIDTH<ELEMENT>>(order, begin, end, dx, dw, d);
    else
        add_tokens<1>(order, begin, end, dx, dw, d);
}
EXPORT(embedding_backward)

// A warp's lanes take neighbouring columns, its warps runs of the tokens; the runs are added in order.
template <int N>
INLINE void add_frequent(const int *order, int begin, int end, const ELEMENT *dx, float *dw, int d) {
    __shared__ float sums[WARPS][N * 32];
    int column = (blockIdx.y * 32 + lane_index()) * N;
    int run = (end - begin + warp_count() - 1) / warp_count();
    int from = begin + warp_index() * run;
    Vec<N> sum = {};
    if (column < d) sum = sum_tokens<N>(order, from, min(end, from + run), dx + column, d);
    __syncthreads();  // the previous id's sums have been read
    UNROLL for (int j = 0; j < N; ++j) sums[warp_index()][j * 32 + lane_index()] = sum.at[j];
    __syncthreads();
    if (warp_index() > 0 || column >= d) return;
    for (int i = 1; i < warp_count(); ++i)
        UNROLL for (int j = 0; j < N; ++j) sum.at[j] += sums[i][j * 32 + lane_index()];
    add_to(dw + column, sum);
}

// The same for ids of more than FREQUENT tokens. A block looks at some of the ids, apart from each
// other since frequent ids may be neighbours, and does what is frequent among them.
// - grid: (about tokens / 32, ceil(d / (32 * WIDTH))), the second with WIDTH = 1 where d is not a
//   multiple of it; block: 512
KERNEL void embedding_backward_frequent(const int *rows, const int *first, const int *order, const ELEMENT *dx,
                                        float *dw, int d, int tokens) {
    for (int u = blockIdx.x; u < tokens; u += gridDim.x) {
        int id = rows[u];
        if (id < 0) return;
        int begin = first[u], end = first[u + 1];
        if (end - begin <= FREQUENT) continue;
        if (d % WIDTH<ELEMENT> == 0)
            add_frequent<WIDTH<ELEMENT>>(order, begin, end, dx, dw + u64(id) * d, d);
        else
            add_frequent<1>(order, begin, end, dx, dw + u64(id) * d, d);
    }
}
EXPORT(embedding_backward_frequent)
