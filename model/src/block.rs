//! One decoder block, forward and backward: attention and feed-forward, each behind its norm.
//!
//! The forward keeps what the backward cannot cheaply rebuild; norm outputs and the gated
//! activation are made again. Tensors between operations are `[tokens, width]` with
//! `tokens = batch * seq`; only attention sees `[batch, seq, heads, head_dim]`.

use burn::tensor::{DType, Tensor};
use neo_backends::kernels::{
    attention::{self, Span},
    linear, rms_norm,
    rope::{self, RopeTable},
    swiglu,
};

use crate::{ModelConfig, kv_cache::LayerCache, parameters::BlockParameters};

/// What all blocks share in one pass.
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) rope: &'a RopeTable,
    pub(crate) span: &'a Span,
    pub(crate) batch: usize,
    pub(crate) seq: usize,
}

/// Activations kept from the forward for the backward, all with `tokens` rows.
pub(crate) struct Saved {
    x: Tensor<2>,
    x_rstd: Tensor<2>,
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    attended: Tensor<4>,
    attention: attention::Saved,
    middle: Tensor<2>,
    middle_rstd: Tensor<2>,
    gate: Tensor<2>,
    up: Tensor<2>,
}

/// `x + attention(norm(x))`, then `+ feed_forward(norm(..))`.
///
/// With a cache, keys and values of earlier positions come from it and new ones are added.
///
/// # Shapes
/// - `x`: `[tokens, d_model]`; returns the same
pub(crate) fn forward(
    w: &BlockParameters,
    x: Tensor<2>,
    pass: &Pass<'_>,
    cache: Option<&mut LayerCache>,
) -> (Tensor<2>, Saved) {
    let &Pass { config, rope, span, .. } = pass;
    let (normed, x_rstd) = rms_norm::forward(x.clone(), &w.attention_norm, config.norm_eps);
    let query = pass.heads(linear::forward(normed.clone(), &w.query), config.n_heads);
    let key = pass.heads(linear::forward(normed.clone(), &w.key), config.n_kv_heads);
    let value = pass.heads(linear::forward(normed, &w.value), config.n_kv_heads);
    let (query, key) = (rope::forward(query, rope), rope::forward(key, rope));
    let (key, value) = match cache {
        Some(cache) => cache.extend(key, value),
        None => (key, value),
    };
    let (attended, attention) = attention::forward(&query, &key, &value, span);
    let middle = x.clone() + linear::forward(pass.rows(attended.clone()), &w.output);

    let (normed, middle_rstd) =
        rms_norm::forward(middle.clone(), &w.feed_forward_norm, config.norm_eps);
    let gate = linear::forward(normed.clone(), &w.gate);
    let up = linear::forward(normed, &w.up);
    let gated = swiglu::forward(gate.clone(), up.clone());
    let y = middle.clone() + linear::forward(gated, &w.down);
    let saved =
        Saved { x, x_rstd, query, key, value, attended, attention, middle, middle_rstd, gate, up };
    (y, saved)
}

/// Adds the parameters' gradients into `sums` and returns the input's gradient.
///
/// # Shapes
/// - `dy`: `[tokens, d_model]`; returns the same
pub(crate) fn backward(
    w: &BlockParameters,
    saved: Saved,
    dy: Tensor<2>,
    pass: &Pass<'_>,
    sums: &mut BlockParameters,
) -> Tensor<2> {
    let Saved { x, x_rstd, query, key, value, attended, attention, middle, middle_rstd, gate, up } =
        saved;

    let gated = swiglu::forward(gate.clone(), up.clone());
    add(&mut sums.down, linear::backward_weight(gated, dy.clone()));
    let d_gated = linear::backward_input(&w.down, dy.clone());
    let (d_gate, d_up) = swiglu::backward(gate, up, d_gated);
    let normed = rms_norm::replay(middle.clone(), &w.feed_forward_norm, &middle_rstd);
    add(&mut sums.gate, linear::backward_weight(normed.clone(), d_gate.clone()));
    add(&mut sums.up, linear::backward_weight(normed, d_up.clone()));
    let d_normed = linear::backward_input(&w.gate, d_gate) + linear::backward_input(&w.up, d_up);
    let (d_middle, d_norm) =
        rms_norm::backward(middle, &w.feed_forward_norm, &middle_rstd, d_normed);
    add(&mut sums.feed_forward_norm, d_norm);
    let d_middle = d_middle + dy;

    add(&mut sums.output, linear::backward_weight(pass.rows(attended.clone()), d_middle.clone()));
    let d_attended =
        pass.heads(linear::backward_input(&w.output, d_middle.clone()), pass.config.n_heads);
    let (d_query, d_key, d_value) =
        attention::backward([&query, &key, &value], pass.span, &attention, &attended, &d_attended);
    let d_query = pass.rows(rope::backward(d_query, pass.rope));
    let d_key = pass.rows(rope::backward(d_key, pass.rope));
    let d_value = pass.rows(d_value);
    let normed = rms_norm::replay(x.clone(), &w.attention_norm, &x_rstd);
    add(&mut sums.query, linear::backward_weight(normed.clone(), d_query.clone()));
    add(&mut sums.key, linear::backward_weight(normed.clone(), d_key.clone()));
    add(&mut sums.value, linear::backward_weight(normed, d_value.clone()));
    let d_normed = linear::backward_input(&w.query, d_query)
        + linear::backward_input(&w.key, d_key)
        + linear::backward_input(&w.value, d_value);
    let (dx, d_norm) = rms_norm::backward(x, &w.attention_norm, &x_rstd, d_normed);
    add(&mut sums.attention_norm, d_norm);
    dx + d_middle
}

/// Adds a gradient into its f32 sum, in place where the backend allows.
pub(crate) fn add(sum: &mut Tensor<2>, gradient: Tensor<2>) {
    sum.inplace(|sum| sum + gradient.cast(DType::F32));
}

impl Pass<'_> {
    /// `[tokens, n * head_dim]` -> `[batch, seq, n, head_dim]`.
    fn heads(&self, x: Tensor<2>, n: usize) -> Tensor<4> {
        x.reshape([self.batch, self.seq, n, self.config.head_dim])
    }

    /// `[batch, seq, n, head_dim]` -> `[tokens, n * head_dim]`.
    fn rows(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, seq, n, head_dim] = x.dims();
        x.reshape([batch * seq, n * head_dim])
    }
}
