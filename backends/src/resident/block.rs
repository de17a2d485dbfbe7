//! One decoder block on the card, forward and backward, in the order of `model/src/block.rs`.

use super::{
    Error, Step,
    card::{Address, Geometry, numbers_at_once, threads_for},
    memory::NORM_BLOCKS,
    shape::Keep,
    step::ROW_THREADS,
};

impl Step {
    /// The residual stream through a block; what the backward needs stays in its buffers.
    pub(crate) fn forward_block(&self, layer: usize) -> Result<(), Error> {
        self.attend(layer)?;
        self.gate_and_up(layer)?;
        let (at, place) = (&self.buffers.blocks[layer], self.table.block(layer));
        self.swiglu_forward(at.gate_up)?;
        let decoder = &self.settings.decoder;
        let size = [self.settings.tokens(), decoder.d_ff, decoder.d_model];
        let out = self.buffers.after(layer);
        self.linear(size, self.buffers.gated, self.weight(place.down), out, Some(at.middle))
    }

    /// `middle = x + attention(norm(x)) wᵀ`.
    fn attend(&self, layer: usize) -> Result<(), Error> {
        let (at, place) = (&self.buffers.blocks[layer], self.table.block(layer));
        let decoder = &self.settings.decoder;
        let (tokens, d) = (self.settings.tokens(), decoder.d_model);
        let normed = self.buffers.wide;
        self.norm_forward(at.x, place.attention_norm, normed, at.x_rstd)?;
        let qkv = [tokens, d, decoder.qkv_width()];
        self.linear(qkv, normed, self.weight(place.qkv), at.qkv, None)?;
        self.rotate(at.qkv, 1.0)?;
        self.attention_forward(layer)?;
        let output = [tokens, decoder.query_width(), d];
        self.linear(output, at.attended, self.weight(place.output), at.middle, Some(at.x))
    }

    fn gate_and_up(&self, layer: usize) -> Result<(), Error> {
        let (at, place) = (&self.buffers.blocks[layer], self.table.block(layer));
        let decoder = &self.settings.decoder;
        let normed = self.buffers.wide;
        self.norm_forward(at.middle, place.feed_forward_norm, normed, at.middle_rstd)?;
        let size = [self.settings.tokens(), decoder.d_model, 2 * decoder.d_ff];
        self.linear(size, normed, self.weight(place.gate_up), at.gate_up, None)
    }

    /// Turns the gradient in `dx` from that of the block's output into that of its input, and sums
    /// the gradients of its parameters.
    pub(crate) fn backward_block(&self, layer: usize, is_first: bool) -> Result<(), Error> {
        // What blocks do not keep for themselves is still the last one's.
        let is_last = layer + 1 == self.settings.decoder.n_layers;
        if self.settings.keep == Keep::Input && !is_last {
            self.attend(layer)?;
        }
        if self.settings.keep != Keep::All && !is_last {
            self.gate_and_up(layer)?;
        }
        self.backward_feed_forward(layer, is_first)?;
        self.backward_attention(layer, is_first)
    }

    fn backward_feed_forward(&self, layer: usize, is_first: bool) -> Result<(), Error> {
        let (at, place) = (&self.buffers.blocks[layer], self.table.block(layer));
        let decoder = &self.settings.decoder;
        let (tokens, d, d_ff) = (self.settings.tokens(), decoder.d_model, decoder.d_ff);
        let (dx, gated, normed) = (self.buffers.dx, self.buffers.gated, self.buffers.wide);
        let down = [tokens, d_ff, d];
        self.linear_input(down, dx, self.weight(place.down), gated)?;
        // From here `gated` is the activation again, and `gate_up` the gradient of gate and up.
        self.swiglu_backward(at.gate_up, gated)?;
        self.linear_weight(down, dx, gated, self.gradient(place.down), is_first)?;
        self.norm_replay(at.middle, place.feed_forward_norm, at.middle_rstd, normed)?;
        let gate_up = [tokens, d, 2 * d_ff];
        let sum = self.gradient(place.gate_up);
        self.linear_weight(gate_up, at.gate_up, normed, sum, is_first)?;
        self.linear_input(gate_up, at.gate_up, self.weight(place.gate_up), normed)?;
        let norm = place.feed_forward_norm;
        self.norm_backward(at.middle, norm, at.middle_rstd, normed, dx, is_first)
    }

    fn backward_attention(&self, layer: usize, is_first: bool) -> Result<(), Error> {
        let (at, place) = (&self.buffers.blocks[layer], self.table.block(layer));
        let decoder = &self.settings.decoder;
        let (tokens, d) = (self.settings.tokens(), decoder.d_model);
        let (dx, wide, d_qkv) = (self.buffers.dx, self.buffers.wide, self.buffers.d_qkv);
        let output = [tokens, decoder.query_width(), d];
        self.linear_weight(output, dx, at.attended, self.gradient(place.output), is_first)?;
        self.linear_input(output, dx, self.weight(place.output), wide)?;
        self.attention_backward(layer)?;
        self.rotate(d_qkv, -1.0)?;
        self.norm_replay(at.x, place.attention_norm, at.x_rstd, wide)?;
        let qkv = [tokens, d, decoder.qkv_width()];
        self.linear_weight(qkv, d_qkv, wide, self.gradient(place.qkv), is_first)?;
        self.linear_input(qkv, d_qkv, self.weight(place.qkv), wide)?;
        self.norm_backward(at.x, place.attention_norm, at.x_rstd, wide, dx, is_first)
    }

    pub(crate) fn norm_forward(
        &self,
        x: Address,
        weight: usize,
        y: Address,
        rstd: Address,
    ) -> Result<(), Error> {
        let decoder = &self.settings.decoder;
        let eps = decoder.norm_eps as f32;
        let weight = self.weight(weight);
        let args =
            [x.into(), weight.into(), y.into(), rstd.into(), decoder.d_model.into(), eps.into()];
        self.run("rms_norm", self.library.rms_norm_forward, self.by_model_row(), &args)
    }

    fn norm_replay(
        &self,
        x: Address,
        weight: usize,
        rstd: Address,
        y: Address,
    ) -> Result<(), Error> {
        let d = self.settings.decoder.d_model;
        let args = [x.into(), self.weight(weight).into(), rstd.into(), y.into(), d.into()];
        self.run("rms_norm", self.library.rms_norm_replay, self.by_model_row(), &args)
    }

    /// The gradient past a norm, added to what flows around it: `dx` is both what is added and the
    /// result; at the network's top nothing flows around and `dx` is only the result.
    fn norm_backward(
        &self,
        x: Address,
        weight: usize,
        rstd: Address,
        dy: Address,
        dx: Address,
        is_first: bool,
    ) -> Result<(), Error> {
        self.norm_backward_around(x, weight, rstd, dy, dx, dx, is_first)
    }

    #[expect(clippy::too_many_arguments, reason = "the arguments of the kernel")]
    pub(crate) fn norm_backward_around(
        &self,
        x: Address,
        weight: usize,
        rstd: Address,
        dy: Address,
        around: Address,
        dx: Address,
        is_first: bool,
    ) -> Result<(), Error> {
        let (d, tokens) = (self.settings.decoder.d_model, self.settings.tokens());
        let partial = self.buffers.norm_partial;
        let args = [
            x.into(),
            self.weight(weight).into(),
            rstd.into(),
            dy.into(),
            around.into(),
            dx.into(),
            partial.into(),
            d.into(),
            tokens.into(),
        ];
        let blocks = NORM_BLOCKS.min(tokens);
        let threads = self.by_model_row().threads;
        // A thread keeps its columns' shares there.
        let at_once = numbers_at_once(d, self.settings.element) * threads as usize;
        let shared_bytes = (4 * d.next_multiple_of(at_once)) as u32;
        let geometry = Geometry { grid: [blocks as u32, 1, 1], threads, shared_bytes };
        self.run("rms_norm", self.library.rms_norm_backward, geometry, &args)?;
        let sum = self.gradient(weight);
        let add = usize::from(!is_first);
        let args = [partial.into(), sum.into(), blocks.into(), d.into(), add.into()];
        let columns = Geometry::line(d.div_ceil(32), 1024);
        self.run("rms_norm", self.library.rms_norm_weight, columns, &args)
    }

    /// Rotates queries and keys in place, forwards or back.
    fn rotate(&self, qkv: Address, sign: f32) -> Result<(), Error> {
        let decoder = &self.settings.decoder;
        let args = [
            qkv.into(),
            self.buffers.cos.into(),
            self.buffers.sin.into(),
            self.settings.seq.into(),
            decoder.qkv_width().into(),
            (decoder.n_heads + decoder.n_kv_heads).into(),
            (decoder.head_dim / 2).into(),
            sign.into(),
        ];
        let pairs = (decoder.n_heads + decoder.n_kv_heads) * decoder.head_dim / 2;
        let at_once = numbers_at_once(decoder.head_dim / 2, self.settings.element);
        let threads = threads_for(pairs.div_ceil(at_once), 256);
        let geometry = Geometry::line(self.settings.tokens(), threads);
        self.run("rope", self.library.rope, geometry, &args)
    }

    fn swiglu_forward(&self, gate_up: Address) -> Result<(), Error> {
        let d_ff = self.settings.decoder.d_ff;
        let args = [gate_up.into(), self.buffers.gated.into(), d_ff.into()];
        self.run("swiglu", self.library.swiglu_forward, self.by_gate(2), &args)
    }

    fn swiglu_backward(&self, gate_up: Address, d_gated: Address) -> Result<(), Error> {
        let args = [gate_up.into(), d_gated.into(), self.settings.decoder.d_ff.into()];
        self.run("swiglu", self.library.swiglu_backward, self.by_gate(1), &args)
    }

    /// A block for each row of the residual stream, whose threads take two vectors each.
    pub(crate) fn by_model_row(&self) -> Geometry {
        let d = self.settings.decoder.d_model;
        let at_once = numbers_at_once(d, self.settings.element);
        Geometry::line(self.settings.tokens(), threads_for(d.div_ceil(2 * at_once), 1024))
    }

    /// Blocks for each row of the feed-forward, whose threads take so many vectors each.
    fn by_gate(&self, vectors: usize) -> Geometry {
        let d_ff = self.settings.decoder.d_ff;
        let at_once = vectors * numbers_at_once(d_ff, self.settings.element);
        let blocks = d_ff.div_ceil(at_once * ROW_THREADS as usize) as u32;
        let grid = [self.settings.tokens() as u32, blocks, 1];
        Geometry { grid, threads: ROW_THREADS, shared_bytes: 0 }
    }

    /// A block of threads for each token.
    pub(crate) fn by_row(&self) -> Geometry {
        Geometry::line(self.settings.tokens(), ROW_THREADS)
    }
}
