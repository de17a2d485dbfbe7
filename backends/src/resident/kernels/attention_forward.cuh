// Flash attention, forward: a block takes 64 queries of one head for each consumer warpgroup and
// streams over the keys and values they see, from the last to the first, with an online softmax.
//
// The scores of a tile are issued before the softmax of the one before it has been multiplied with
// its values, and consumers take turns in issuing, so that the tensor cores multiply for one while
// the others take exponentials.
#pragma once

#include "attention_rows.cuh"

constexpr int FORWARD_QUERIES = 64 * FORWARD.consumers;
// Wider heads leave no registers to hold back a consumer that is ready.
constexpr bool FORWARD_TAKES_TURNS = D <= 128;

struct ForwardShared {
    u8 q[tile_bytes(FORWARD_QUERIES)];
    u8 k[FORWARD.stages][tile_bytes(FORWARD.rows)], v[FORWARD.stages][tile_bytes(FORWARD.rows)];
    Barrier q_full;
    RingBarriers<FORWARD.stages> k_ring, v_ring;

    INLINE void init() {
        barrier_init(q_full, 1);
        k_ring.init(1, FORWARD.consumers * 4);
        v_ring.init(1, FORWARD.consumers * 4);
        barrier_init_fence();
    }
};

static_assert(sizeof(ForwardShared) <= SHARED_LIMIT, "forward tiles are too large");

typedef Ring<FORWARD.stages> ForwardRing;

// One thread issues all copies; the keys of a tile come before the values of the tile before it.
INLINE void forward_produce(ForwardShared &shared, const TensorMap &q, const TensorMap &k, const TensorMap &v,
                            Work work, Head from, Span<FORWARD.rows> span) {
    if (warp_index() != 0 || !elect_one()) return;
    ForwardRing k_ring, v_ring;
    barrier_arrive_expect(shared.q_full, tile_bytes(FORWARD_QUERIES));
    copy_tile<FORWARD_QUERIES>(shared.q, q, shared.q_full, work.at, work.row);
    stream_tile<FORWARD.rows>(shared.k, shared.k_ring, k_ring, k, from, span.row(span.tiles - 1));
    for (int i = span.tiles - 1; i >= 0; --i) {
        if (i > 0) stream_tile<FORWARD.rows>(shared.k, shared.k_ring, k_ring, k, from, span.row(i - 1));
        stream_tile<FORWARD.rows>(shared.v, shared.v_ring, v_ring, v, from, span.row(i));
    }
}

// Turns of the consumers in issuing products: each waits for the one before it.
INLINE void first_turn(int consumer) {
    if (FORWARD_TAKES_TURNS && consumer == 0) named_barrier_arrive(1, 256);
}
INLINE void wait_for_turn(int consumer) {
    if (FORWARD_TAKES_TURNS) named_barrier_wait(1 + consumer, 256);
}
INLINE void pass_turn(int consumer) {
    if (FORWARD_TAKES_TURNS) named_barrier_arrive(consumer + 1 < FORWARD.consumers ? 2 + consumer : 1, 256);
}

// The online softmax of a thread's two rows. `sum` is of this thread's columns only. `max` follows the
// maximum in steps: as long as exponentials stay below 2^8, sums and outputs need no new scale.
struct Softmax {
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    float scale;  // of scores, for powers of two

    // Scores to exponentials relative to `max`; what was summed before is to be multiplied by `factors`.
    INLINE void step(float (&scores)[FORWARD.rows / 2], float (&factors)[2]) {
        UNROLL for (int half = 0; half < 2; ++half) {
            float highest = row_max(scores, half);
            if ((highest - max[half]) * scale <= 8) highest = max[half];
            float base = highest == -INFINITY ? 0 : highest * scale;
            factors[half] = exp2_fast(max[half] * scale - base);
            max[half] = highest;
            sum[half] = sum[half] * factors[half] + exponentials(scores, half, base);
        }
    }
    INLINE float row_max(const float (&scores)[FORWARD.rows / 2], int half) const {
        float highest = max[half];
        UNROLL for (int j = 0; j < FORWARD.rows / 8; ++j) {
            highest = fmaxf(highest, scores[4 * j + 2 * half]);
            highest = fmaxf(highest, scores[4 * j + 2 * half + 1]);
        }
        highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 1));
        return fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, 2));
    }
    INLINE float exponentials(float (&scores)[FORWARD.rows / 2], int half, float base) const {
        float sum = 0;
        UNROLL for (int j = 0; j < FORWARD.rows / 4; ++j) {
            float &score = scores[j / 2 * 4 + half * 2 + j % 2];
            score = exp2_fast(score * scale - base);
            sum += score;
        }
        return sum;
    }
    // Zero, which the compiler does not know before all exponentials are there.
    INLINE int never() const { return sum[0] + sum[1] < 0; }
    INLINE float row_sum(int half) const {
        float all = sum[half] + __shfl_xor_sync(0xffffffffu, sum[half], 1);
        return all + __shfl_xor_sync(0xffffffffu, all, 2);
    }
};

// What a consumer works on.
struct ForwardTile {
    ForwardShared &shared;
    int consumer;
    Span<FORWARD.rows> span;
    SeenColumns seen;
    ForwardRing k_ring, v_ring;
    float output[D / 2] = {}, scores[FORWARD.rows / 2];
    u32 weights[FORWARD.rows / 4];  // the exponentials, as an operand
    Softmax softmax;

    INLINE void issue_scores() {
        shared.k_ring.wait_full(k_ring);
        wait_for_turn(consumer);
        wgmma_fence();
        multiply_transposed<FORWARD.rows, D, FORWARD_QUERIES>(scores, shared_address(shared.q) + consumer * 64 * 128,
                                                              shared_address(shared.k[k_ring.stage]));
        wgmma_commit();
    }
    INLINE void issue_output() {
        wgmma_fence();
        multiply_add<D, FORWARD.rows>(output, weights, shared_address(shared.v[v_ring.stage]));
        wgmma_commit();
    }
    // With PENDING younger groups under way.
    template <int PENDING> INLINE void wait_scores() {
        wgmma_wait<PENDING>();
        pin(scores);
        shared.k_ring.release(k_ring);
        k_ring.advance();
    }
    // Stands between the softmax and the wait for the output, which the assembler would otherwise move
    // up to where the scores are there: what is waited for seems to depend on the softmax.
    INLINE void wait_next_values() {
        ForwardRing next = v_ring.next();
        next.parity ^= softmax.never();
        shared.v_ring.wait_full(next);
    }
    INLINE void wait_output() {
        wgmma_wait<0>();
        pin(output);
        shared.v_ring.release(v_ring);
        v_ring.advance();
    }
    INLINE void rescale(const float (&factors)[2]) {
        if (factors[0] == 1 && factors[1] == 1) return;
        UNROLL for (int i = 0; i < D / 2; ++i) output[i] *= factors[i / 2 % 2];
    }

    INLINE void run() {
        float factors[2];
        barrier_wait(shared.q_full, 0);
        first_turn(consumer);
        issue_scores();
        pass_turn(consumer);
        wait_scores<0>();
        mask<FORWARD.rows>(scores, seen, span.row(span.tiles - 1));
        softmax.step(scores, factors);
        pack_operand<FORWARD.rows>(weights, scores);
        shared.v_ring.wait_full(v_ring);
        for (int i = span.tiles - 2; i >= 0; --i) {
            issue_scores();
            issue_output();
            pass_turn(consumer);
            wait_scores<1>();
            mask<FORWARD.rows>(scores, seen, span.row(i));
            softmax.step(scores, factors);
            wait_next_values();
            wait_output();
            rescale(factors);
            pack_operand<FORWARD.rows>(weights, scores);
        }
        issue_output();
        wait_output();
    }

    // Writes the outputs of 64 queries from `row` and, for each, the logarithm of its sum.
    INLINE void store(bf16 *out, float *lse, Work work, int heads, int seq, float scale) {
        int row = work.row + 64 * consumer;
        i64 start = (i64(work.at.batch) * heads + work.at.head) * seq;
        float factors[2];
        UNROLL for (int half = 0; half < 2; ++half) {
            int query = row + fragment_row() + 8 * half;
            float sum = softmax.row_sum(half);
            factors[half] = __fdividef(1.0f, sum);
            if (fragment_column() == 0 && query < seq)
                lse[start + query] = softmax.max[half] * scale + __logf(sum);
        }
        i64 stride = i64(heads) * HEAD_DIM, token = i64(work.at.batch) * seq + row;
        store_rows(out + token * stride + work.at.head * HEAD_DIM, stride, seq - row, output, factors);
    }
};

KERNEL void __launch_bounds__(FORWARD.threads(), 1)
    attention_forward(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                      const __grid_constant__ TensorMap v, bf16 *out, float *lse, const int *starts, int batch, int seq,
                      int heads, int kv_heads, float scale) {
    ForwardShared &shared = *reinterpret_cast<ForwardShared *>(dynamic_shared());
    int group = heads / kv_heads, warpgroup = warp_index() / 4;
    Work work = order_work(seq, heads, batch, FORWARD_QUERIES, cached_heads(seq) * group, true);
    const int *row_starts = of_batch(starts, work.at.batch, seq);
    Span<FORWARD.rows> span = key_span<FORWARD_QUERIES, FORWARD.rows>(row_starts, work.row, seq);
    if (threadIdx.x == 0) {
        prefetch_maps(q, k, v);
        shared.init();
    }
    __syncthreads();
    if (warpgroup == 0) {
        shrink_registers<FORWARD.producer_registers>();
        forward_produce(shared, q, k, v, work, {work.at.head / group, work.at.batch}, span);
    } else {
        grow_registers<FORWARD.consumer_registers>();
        int consumer = warpgroup - 1;
        ForwardTile tile{shared, consumer, span, seen_keys(row_starts, work.row + 64 * consumer, seq)};
        tile.softmax.scale = scale * LOG2_E;
        tile.run();
        tile.store(out, lse, work, heads, seq, scale);
    }
}
EXPORT(attention_forward)
