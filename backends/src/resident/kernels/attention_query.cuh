// Flash attention, backward, gradients of the queries: a block takes 64 queries of one head for each
// consumer warpgroup and streams over the keys and values they see.
//
// With P the softmax, recomputed from the forward's logarithms, dP = dO V^T, and delta the row sums of
// P dP (`attention_delta`): dQ = scale P (dP - delta) K.
#pragma once

#include "attention_rows.cuh"

constexpr int QUERY_QUERIES = 64 * QUERY.consumers, QUERY_KEY_STAGES = QUERY.stages > 1 ? QUERY.stages : 2;

struct QueryShared {
    u8 q[tile_bytes(QUERY_QUERIES)], d_out[tile_bytes(QUERY_QUERIES)];
    u8 k[QUERY_KEY_STAGES][tile_bytes(QUERY.rows)], v[QUERY.stages][tile_bytes(QUERY.rows)];
    Barrier queries_full;
    RingBarriers<QUERY_KEY_STAGES> k_ring;
    RingBarriers<QUERY.stages> v_ring;

    INLINE void init() {
        barrier_init(queries_full, 1);
        k_ring.init(1, QUERY.consumers * 4);
        v_ring.init(1, QUERY.consumers * 4);
        barrier_init_fence();
    }
};

static_assert(sizeof(QueryShared) <= SHARED_LIMIT, "tiles of the queries' gradients are too large");

struct QueryMaps {
    const TensorMap &q, &k, &v, &d_out;
};

// One thread issues all copies.
INLINE void query_produce(QueryShared &shared, const QueryMaps &maps, Work work, Head from, Span<QUERY.rows> span) {
    if (warp_index() != 0 || !elect_one()) return;
    Ring<QUERY_KEY_STAGES> k_ring;
    Ring<QUERY.stages> v_ring;
    barrier_arrive_expect(shared.queries_full, 2 * tile_bytes(QUERY_QUERIES));
    copy_tile<QUERY_QUERIES>(shared.q, maps.q, shared.queries_full, work.at, work.row);
    copy_tile<QUERY_QUERIES>(shared.d_out, maps.d_out, shared.queries_full, work.at, work.row);
    for (int i = 0; i < span.tiles; ++i) {
        stream_tile<QUERY.rows>(shared.k, shared.k_ring, k_ring, maps.k, from, span.row(i));
        stream_tile<QUERY.rows>(shared.v, shared.v_ring, v_ring, maps.v, from, span.row(i));
    }
}

// What a consumer works on.
struct QueryTile {
    QueryShared &shared;
    int consumer;
    Span<QUERY.rows> span;
    SeenColumns seen;
    float scale;             // of scores, for powers of two
    float lse[2], delta[2];  // of the thread's rows, lse for powers of two
    Ring<QUERY_KEY_STAGES> k_ring;
    Ring<QUERY.stages> v_ring;
    float d_query[D / 2] = {}, weights[QUERY.rows / 2], d_weights[QUERY.rows / 2];
    u32 d_scores[QUERY.rows / 4];  // as an operand

    INLINE void load_statistics(const float *all_lse, const float *all_delta, Work work, int heads, int seq) {
        i64 start = (i64(work.at.batch) * heads + work.at.head) * seq;
        UNROLL for (int half = 0; half < 2; ++half) {
            int query = work.row + 64 * consumer + fragment_row() + 8 * half;
            lse[half] = query < seq ? all_lse[start + query] * LOG2_E : INFINITY;
            delta[half] = query < seq ? all_delta[start + query] : 0;
        }
    }
    INLINE void issue_scores() {
        wgmma_fence();
        multiply_transposed<QUERY.rows, D, QUERY_QUERIES>(weights, shared_address(shared.q) + consumer * 64 * 128,
                                                          shared_address(shared.k[k_ring.stage]));
        wgmma_commit();
    }
    INLINE void wait_scores() {
        wgmma_wait<0>();
        pin(weights);
    }
    INLINE void issue_d_weights() {
        shared.v_ring.wait_full(v_ring);
        wgmma_fence();
        multiply_transposed<QUERY.rows, D, QUERY_QUERIES>(d_weights, shared_address(shared.d_out) + consumer * 64 * 128,
                                                          shared_address(shared.v[v_ring.stage]));
        wgmma_commit();
    }
    INLINE void issue_d_query() {
        wgmma_fence();
        multiply_add<D, QUERY.rows>(d_query, d_scores, shared_address(shared.k[k_ring.stage]));
        wgmma_commit();
    }
    // Scores to weights.
    INLINE void weigh() {
        UNROLL for (int i = 0; i < QUERY.rows / 2; ++i) weights[i] = exp2_fast(weights[i] * scale - lse[i / 2 % 2]);
    }
    INLINE void differentiate() {
        UNROLL for (int i = 0; i < QUERY.rows / 2; ++i) d_weights[i] = weights[i] * (d_weights[i] - delta[i / 2 % 2]);
        pack_operand<QUERY.rows>(d_scores, d_weights);
    }

    // The scores of tile i are there; those of the next one are issued behind this one's products.
    // The wait for the next keys stands between the exponentials and the wait for their gradients,
    // which the assembler would otherwise move up.
    template <bool LAST> INLINE void step(int i) {
        issue_d_weights();
        mask<QUERY.rows>(weights, seen, span.row(i));
        weigh();
        pin(weights);
        if (!LAST) shared.k_ring.wait_full(k_ring.next());
        wgmma_wait<0>();
        pin(d_weights);
        shared.v_ring.release(v_ring);
        v_ring.advance();
        differentiate();
        issue_d_query();
        Ring<QUERY_KEY_STAGES> used = k_ring;
        k_ring.advance();
        if (!LAST) issue_scores();
        wgmma_wait<LAST ? 0 : 1>();
        pin(d_query);
        shared.k_ring.release(used);
        if (!LAST) wait_scores();
    }
    INLINE void run() {
        barrier_wait(shared.queries_full, 0);
        shared.k_ring.wait_full(k_ring);
        issue_scores();
        wait_scores();
        for (int i = 0; i < span.tiles - 1; ++i) step<false>(i);
        step<true>(span.tiles - 1);
    }
};

KERNEL void __launch_bounds__(QUERY.threads(), 1)
    attention_backward_query(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                             const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap d_out,
                             const float *lse, const float *delta, const int *starts, bf16 *d_query, int row, int batch,
                             int seq, int heads, int kv_heads, float scale) {
    QueryShared &shared = *reinterpret_cast<QueryShared *>(dynamic_shared());
    int group = heads / kv_heads, warpgroup = warp_index() / 4;
    Work work = order_work(seq, heads, batch, QUERY_QUERIES, cached_heads(seq) * group, true);
    const int *row_starts = of_batch(starts, work.at.batch, seq);
    Span<QUERY.rows> span = key_span<QUERY_QUERIES, QUERY.rows>(row_starts, work.row, seq);
    if (threadIdx.x == 0) {
        prefetch_maps(q, k, v, d_out);
        shared.init();
    }
    __syncthreads();
    if (warpgroup == 0) {
        shrink_registers<QUERY.producer_registers>();
        query_produce(shared, {q, k, v, d_out}, work, {work.at.head / group, work.at.batch}, span);
    } else {
        grow_registers<QUERY.consumer_registers>();
        int consumer = warpgroup - 1, first = work.row + 64 * consumer;
        QueryTile tile{shared, consumer, span, seen_keys(row_starts, first, seq), scale * LOG2_E};
        tile.load_statistics(lse, delta, work, heads, seq);
        tile.run();
        bf16 *to = d_query + (i64(work.at.batch) * seq + first) * row + work.at.head * HEAD_DIM;
        float factors[2] = {scale, scale};
        store_rows(to, row, seq - first, tile.d_query, factors);
    }
}
EXPORT(attention_backward_query)
