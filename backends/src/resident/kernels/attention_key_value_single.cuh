// Flash attention, backward, gradients of keys and values: a consumer for both gradients of 64 keys.
#pragma once

#include "attention_key_value_step.cuh"

typedef QueryStream KeyValueShared;

INLINE QueryStream &stream_of(KeyValueShared &shared) { return shared; }

struct KeyValueTile {
    KeyValueConsumer common;
    float d_key[D / 2] = {}, d_value[D / 2] = {}, weights[KEY_VALUE.rows / 2], d_weights[KEY_VALUE.rows / 2];
    u32 weights_operand[KEY_VALUE.rows / 4], d_scores[KEY_VALUE.rows / 4];

    // The scores of the stage are there; those of the next one are issued behind this one's products.
    template <bool LAST> INLINE void step() {
        QueryStream &shared = common.shared;
        int stage = common.ring.stage;
        common.issue_d_weights(d_weights);
        common.weigh(weights);
        pack_operand<KEY_VALUE.rows>(weights_operand, weights);
        common.issue_gradient(d_value, weights_operand, shared.d_out[stage]);
        wgmma_wait<1>();
        pin(d_weights);
        differentiate_columns(d_weights, weights, shared.delta[stage]);
        pack_operand<KEY_VALUE.rows>(d_scores, d_weights);
        common.issue_gradient(d_key, d_scores, shared.q[stage]);
        QueryRing used = common.advance();
        if (!LAST) issue_scores();
        wgmma_wait<LAST ? 0 : 1>();
        pin(d_value);
        pin(d_key);
        shared.ring.release(used);
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

INLINE void consume(KeyValueShared &shared, int consumer, const GroupSpan &all, const int *ends, int row, int seq,
                    const GradientRows &to) {
    SeenColumns seen = seeing_queries(ends, row + 64 * consumer, seq);
    KeyValueTile tile{{shared, consumer, all.span, seen, to.scale * LOG2_E}};
    tile.run(all.steps());
    to.store_key(tile.d_key, consumer);
    to.store_value(tile.d_value, consumer);
}
