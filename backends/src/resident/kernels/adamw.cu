// AdamW with decoupled weight decay (arXiv 1711.05101), one pass over the parameters of the whole
// model, which lie one after another. Computed in f32; moments are used before they are rounded.
#include "vector.cuh"

// As the host leaves them on the card, so that a step can be launched before they are known.
struct Settings {
    float keep;  // 1 - learning rate * decay
    float rate;  // learning rate / correction of the first moment
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float root_correction2;  // 1 / sqrt(correction of the second moment)
    float eps;
};

struct Arena {
    float *weight;
    MOMENT *exp_avg, *exp_avg_sq;
    const float *gradient;
    ELEMENT *copy;
};

INLINE void update(float &weight, float &exp_avg, float &exp_avg_sq, float gradient, float keep, const Settings &s) {
    exp_avg = s.beta1 * exp_avg + s.one_minus_beta1 * gradient;
    exp_avg_sq = s.beta2 * exp_avg_sq + s.one_minus_beta2 * (gradient * gradient);
    weight = weight * keep - s.rate * exp_avg / (sqrtf(exp_avg_sq) * s.root_correction2 + s.eps);
}

// RUNS times N elements, `apart` from each other; all of them are asked for before any is used.
template <int N, int RUNS>
INLINE void update_at(const Arena &p, u64 at, u64 apart, u64 decayed, float scale, const Settings &s) {
    Vec<N> w[RUNS], m[RUNS], v[RUNS], g[RUNS];
    UNROLL for (int r = 0; r < RUNS; ++r) {
        u64 i = at + r * apart;
        w[r] = load<N>(p.weight + i), m[r] = load<N>(p.exp_avg + i);
        v[r] = load<N>(p.exp_avg_sq + i), g[r] = load<N>(p.gradient + i);
    }
    UNROLL for (int r = 0; r < RUNS; ++r) {
        u64 i = at + r * apart;
        UNROLL for (int j = 0; j < N; ++j) {
            float keep = i + j < decayed ? s.keep : 1.0f;
            update(w[r].at[j], m[r].at[j], v[r].at[j], g[r].at[j] * scale, keep, s);
        }
        store(p.weight + i, w[r]);
        store(p.exp_avg + i, m[r]);
        store(p.exp_avg_sq + i, v[r]);
        if (p.copy) store(p.copy + i, w[r]);
    }
}

// Nothing changes if the norm is not finite.
// - weight, exp_avg, exp_avg_sq, gradient, copy: [n]; copy is what the products read, or null
// - decayed: elements from here on are not decayed
// - norm_and_scale: as `grad_norm` leaves it
// - grid: any
KERNEL void adamw(float *weight, MOMENT *exp_avg, MOMENT *exp_avg_sq, const float *gradient, ELEMENT *copy, u64 n,
                  u64 decayed, const float *settings, const float *norm_and_scale) {
    if (!(norm_and_scale[0] < INFINITY)) return;
    Arena p{weight, exp_avg, exp_avg_sq, gradient, copy};
    float scale = norm_and_scale[1];
    Settings s{settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    u64 thread = u64(blockIdx.x) * blockDim.x + threadIdx.x, threads = u64(gridDim.x) * blockDim.x;
    u64 vectors = n / 4, i = thread;
    for (; i + threads < vectors; i += 2 * threads) update_at<4, 2>(p, i * 4, threads * 4, decayed, scale, s);
    if (i < vectors) update_at<4, 1>(p, i * 4, 0, decayed, scale, s);
    if (vectors * 4 + thread < n) update_at<1, 1>(p, vectors * 4 + thread, 0, decayed, scale, s);
}
EXPORT(adamw)
