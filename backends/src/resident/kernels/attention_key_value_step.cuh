// Flash attention, backward, gradients of keys and values: what the consumers have in common. All is
// transposed: rows of products are keys, columns are queries of the stream.
#pragma once

#include "attention_query_stream.cuh"

// Scores [64 keys, rows] to weights, with the statistics of the columns.
INLINE void weigh_columns(float (&weights)[KEY_VALUE.rows / 2], const float *lse, float scale) {
    UNROLL for (int j = 0; j < KEY_VALUE.rows / 8; ++j) {
        float2 column = *reinterpret_cast<const float2 *>(lse + 8 * j + fragment_column());
        UNROLL for (int i = 0; i < 4; ++i)
            weights[4 * j + i] = exp2_fast(weights[4 * j + i] * scale - (i % 2 ? column.y : column.x));
    }
}

// Gradients of weights to gradients of scores, without the scale.
INLINE void differentiate_columns(float (&d_weights)[KEY_VALUE.rows / 2], const float (&weights)[KEY_VALUE.rows / 2],
                                  const float *delta) {
    UNROLL for (int j = 0; j < KEY_VALUE.rows / 8; ++j) {
        float2 column = *reinterpret_cast<const float2 *>(delta + 8 * j + fragment_column());
        UNROLL for (int i = 0; i < 4; ++i)
            d_weights[4 * j + i] = weights[4 * j + i] * (d_weights[4 * j + i] - (i % 2 ? column.y : column.x));
    }
}

// What the consumers have in common: the queries' stream, with their own keys or values against it.
struct KeyValueConsumer {
    QueryStream &shared;
    int consumer;  // the number of its 64 keys
    Span<KEY_VALUE.rows> span;
    SeenColumns seen;
    float scale;  // of scores, for powers of two
    QueryRing ring;
    Place place;

    // Starts scores, or gradients of weights, of the ring's stage.
    INLINE void issue(float (&product)[KEY_VALUE.rows / 2], const u8 *rows, const u8 *columns) {
        wgmma_fence();
        multiply_transposed<KEY_VALUE.rows, D, KEY_VALUE_KEYS>(product, shared_address(rows) + consumer * 64 * 128,
                                                               shared_address(columns));
        wgmma_commit();
    }
    INLINE void issue_scores(float (&scores)[KEY_VALUE.rows / 2]) { issue(scores, shared.k, shared.q[ring.stage]); }
    INLINE void issue_d_weights(float (&d_weights)[KEY_VALUE.rows / 2]) {
        issue(d_weights, shared.v, shared.d_out[ring.stage]);
    }
    // Adds to a gradient.
    INLINE void issue_gradient(float (&gradient)[D / 2], const u32 (&weights)[KEY_VALUE.rows / 4], const u8 *rows) {
        wgmma_fence();
        multiply_add<D, KEY_VALUE.rows>(gradient, weights, shared_address(rows));
        wgmma_commit();
    }
    INLINE void weigh(float (&scores)[KEY_VALUE.rows / 2]) {
        mask<KEY_VALUE.rows>(scores, seen, span.row(place.tile));
        weigh_columns(scores, shared.lse[ring.stage], scale);
    }
    // To the next stage; returns the one that is left.
    INLINE QueryRing advance() {
        QueryRing used = ring;
        ring.advance();
        place.advance(span.tiles);
        return used;
    }
};

// Where the gradients of a block's keys go: to rows `stride` apart, `rows_left` to the end.
struct GradientRows {
    bf16 *d_key, *d_value;
    i64 stride;
    int rows_left;
    float scale;  // of scores

    // Of the 64 keys of a consumer.
    INLINE void store_key(const float (&sums)[D / 2], int consumer) const { store(d_key, sums, consumer, scale); }
    INLINE void store_value(const float (&sums)[D / 2], int consumer) const { store(d_value, sums, consumer, 1); }

  private:
    INLINE void store(bf16 *to, const float (&sums)[D / 2], int consumer, float factor) const {
        float factors[2] = {factor, factor};
        store_rows(to + 64 * consumer * stride, stride, rows_left - 64 * consumer, sums, factors);
    }
};
