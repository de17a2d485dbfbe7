// Flash attention: which keys a query sees, and the rows and columns that a thread holds of a product.
//
// Query i sees keys starts[i]..=i, so key j is seen by queries j..ends[j] (exclusive); without these
// lists the whole row of the batch is one document.
#pragma once

#include "attention_tiles.cuh"

constexpr float LOG2_E = 1.4426950408889634f;

// Places of this thread in a warpgroup's product (see wgmma.cuh): rows `fragment_row()` and 8
// further, columns `fragment_column()` and the next one of each eight.
INLINE int fragment_row() { return int(threadIdx.x) % 128 / 32 * 16 + int(threadIdx.x) % 32 / 4; }
INLINE int fragment_column() { return int(threadIdx.x) % 4 * 2; }

// Of one row of the batch: the first key that query `row` sees. Rows past the end are as the last.
INLINE int first_key(const int *starts, int row, int seq) { return starts ? starts[min(row, seq - 1)] : 0; }

// The first query past those that see key `row`.
INLINE int past_query(const int *ends, int row, int seq) { return ends ? ends[min(row, seq - 1)] : seq; }

// The list of one row of the batch, or null.
INLINE const int *of_batch(const int *list, int batch, int seq) { return list ? list + i64(batch) * seq : nullptr; }

// The rows that a block streams: `tiles` tiles from `first`.
template <int ROWS> struct Span {
    int first, tiles;
    INLINE int row(int tile) const { return first + tile * ROWS; }
};

// The keys, in tiles of ROWS, that QUERIES queries from `row` see.
template <int QUERIES, int ROWS> INLINE Span<ROWS> key_span(const int *starts, int row, int seq) {
    int first = first_key(starts, row, seq), past = min(row + QUERIES, seq);
    return {first, (past - first + ROWS - 1) / ROWS};
}

// The queries, in tiles of ROWS, that see KEYS keys from `row`.
template <int KEYS, int ROWS> INLINE Span<ROWS> query_span(const int *ends, int row, int seq) {
    return {row, (past_query(ends, row + KEYS - 1, seq) - row + ROWS - 1) / ROWS};
}

// A thread's two rows of a product's rows, and which columns each of them sees: low..=high.
struct SeenColumns {
    int low[2], high[2];
    // All 64 rows of the warpgroup see low_all..=high_all.
    int low_all, high_all;
};

// For 64 queries from `row`: the keys that they see.
INLINE SeenColumns seen_keys(const int *starts, int row, int seq) {
    SeenColumns seen;
    UNROLL for (int half = 0; half < 2; ++half) {
        seen.high[half] = row + fragment_row() + 8 * half;
        seen.low[half] = first_key(starts, seen.high[half], seq);
    }
    seen.low_all = first_key(starts, row + 63, seq);
    seen.high_all = row;
    return seen;
}

// For 64 keys from `row`: the queries that see them.
INLINE SeenColumns seeing_queries(const int *ends, int row, int seq) {
    SeenColumns seen;
    UNROLL for (int half = 0; half < 2; ++half) {
        seen.low[half] = row + fragment_row() + 8 * half;
        seen.high[half] = past_query(ends, seen.low[half], seq) - 1;
    }
    seen.low_all = row + 63;
    seen.high_all = past_query(ends, row, seq) - 1;
    return seen;
}

// Sets scores [64, N] of columns from `column` to -inf where the row does not see the column.
template <int N> INLINE void mask(float (&scores)[N / 2], const SeenColumns &seen, int column) {
    if (column >= seen.low_all && column + N - 1 <= seen.high_all) return;
    UNROLL for (int half = 0; half < 2; ++half) {
        int first = column + fragment_column();
        int low = seen.low[half] - first, high = seen.high[half] - first;
        UNROLL for (int j = 0; j < N / 4; ++j) {
            int place = j / 2 * 8 + j % 2;
            float &score = scores[j / 2 * 4 + half * 2 + j % 2];
            score = place >= low && place <= high ? score : -INFINITY;
        }
    }
}

// Among the four threads of a row: thread t gets the t-th values of all four.
INLINE void transpose_quad(u32 (&x)[4]) {
    UNROLL for (int bit = 1; bit <= 2; bit *= 2) {
        bool upper = threadIdx.x & bit;
        UNROLL for (int i = 0; i < 4; ++i) {
            if (i & bit) continue;
            u32 received = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + bit], bit);
            if (upper) x[i] = received;
            else x[i + bit] = received;
        }
    }
}

// Writes accumulators [64, D] times `factors` (one for each of the thread's rows) to rows of
// HEAD_DIM elements, `stride` apart; `to` is the row of the warpgroup's first, of `rows_left` to write.
INLINE void store_rows(bf16 *to, i64 stride, int rows_left, const float (&sums)[D / 2], const float (&factors)[2]) {
    UNROLL for (int half = 0; half < 2; ++half) {
        int row = fragment_row() + 8 * half;
        UNROLL for (int j = 0; j < D / 8; j += 4) {
            u32 packed[4];
            UNROLL for (int i = 0; i < 4; ++i) {
                int at = (j + i) * 4 + half * 2;
                packed[i] = pack_bf16(sums[at] * factors[half], sums[at + 1] * factors[half]);
            }
            transpose_quad(packed);
            int column = (j + int(threadIdx.x) % 4) * 8;
            if (row < rows_left && column < HEAD_DIM) store_global(to + row * stride + column, packed);
        }
    }
}
