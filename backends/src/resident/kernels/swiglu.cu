// SwiGLU gate, `silu(gate) * up` (arXiv 2002.05202), computed in f32. Blocks along y share a row.
#include "vector.cuh"

INLINE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + exp_fast(-x)); }

INLINE int first_vector() { return blockIdx.y * blockDim.x + threadIdx.x; }
INLINE int vectors_at_once() { return gridDim.y * blockDim.x; }

template <int N>
INLINE void gate_row(const ELEMENT *__restrict__ gate, const ELEMENT *__restrict__ up,
                     ELEMENT *__restrict__ out, int d_ff) {
    int apart = vectors_at_once() * N;
    for (int i = first_vector() * N; i < d_ff; i += 2 * apart) {
        Runs<N, 2> g(gate, i, apart, d_ff), u(up, i, apart, d_ff);
        UNROLL for (int j = 0; j < 2 * N; ++j) g.at(j) = g.at(j) * sigmoid(g.at(j)) * u.at(j);
        g.put(out, i, apart, d_ff);
    }
}

// - gate_up: [tokens, 2 * d_ff], the gate first; out: [tokens, d_ff]
// - grid: (tokens, any)
KERNEL void swiglu_forward(const ELEMENT *gate_up, ELEMENT *out, int d_ff) {
    const ELEMENT *gate = gate_up + u64(blockIdx.x) * 2 * d_ff;
    out += u64(blockIdx.x) * d_ff;
    if (d_ff % WIDTH<ELEMENT> == 0)
        gate_row<WIDTH<ELEMENT>>(gate, gate + d_ff, out, d_ff);
    else
        gate_row<1>(gate, gate + d_ff, out, d_ff);
}
EXPORT(swiglu_forward)

template <int N>
INLINE void gradient_row(ELEMENT *__restrict__ gate, ELEMENT *__restrict__ up, ELEMENT *__restrict__ d_gated,
                         int d_ff) {
    for (int i = first_vector() * N; i < d_ff; i += vectors_at_once() * N) {
        Vec<N> g = load<N>(gate + i), u = load<N>(up + i), slope = load<N>(d_gated + i), gated;
        UNROLL for (int j = 0; j < N; ++j) {
            float s = sigmoid(g.at[j]), silu = g.at[j] * s;
            gated.at[j] = silu * u.at[j];
            g.at[j] = slope.at[j] * u.at[j] * (s + silu * (1.0f - s));
            u.at[j] = slope.at[j] * silu;
        }
        store(gate + i, g);
        store(up + i, u);
        store(d_gated + i, gated);
    }
}

// `gate_up` becomes its gradient, `d_gated` the gated activation again.
// - shapes and grid as in `swiglu_forward`
KERNEL void swiglu_backward(ELEMENT *gate_up, ELEMENT *d_gated, int d_ff) {
    ELEMENT *gate = gate_up + u64(blockIdx.x) * 2 * d_ff;
    d_gated += u64(blockIdx.x) * d_ff;
    if (d_ff % WIDTH<ELEMENT> == 0)
        gradient_row<WIDTH<ELEMENT>>(gate, gate + d_ff, d_gated, d_ff);
    else
        gradient_row<1>(gate, gate + d_ff, d_gated, d_ff);
}
EXPORT(swiglu_backward)
