//! The two ends of the network: embedding, and final norm with head and loss, chunk by chunk.

use super::{
    Error, Step,
    card::{Address, Arg, Geometry, bytes_of, numbers_at_once, threads_for},
};

/// Threads of a block that goes over the logits of one token.
const LOGITS_THREADS: u32 = 512;

impl Step {
    pub(crate) fn embed(&self) -> Result<(), Error> {
        let args = [
            self.buffers.inputs.ids.into(),
            self.weight(self.table.embedding()).into(),
            self.buffers.blocks.first().map_or(self.buffers.top, |block| block.x).into(),
            self.settings.decoder.d_model.into(),
        ];
        self.run("embedding", self.library.embedding_forward, self.by_model_row(), &args)
    }

    /// Adds the rows of `dx` to the rows of their ids.
    pub(crate) fn embed_backward(&self, is_first: bool) -> Result<(), Error> {
        let d = self.settings.decoder.d_model;
        let sum = self.gradient(self.table.embedding());
        if is_first {
            self.card.zero(sum, 4 * d * self.settings.decoder.vocab)?;
        }
        let inputs = &self.buffers.inputs;
        let mut args: Vec<Arg> = vec![
            inputs.id_rows.into(),
            inputs.id_first.into(),
            inputs.id_order.into(),
            self.buffers.dx.into(),
            sum.into(),
            d.into(),
        ];
        let (tokens, at_once) = (self.settings.tokens(), numbers_at_once(d, self.settings.element));
        let geometry = Geometry::line(tokens, threads_for(d.div_ceil(at_once), 1024));
        self.run("embedding", self.library.embedding_backward, geometry, &args)?;
        // Ids of many tokens are left to blocks that share their rows and columns.
        args.push(tokens.into());
        let grid = [tokens.div_ceil(32) as u32, d.div_ceil(32 * at_once) as u32, 1];
        let geometry = Geometry { grid, threads: 512, shared_bytes: 0 };
        self.run("embedding", self.library.embedding_backward_frequent, geometry, &args)
    }

    /// Final norm, logits, loss, and the way back to the last block's output in `dx`.
    pub(crate) fn head(&self, is_first: bool) -> Result<(), Error> {
        let (top, rstd, normed) = (self.buffers.top, self.buffers.top_rstd, self.buffers.wide);
        self.norm_forward(top, self.table.norm(), normed, rstd)?;
        for (chunk, at) in self.chunks() {
            // The first chunk of a step replaces the head's gradient.
            self.head_chunk(at, chunk, is_first && at == 0)?;
        }
        let n = self.settings.tokens();
        let args = [
            self.buffers.log_probs.into(),
            self.buffers.log_sums.into(),
            self.buffers.inputs.loss_weights.into(),
            self.buffers.totals.into(),
            n.into(),
            usize::from(!is_first).into(),
        ];
        let geometry = Geometry::line(1, 1024);
        self.run("linear_cross_entropy", self.library.loss_totals, geometry, &args)?;
        let (norm, dx) = (self.table.norm(), self.buffers.dx);
        self.norm_backward_around(top, norm, rstd, normed, Address::NULL, dx, is_first)
    }

    /// `(length, start)` of each chunk of tokens.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (tokens, rows) = (self.settings.tokens(), self.buffers.logits_rows);
        (0..tokens).step_by(rows).map(move |start| (rows.min(tokens - start), start))
    }

    /// Logits of a chunk and their gradient; the chunk's hidden states become their gradient.
    fn head_chunk(&self, start: usize, rows: usize, replaces: bool) -> Result<(), Error> {
        let decoder = &self.settings.decoder;
        let (d, vocab) = (decoder.d_model, decoder.vocab);
        let size = [rows, d, vocab];
        let hidden = self.buffers.wide.offset(start * d * bytes_of(self.settings.element));
        let logits = self.buffers.logits;
        let weight = self.weight(self.table.head());
        self.linear(size, hidden, weight, logits, None)?;
        let args = [
            logits.into(),
            self.buffers.inputs.targets.offset(4 * start).into(),
            self.buffers.inputs.loss_weights.offset(4 * start).into(),
            self.buffers.log_probs.offset(4 * start).into(),
            self.buffers.log_sums.offset(4 * start).into(),
            vocab.into(),
            vocab.into(),
            (self.settings.z_loss as f32).into(),
        ];
        let geometry = Geometry::line(rows, LOGITS_THREADS);
        self.run("linear_cross_entropy", self.library.cross_entropy, geometry, &args)?;
        let sum = self.gradient(self.table.head());
        self.linear_weight(size, logits, hidden, sum, replaces)?;
        self.linear_input(size, logits, weight, hidden)
    }
}
