// Flash attention, backward, gradients of keys and values: two consumers for 64 keys. The first has
// the scores and multiplies weights for the values' gradient, the second has the gradients of the
// weights and multiplies for the keys'. A thread gives its weights to the thread of the same places.
#pragma once

#include "attention_key_value_step.cuh"

constexpr int EXCHANGES = 2;

// Weights on their way from one consumer to the other.
struct Exchange {
    uint4 weights[EXCHANGES][KEY_VALUE.rows / 16][128];
    RingBarriers<EXCHANGES> ring;

    INLINE void send(Ring<EXCHANGES> &at, const u32 (&operand)[KEY_VALUE.rows / 4]) {
        ring.wait_empty(at);
        UNROLL for (int i = 0; i < KEY_VALUE.rows / 16; ++i)
            weights[at.stage][i][threadIdx.x % 128] =
                uint4{operand[4 * i], operand[4 * i + 1], operand[4 * i + 2], operand[4 * i + 3]};
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(ring.full[at.stage]);
        at.advance();
    }
    INLINE void receive(Ring<EXCHANGES> &at, float (&received)[KEY_VALUE.rows / 2]) {
        ring.wait_full(at);
        UNROLL for (int i = 0; i < KEY_VALUE.rows / 16; ++i) {
            uint4 packed = weights[at.stage][i][threadIdx.x % 128];
            unpack(&received[8 * i], packed.x);
            unpack(&received[8 * i + 2], packed.y);
            unpack(&received[8 * i + 4], packed.z);
            unpack(&received[8 * i + 6], packed.w);
        }
        ring.release(at);
        at.advance();
    }

  private:
    static INLINE void unpack(float *to, u32 packed) {
        to[0] = __uint_as_float(packed << 16);
        to[1] = __uint_as_float(packed & 0xffff0000u);
    }
};

struct KeyValueShared {
    QueryStream stream;
    Exchange exchange;

    INLINE void init() {
        exchange.ring.init(4, 4);
        stream.init();
    }
};

INLINE QueryStream &stream_of(KeyValueShared &shared) { return shared.stream; }

// The consumer with the scores.
struct ValueTile {
    KeyValueConsumer common;
    Exchange &exchange;
    Ring<EXCHANGES> exchange_ring;
    float d_value[D / 2] = {}, weights[KEY_VALUE.rows / 2];
    u32 operand[KEY_VALUE.rows / 4];

    // The scores of the stage are there; those of the next one are issued behind this one's product.
    template <bool LAST> INLINE void step() {
        common.weigh(weights);
        pack_operand<KEY_VALUE.rows>(operand, weights);
        common.issue_gradient(d_value, operand, common.shared.d_out[common.ring.stage]);
        exchange.send(exchange_ring, operand);
        QueryRing used = common.advance();
        if (!LAST) issue_scores();
        wgmma_wait<LAST ? 0 : 1>();
        pin(d_value);
        common.shared.ring.release(used);
        if (!LAST) wait_scores();
    }
    INLINE void issue_scores() {
        common.shared.ring.wait_full(common.ring);
        common.issue_scores(weights);
    }
    INLINE void wait_scores() {
        wgmma_wait<0>();
        pin(weights);
    }
    INLINE void run(int steps) {
        barrier_wait(common.shared.keys_full, 0);
        issue_scores();
        wait_scores();
        for (int i = 0; i < steps - 1; ++i) step<false>();
        step<true>();
    }
};

// The consumer with the gradients of the weights.
struct KeyTile {
    KeyValueConsumer common;
    Exchange &exchange;
    Ring<EXCHANGES> exchange_ring;
    float d_key[D / 2] = {}, d_weights[KEY_VALUE.rows / 2];
    u32 d_scores[KEY_VALUE.rows / 4];

    // As `ValueTile::step`.
    template <bool LAST> INLINE void step() {
        float weights[KEY_VALUE.rows / 2];
        exchange.receive(exchange_ring, weights);
        differentiate_columns(d_weights, weights, common.shared.delta[common.ring.stage]);
        pack_operand<KEY_VALUE.rows>(d_scores, d_weights);
        common.issue_gradient(d_key, d_scores, common.shared.q[common.ring.stage]);
        QueryRing used = common.advance();
        if (!LAST) issue_d_weights();
        wgmma_wait<LAST ? 0 : 1>();
        pin(d_key);
        common.shared.ring.release(used);
        if (!LAST) wait_d_weights();
    }
    INLINE void issue_d_weights() {
        common.shared.ring.wait_full(common.ring);
        common.issue_d_weights(d_weights);
    }
    INLINE void wait_d_weights() {
        wgmma_wait<0>();
        pin(d_weights);
    }
    INLINE void run(int steps) {
        barrier_wait(common.shared.keys_full, 0);
        issue_d_weights();
        wait_d_weights();
        for (int i = 0; i < steps - 1; ++i) step<false>();
        step<true>();
    }
};

INLINE void consume(KeyValueShared &shared, int consumer, const GroupSpan &all, const int *ends, int row, int seq,
                    const GradientRows &to) {
    KeyValueConsumer common = {shared.stream, 0, all.span, seeing_queries(ends, row, seq), to.scale * LOG2_E};
    if (consumer == 0) {
        ValueTile tile{common, shared.exchange};
        tile.run(all.steps());
        to.store_value(tile.d_value, 0);
    } else {
        KeyTile tile{common, shared.exchange};
        tile.run(all.steps());
        to.store_key(tile.d_key, 0);
    }
}
