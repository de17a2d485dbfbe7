// Flash attention, backward, gradients of keys and values: the stream of queries that see a block's
// keys, head after head of the group that shares the keys.
#pragma once

#include "attention_rows.cuh"

// Wider heads leave a consumer registers for one of the two gradients only.
constexpr bool KEY_VALUE_PAIRED = D > 128;
static_assert(!KEY_VALUE_PAIRED || KEY_VALUE.consumers == 2, "a pair are two");
constexpr int KEY_VALUE_KEYS = KEY_VALUE_PAIRED ? 64 : 64 * KEY_VALUE.consumers;

typedef Ring<KEY_VALUE.stages> QueryRing;

// Queries, gradients of their outputs, their logarithms of sums (for powers of two) and deltas.
struct QueryStream {
    u8 k[tile_bytes(KEY_VALUE_KEYS)], v[tile_bytes(KEY_VALUE_KEYS)];
    u8 q[KEY_VALUE.stages][tile_bytes(KEY_VALUE.rows)], d_out[KEY_VALUE.stages][tile_bytes(KEY_VALUE.rows)];
    alignas(16) float lse[KEY_VALUE.stages][KEY_VALUE.rows], delta[KEY_VALUE.stages][KEY_VALUE.rows];
    Barrier keys_full;
    RingBarriers<KEY_VALUE.stages> ring;

    INLINE void init() {
        barrier_init(keys_full, 1);
        ring.init(2, KEY_VALUE.consumers * 4);  // filled by copies and by the statistics' warp
        barrier_init_fence();
    }
};

// What a block streams: for each of the `group` heads from `first` the queries of `span`.
struct GroupSpan {
    Span<KEY_VALUE.rows> span;
    Head first;
    int group;
    INLINE int steps() const { return span.tiles * group; }
};

// A place in the stream.
struct Place {
    int head = 0, tile = 0;
    INLINE void advance(int tiles) {
        if (++tile < tiles) return;
        tile = 0;
        ++head;
    }
};

struct KeyValueMaps {
    const TensorMap &q, &k, &v, &d_out;
};

// One thread issues all copies.
INLINE void copy_queries(QueryStream &shared, const KeyValueMaps &maps, Work work, const GroupSpan &all) {
    constexpr int BYTES = tile_bytes(KEY_VALUE.rows);
    barrier_arrive_expect(shared.keys_full, 2 * tile_bytes(KEY_VALUE_KEYS));
    copy_tile<KEY_VALUE_KEYS>(shared.k, maps.k, shared.keys_full, work.at, work.row);
    copy_tile<KEY_VALUE_KEYS>(shared.v, maps.v, shared.keys_full, work.at, work.row);
    QueryRing ring;
    Place place;
    for (int step = all.steps(); step > 0; --step) {
        Head from = {all.first.head + place.head, all.first.batch};
        int row = all.span.row(place.tile);
        shared.ring.wait_empty(ring);
        Barrier &full = shared.ring.full[ring.stage];
        barrier_arrive_expect(full, 2 * BYTES);
        copy_tile<KEY_VALUE.rows>(shared.q[ring.stage], maps.q, full, from, row);
        copy_tile<KEY_VALUE.rows>(shared.d_out[ring.stage], maps.d_out, full, from, row);
        ring.advance();
        place.advance(all.span.tiles);
    }
}

// One warp brings the statistics. Queries past the end get what makes their weights zero.
INLINE void copy_statistics(QueryStream &shared, const float *lse, const float *delta, const GroupSpan &all, int heads,
                            int seq) {
    constexpr int EACH = (KEY_VALUE.rows + 31) / 32;
    QueryRing ring;
    Place place;
    int lane = int(threadIdx.x) % 32;
    for (int step = all.steps(); step > 0; --step) {
        i64 start = (i64(all.first.batch) * heads + all.first.head + place.head) * seq;
        float lse_values[EACH], delta_values[EACH];
        UNROLL for (int i = 0; i < EACH; ++i) {
            int query = all.span.row(place.tile) + 32 * i + lane;
            lse_values[i] = query < seq ? lse[start + query] * LOG2_E : INFINITY;
            delta_values[i] = query < seq ? delta[start + query] : 0;
        }
        shared.ring.wait_empty(ring);
        UNROLL for (int i = 0; i < EACH; ++i) {
            if (32 * i + lane >= KEY_VALUE.rows) break;
            shared.lse[ring.stage][32 * i + lane] = lse_values[i];
            shared.delta[ring.stage][32 * i + lane] = delta_values[i];
        }
        __syncwarp();
        if (lane == 0) barrier_arrive(shared.ring.full[ring.stage]);
        ring.advance();
        place.advance(all.span.tiles);
    }
}

// The first warp of the producer copies tiles, the second statistics.
INLINE void key_value_produce(QueryStream &shared, const KeyValueMaps &maps, const float *lse, const float *delta,
                              Work work, const GroupSpan &all, int heads, int seq) {
    if (warp_index() == 0 && elect_one()) copy_queries(shared, maps, work, all);
    if (warp_index() == 1) copy_statistics(shared, lse, delta, all, heads, seq);
}
