//! One decoder block, forward and backward: attention and feed-forward, each behind its norm.
//!
//! The forward keeps what the backward cannot cheaply rebuild, or less of it ([`Recompute`]); norm
//! outputs and the gated activation are made again. Tensors between operations are `[tokens, width]` with
//! `tokens = batch * seq`; only attention sees `[batch, seq, heads, head_dim]`.

use burn::tensor::Tensor;
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

/// What a block keeps from its forward for its backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Everything that the backward reads, save norm outputs and the gated activation.
    None,
    /// All but the feed-forward's gate and up, which are the largest: two of three products again.
    Mlp,
    /// The block's input alone; the block is run again.
    Block,
}

/// What was kept; the rest is made again.
pub(crate) struct Kept {
    x: Tensor<2>,
    attention: Option<Attention>,
    feed_forward: Option<FeedForward>,
}

/// Activations of the attention half, all with `tokens` rows.
struct Attention {
    x_rstd: Tensor<2>,
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    attended: Tensor<4>,
    attention: attention::Saved,
    middle: Tensor<2>,
}

/// Activations of the feed-forward half, all with `tokens` rows.
struct FeedForward {
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
    recompute: Recompute,
) -> (Tensor<2>, Kept) {
    let attention = attend(w, &x, pass, cache);
    let feed_forward = gate_and_up(w, &attention.middle, pass);
    let FeedForward { gate, up, .. } = &feed_forward;
    let (gated, feed_forward) = match recompute {
        Recompute::None => (swiglu::forward(gate.clone(), up.clone()), Some(feed_forward)),
        Recompute::Mlp | Recompute::Block => {
            (swiglu::forward(feed_forward.gate, feed_forward.up), None)
        }
    };
    let y = linear::add_forward(attention.middle.clone(), &gated, &w.down);
    let attention = (recompute != Recompute::Block).then_some(attention);
    (y, Kept { x, attention, feed_forward })
}

fn attend(
    w: &BlockParameters,
    x: &Tensor<2>,
    pass: &Pass<'_>,
    cache: Option<&mut LayerCache>,
) -> Attention {
    let &Pass { config, rope, span, .. } = pass;
    let (normed, x_rstd) = rms_norm::forward(x.clone(), &w.attention_norm, config.norm_eps);
    let query = pass.heads(linear::forward(&normed, &w.query), config.n_heads);
    let key = pass.heads(linear::forward(&normed, &w.key), config.n_kv_heads);
    let value = pass.heads(linear::forward(&normed, &w.value), config.n_kv_heads);
    drop(normed);
    let (query, key) = (rope::forward(query, rope), rope::forward(key, rope));
    let (key, value) = match cache {
        Some(cache) => cache.extend(key, value),
        None => (key, value),
    };
    let (attended, attention) = attention::forward(&query, &key, &value, span);
    let middle = linear::add_forward(x.clone(), &pass.rows(attended.clone()), &w.output);
    Attention { x_rstd, query, key, value, attended, attention, middle }
}

fn gate_and_up(w: &BlockParameters, middle: &Tensor<2>, pass: &Pass<'_>) -> FeedForward {
    let eps = pass.config.norm_eps;
    let (normed, middle_rstd) = rms_norm::forward(middle.clone(), &w.feed_forward_norm, eps);
    let gate = linear::forward(&normed, &w.gate);
    let up = linear::forward(&normed, &w.up);
    FeedForward { middle_rstd, gate, up }
}

/// Adds the parameters' gradients into `sums` and returns the input's gradient.
///
/// # Shapes
/// - `dy`: `[tokens, d_model]`; returns the same
pub(crate) fn backward(
    w: &BlockParameters,
    kept: Kept,
    dy: Tensor<2>,
    pass: &Pass<'_>,
    sums: &mut BlockParameters,
) -> Tensor<2> {
    let Kept { x, attention, feed_forward } = kept;
    let attention = attention.unwrap_or_else(|| attend(w, &x, pass, None));
    let middle = &attention.middle;
    let FeedForward { middle_rstd, gate, up } =
        feed_forward.unwrap_or_else(|| gate_and_up(w, middle, pass));

    let d_gated = linear::backward_input(&w.down, &dy);
    let (gated, d_gate, d_up) = swiglu::backward(gate, up, d_gated);
    add_weight_gradient(&mut sums.down, &gated, &dy);
    drop(gated);
    let normed = rms_norm::replay(middle, &w.feed_forward_norm, &middle_rstd);
    add_weight_gradient(&mut sums.gate, &normed, &d_gate);
    add_weight_gradient(&mut sums.up, &normed, &d_up);
    drop(normed);
    let d_normed = linear::backward_input(&w.gate, &d_gate);
    let d_normed = linear::add_backward_input(d_normed, &w.up, &d_up);
    let (d_middle, d_norm) = rms_norm::backward(
        middle,
        &w.feed_forward_norm,
        &middle_rstd,
        d_normed,
        Some(dy),
        sums.feed_forward_norm.extract(),
    );
    sums.feed_forward_norm = d_norm;

    let Attention { x_rstd, query, key, value, attended, attention, .. } = attention;
    add_weight_gradient(&mut sums.output, &pass.rows(attended.clone()), &d_middle);
    let d_attended = pass.heads(linear::backward_input(&w.output, &d_middle), pass.config.n_heads);
    let (d_query, d_key, d_value) =
        attention::backward([&query, &key, &value], pass.span, &attention, &attended, &d_attended);
    let d_query = pass.rows(rope::backward(d_query, pass.rope));
    let d_key = pass.rows(rope::backward(d_key, pass.rope));
    let d_value = pass.rows(d_value);
    let normed = rms_norm::replay(&x, &w.attention_norm, &x_rstd);
    add_weight_gradient(&mut sums.query, &normed, &d_query);
    add_weight_gradient(&mut sums.key, &normed, &d_key);
    add_weight_gradient(&mut sums.value, &normed, &d_value);
    let d_normed = linear::backward_input(&w.query, &d_query);
    let d_normed = linear::add_backward_input(d_normed, &w.key, &d_key);
    let d_normed = linear::add_backward_input(d_normed, &w.value, &d_value);
    let (dx, d_norm) = rms_norm::backward(
        &x,
        &w.attention_norm,
        &x_rstd,
        d_normed,
        Some(d_middle),
        sums.attention_norm.extract(),
    );
    sums.attention_norm = d_norm;
    dx
}

/// Adds `dyᵀ x` into its f32 sum, in place where the backend allows.
fn add_weight_gradient(sum: &mut Tensor<2>, x: &Tensor<2>, dy: &Tensor<2>) {
    sum.inplace(|sum| linear::add_backward_weight(sum, x, dy));
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
