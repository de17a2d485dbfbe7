// Flash attention: how the work is cut into tiles, and how tiles come into shared memory.
//
// In all three kernels a block keeps tiles of its own rows (queries, or keys and values) and streams
// over the rows they meet. One warpgroup, the producer, only issues copies; the others, the
// consumers, multiply. Tiles are D columns wide, HEAD_DIM rounded up to 64; the copies fill with zero.
#pragma once

#include "wgmma.cuh"

#if HEAD_DIM % 8 != 0 || HEAD_DIM > 256
#error "HEAD_DIM must be a multiple of 8 up to 256"
#endif

constexpr int D = (HEAD_DIM + 63) / 64 * 64;

// All that is tuned: consumer warpgroups, rows of a streamed tile, tiles of each stream in flight,
// registers of a consumer's and of the producer's threads (one thread of each warpgroup has 512 in all).
struct Tiles {
    int consumers, rows, stages, consumer_registers, producer_registers;
    INLINE constexpr int threads() const { return 128 * (consumers + 1); }
};

INLINE constexpr Tiles by_width(Tiles d64, Tiles d128, Tiles d192, Tiles d256) {
    return D == 64 ? d64 : D == 128 ? d128 : D == 192 ? d192 : d256;
}

// The choice for each width; one to be tried instead can be given on the compiler's command line.
#ifndef FORWARD_TILES
#define FORWARD_TILES \
    by_width({3, 128, 4, 160, 32}, {2, 128, 2, 240, 24}, {2, 112, 2, 240, 24}, {2, 80, 2, 240, 24})
#endif
#ifndef KEY_VALUE_TILES
#define KEY_VALUE_TILES \
    by_width({2, 96, 4, 240, 24}, {2, 64, 4, 240, 24}, {2, 96, 2, 240, 24}, {2, 64, 2, 240, 24})
#endif
#ifndef QUERY_TILES
#define QUERY_TILES \
    by_width({2, 128, 4, 240, 24}, {2, 96, 3, 240, 24}, {2, 80, 2, 240, 24}, {2, 64, 1, 240, 24})
#endif

// 64 queries a consumer; streams keys and values.
constexpr Tiles FORWARD = FORWARD_TILES;
// Streams queries and gradients of outputs. Up to D = 128, 64 keys a consumer; above, two consumers share 64.
constexpr Tiles KEY_VALUE = KEY_VALUE_TILES;
// 64 queries a consumer; streams keys and values. Keys, which are needed longer, have two stages at least.
constexpr Tiles QUERY = QUERY_TILES;

INLINE constexpr int tile_bytes(int rows) { return rows * D * 2; }

// Dynamic shared memory that a block can have.
constexpr int SHARED_LIMIT = 227 * 1024;

// Where a stream stands in its ring of stages.
template <int STAGES> struct Ring {
    int stage = 0, parity = 0;
    INLINE void advance() {
        if (++stage < STAGES) return;
        stage = 0;
        parity ^= 1;
    }
    INLINE Ring next() const {
        Ring ring = *this;
        ring.advance();
        return ring;
    }
};

// The barriers of a ring: tiles have come, tiles may be overwritten.
template <int STAGES> struct RingBarriers {
    Barrier full[STAGES], empty[STAGES];

    INLINE void init(int producers, int consumer_warps) {
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(full[i], producers);
            barrier_init(empty[i], consumer_warps);
        }
    }
    INLINE void wait_full(Ring<STAGES> at) { barrier_wait(full[at.stage], at.parity); }
    INLINE void wait_empty(Ring<STAGES> at) { barrier_wait(empty[at.stage], at.parity ^ 1); }
    // The warp is done with the stage.
    INLINE void release(Ring<STAGES> at) {
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(empty[at.stage]);
    }
};

// One head of one row of the batch.
struct Head {
    int head, batch;
};

// Copies rows of one head, chunk after chunk of 64 columns.
template <int ROWS> INLINE void copy_tile(u8 *to, const TensorMap &map, Barrier &barrier, Head from, int row) {
    UNROLL for (int chunk = 0; chunk < D / 64; ++chunk)
        copy_box(to + chunk * ROWS * 128, map, barrier, chunk * 64, from.head, row, from.batch);
}

// Copies the tile from `row` into the next stage of its ring.
template <int ROWS, int STAGES>
INLINE void stream_tile(u8 (&stages)[STAGES][tile_bytes(ROWS)], RingBarriers<STAGES> &barriers, Ring<STAGES> &ring,
                        const TensorMap &map, Head from, int row) {
    barriers.wait_empty(ring);
    Barrier &full = barriers.full[ring.stage];
    barrier_arrive_expect(full, tile_bytes(ROWS));
    copy_tile<ROWS>(stages[ring.stage], map, full, from, row);
    ring.advance();
}

// What a block does: its rows begin at `row` of one head.
struct Work {
    Head at;
    int row;
};

// The work of this block, where a block has `rows` rows. Blocks start in the order of their number,
// so that comes first what takes longest: with causal masks, late queries and early keys. Heads
// follow one another in sections of `section`, what they stream being together in the L2 cache.
INLINE Work order_work(int seq, int heads, int batch, int rows, int section, bool last_first) {
    int tiles = (seq + rows - 1) / rows, index = int(blockIdx.x);
    section = min(max(section, 1), heads * batch);
    int start = index / (section * tiles) * section, rest = index % (section * tiles);
    int width = min(section, heads * batch - start);
    int tile = rest / width, head = start + rest % width;
    return {{head % heads, head / heads}, (last_first ? tiles - 1 - tile : tile) * rows};
}

// Heads of `seq` rows of which two streams are in the L2 cache together.
INLINE int cached_heads(int seq) { return max((32 << 20) / (HEAD_DIM * 4) / seq, 1); }
