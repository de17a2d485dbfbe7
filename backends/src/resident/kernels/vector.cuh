// Several neighbouring elements at a time: 16 bytes in one access, floats in registers.
//
// A loop over a row takes WIDTH elements a step where every row starts at a multiple of 16 bytes,
// and one at a time otherwise, by the same code.
#pragma once

#include "common.cuh"

// Elements of 16 bytes.
template <class T> constexpr int WIDTH = 16 / sizeof(T);

// N consecutive elements as they are computed with.
template <int N> struct Vec {
    float at[N];
};

template <int WORDS> INLINE void load_words(u32 (&words)[WORDS], const void *from) {
    if constexpr (WORDS == 1) {
        words[0] = *static_cast<const u32 *>(from);
    } else if constexpr (WORDS == 2) {
        uint2 pair = *static_cast<const uint2 *>(from);
        words[0] = pair.x, words[1] = pair.y;
    } else {
        UNROLL for (int i = 0; i < WORDS; i += 4) {
            uint4 quad = static_cast<const uint4 *>(from)[i / 4];
            words[i] = quad.x, words[i + 1] = quad.y, words[i + 2] = quad.z, words[i + 3] = quad.w;
        }
    }
}

template <int WORDS> INLINE void store_words(void *to, const u32 (&words)[WORDS]) {
    if constexpr (WORDS == 1) {
        *static_cast<u32 *>(to) = words[0];
    } else if constexpr (WORDS == 2) {
        *static_cast<uint2 *>(to) = uint2{words[0], words[1]};
    } else {
        UNROLL for (int i = 0; i < WORDS; i += 4)
            static_cast<uint4 *>(to)[i / 4] = uint4{words[i], words[i + 1], words[i + 2], words[i + 3]};
    }
}

// `from` is a multiple of the bytes that are read, or of 16 if those are more.
template <int N> INLINE Vec<N> load(const float *from) {
    if constexpr (N == 1) return {{*from}};
    u32 words[N];
    load_words(words, from);
    Vec<N> x;
    UNROLL for (int i = 0; i < N; ++i) x.at[i] = __uint_as_float(words[i]);
    return x;
}

template <int N> INLINE Vec<N> load(const bf16 *from) {
    if constexpr (N == 1) {
        return {{to_float(*from)}};
    } else {
        u32 words[N / 2];
        load_words(words, from);
        Vec<N> x;
        UNROLL for (int i = 0; i < N; i += 2) {
            x.at[i] = __uint_as_float(words[i / 2] << 16);
            x.at[i + 1] = __uint_as_float(words[i / 2] & 0xffff0000u);
        }
        return x;
    }
}

template <int N> INLINE void store(float *to, const Vec<N> &x) {
    u32 words[N];
    UNROLL for (int i = 0; i < N; ++i) words[i] = __float_as_uint(x.at[i]);
    if constexpr (N == 1)
        *to = x.at[0];
    else
        store_words(to, words);
}

template <int N> INLINE void store(bf16 *to, const Vec<N> &x) {
    if constexpr (N == 1) {
        *to = to_bf16(x.at[0]);
    } else {
        u32 words[N / 2];
        UNROLL for (int i = 0; i < N; i += 2) words[i / 2] = pack_bf16(x.at[i], x.at[i + 1]);
        store_words(to, words);
    }
}

// Asks for a line of memory before it is needed, as far as the card's second cache.
INLINE void prefetch(const void *line) {
#ifdef __CUDACC_RTC__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
#endif
}

// RUNS vectors of a row, `apart` elements from each other: all are asked for before any is used.
// What would begin at `end` or later is `past` and is not stored.
template <int N, int RUNS> struct Runs {
    Vec<N> run[RUNS];

    template <class T> INLINE Runs(const T *row, int i, int apart, int end, float past = 0) {
        UNROLL for (int r = 0; r < RUNS; ++r) {
            UNROLL for (int j = 0; j < N; ++j) run[r].at[j] = past;
            if (i + r * apart < end) run[r] = load<N>(row + i + r * apart);
        }
    }

    template <class T> INLINE void put(T *row, int i, int apart, int end) const {
        UNROLL for (int r = 0; r < RUNS; ++r)
            if (i + r * apart < end) store(row + i + r * apart, run[r]);
    }

    INLINE float &at(int n) { return run[n / N].at[n % N]; }
};
