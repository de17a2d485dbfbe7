//! Attention by chunks of queries: scores by products, softmax in place, values by products.
//!
//! The scores of one chunk exist at a time, for all heads. Query heads that share a key head are a
//! batch of products with one right factor, so keys and values are never repeated.

use super::{
    super::{
        Card, Error, Settings, Step,
        card::{
            Address, Arg, Element, Geometry, Kernel, Matrix, Product, bytes_of, numbers_at_once,
            threads_for,
        },
        library::element_macro,
        sources,
    },
    Heads, takes_flash,
};
use crate::Precision;

/// Scores of one chunk, about, in bytes.
const SCORES_BYTES: usize = 256 << 20;

/// What the composition works in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Composed {
    /// `[rows, n_heads, chunk, score_row]`: scores, then probabilities or their gradient.
    scores: Address,
    d_scores: Address,
    /// `[tokens, 2 key_width]` in f32: gradients of keys and values.
    key_value_sums: Address,
    /// Queries of a chunk.
    chunk: usize,
    /// Numbers from one query's scores to the next's.
    score_row: usize,
}

pub(crate) struct ComposedKernels {
    softmax: Kernel,
    softmax_backward: Kernel,
    delta: Kernel,
    cast_rows: Kernel,
}

/// A chunk of queries of a row.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    len: usize,
    /// Keys that any of them may see.
    keys: usize,
}

impl Composed {
    /// Places the buffers where the flash kernels do not take the step.
    pub(crate) fn place(
        settings: &Settings,
        has_hopper: bool,
        mut take: impl FnMut(usize, Element) -> Address,
    ) -> Option<Self> {
        if takes_flash(settings, has_hopper) {
            return None;
        }
        let Settings { decoder, element, rows, seq, .. } = *settings;
        let score_row = seq.next_multiple_of(8);
        let per_query = rows * decoder.n_heads * score_row;
        let chunk = (SCORES_BYTES / bytes_of(element) / per_query).clamp(16.min(seq), seq);
        Some(Self {
            scores: take(per_query * chunk, element),
            d_scores: take(per_query * chunk, element),
            key_value_sums: take(2 * settings.tokens() * decoder.key_width(), Precision::F32),
            chunk,
            score_row,
        })
    }
}

impl ComposedKernels {
    pub(crate) fn compile(card: &dyn Card, settings: &Settings) -> Result<Self, Error> {
        let macros = [element_macro(settings.element)];
        let names = ["attention_softmax", "attention_softmax_backward", "attention_delta"];
        let attention = card.kernels(&sources::ATTENTION_COMPOSED, &macros, &names)?;
        let cast = card.kernels(&sources::CAST, &macros, &["cast_rows"])?;
        Ok(Self {
            softmax: attention[0],
            softmax_backward: attention[1],
            delta: attention[2],
            cast_rows: cast[0],
        })
    }
}

impl Step {
    pub(super) fn composed_forward(
        &self,
        kernels: &ComposedKernels,
        layer: usize,
    ) -> Result<(), Error> {
        let work = self.composed();
        let block = &self.buffers.blocks[layer];
        let heads = Heads::of(&self.settings, block.qkv);
        for chunk in self.attention_chunks() {
            self.query_times_key(heads.query, heads.key, work.scores, chunk)?;
            self.softmax(kernels, block.lse, chunk)?;
            self.each_group(|row, group| {
                let out = self.query_side(block.attended, self.query_width(), row, group, chunk);
                let value = self.key_side(heads.value, row, group);
                let size = [chunk.len, self.head_dim(), chunk.keys];
                let scores = self.scores_of(work.scores, row, group, chunk);
                self.group_product(size, scores, value, out)
            })?;
        }
        Ok(())
    }

    pub(super) fn composed_backward(
        &self,
        kernels: &ComposedKernels,
        layer: usize,
    ) -> Result<(), Error> {
        let work = self.composed();
        let block = &self.buffers.blocks[layer];
        let heads = Heads::of(&self.settings, block.qkv);
        let gradients = Heads::of(&self.settings, self.buffers.d_qkv);
        let d_attended = self.buffers.wide;
        self.attention_delta(kernels.delta, block.attended, d_attended)?;
        let decoder = &self.settings.decoder;
        let (tokens, key_width) = (self.settings.tokens(), decoder.key_width());
        self.card.zero(work.key_value_sums, 4 * tokens * 2 * key_width)?;
        for chunk in self.attention_chunks() {
            self.query_times_key(heads.query, heads.key, work.scores, chunk)?;
            self.each_group(|row, group| {
                let left = self.query_side(d_attended, self.query_width(), row, group, chunk);
                let value = self.key_side(heads.value, row, group).t();
                let size = [chunk.len, chunk.keys, self.head_dim()];
                let out = self.scores_of(work.d_scores, row, group, chunk);
                self.group_product(size, left, value, out)
            })?;
            self.softmax_backward(kernels, block.lse, chunk)?;
            self.each_group(|row, group| {
                let d_scores = self.scores_of(work.scores, row, group, chunk);
                let key = self.key_side(heads.key, row, group);
                let row_width = decoder.qkv_width();
                let out = self.query_side(gradients.query, row_width, row, group, chunk);
                self.group_product([chunk.len, self.head_dim(), chunk.keys], d_scores, key, out)
            })?;
            self.add_key_value_gradients(heads.query, d_attended, chunk)?;
        }
        let args = [
            work.key_value_sums.into(),
            gradients.key.into(),
            (2 * key_width).into(),
            decoder.qkv_width().into(),
        ];
        self.run("attention", kernels.cast_rows, self.by_row(), &args)
    }

    /// Sums over the query heads of each key head, one after another: `dK += dSᵀ Q`, `dV += Pᵀ dO`.
    fn add_key_value_gradients(
        &self,
        query: Address,
        d_attended: Address,
        chunk: Chunk,
    ) -> Result<(), Error> {
        let work = self.composed();
        let decoder = &self.settings.decoder;
        let (group_heads, sum_row) = (self.group_heads(), 2 * decoder.key_width());
        let size = [chunk.keys, self.head_dim(), chunk.len];
        self.each_group(|row, group| {
            let first = row * self.settings.seq * sum_row + group * self.head_dim();
            let d_key = work.key_value_sums.offset(4 * first);
            let d_value = d_key.offset(4 * decoder.key_width());
            let sides = [
                (work.scores, query, decoder.qkv_width(), d_key),
                (work.d_scores, d_attended, self.query_width(), d_value),
            ];
            for (scores, left, left_row, sum) in sides {
                let scores = self.scores_of(scores, row, group, chunk);
                let left = self.query_side(left, left_row, row, group, chunk);
                for head in 0..group_heads {
                    let product = Product {
                        size,
                        a: self.nth(scores, head).t(),
                        b: self.nth(left, head),
                        out: Matrix::new(sum, sum_row),
                        add: Some(sum),
                        element: self.settings.element,
                        out_element: Precision::F32,
                        batch: 1,
                    };
                    self.multiply("attention", &product)?;
                }
            }
            Ok(())
        })
    }

    fn query_times_key(
        &self,
        query: Address,
        key: Address,
        scores: Address,
        chunk: Chunk,
    ) -> Result<(), Error> {
        let row_width = self.settings.decoder.qkv_width();
        self.each_group(|row, group| {
            let query = self.query_side(query, row_width, row, group, chunk);
            let key = self.key_side(key, row, group).t();
            let size = [chunk.len, chunk.keys, self.head_dim()];
            self.group_product(size, query, key, self.scores_of(scores, row, group, chunk))
        })
    }

    /// One product for each query head of a group.
    fn group_product(
        &self,
        size: [usize; 3],
        a: Matrix,
        b: Matrix,
        out: Matrix,
    ) -> Result<(), Error> {
        let element = self.settings.element;
        let batch = self.group_heads();
        let product = Product { size, a, b, out, add: None, element, out_element: element, batch };
        self.multiply("attention", &product)
    }

    fn softmax(&self, kernels: &ComposedKernels, lse: Address, chunk: Chunk) -> Result<(), Error> {
        let work = self.composed();
        let mut args = vec![work.scores.into(), lse.into(), self.buffers.inputs.starts.into()];
        args.extend(self.chunk_args(chunk));
        self.run("attention", kernels.softmax, self.by_query(chunk), &args)
    }

    fn softmax_backward(
        &self,
        kernels: &ComposedKernels,
        lse: Address,
        chunk: Chunk,
    ) -> Result<(), Error> {
        let work = self.composed();
        let mut args = vec![
            work.scores.into(),
            work.d_scores.into(),
            lse.into(),
            self.buffers.delta.into(),
            self.buffers.inputs.starts.into(),
        ];
        args.extend(self.chunk_args(chunk));
        self.run("attention", kernels.softmax_backward, self.by_query(chunk), &args)
    }

    fn chunk_args(&self, chunk: Chunk) -> [Arg; 7] {
        let scale = (self.head_dim() as f64).sqrt().recip() as f32;
        [
            chunk.first.into(),
            chunk.len.into(),
            chunk.keys.into(),
            self.composed().score_row.into(),
            self.settings.seq.into(),
            self.settings.decoder.n_heads.into(),
            scale.into(),
        ]
    }

    fn by_query(&self, chunk: Chunk) -> Geometry {
        let heads = self.settings.rows * self.settings.decoder.n_heads;
        let at_once = numbers_at_once(self.composed().score_row, self.settings.element);
        let threads = threads_for(chunk.keys.div_ceil(at_once), 256);
        Geometry { grid: [heads as u32, chunk.len as u32, 1], threads, shared_bytes: 0 }
    }

    /// Row sums of attended values times their gradient.
    pub(super) fn attention_delta(
        &self,
        kernel: Kernel,
        attended: Address,
        d_attended: Address,
    ) -> Result<(), Error> {
        let decoder = &self.settings.decoder;
        let args = [
            attended.into(),
            d_attended.into(),
            self.buffers.delta.into(),
            self.settings.seq.into(),
            decoder.n_heads.into(),
            decoder.head_dim.into(),
        ];
        let threads = threads_for(32 * decoder.n_heads, 256);
        let geometry = Geometry::line(self.settings.tokens(), threads);
        self.run("attention", kernel, geometry, &args)
    }

    fn attention_chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let (seq, chunk) = (self.settings.seq, self.composed().chunk);
        (0..seq).step_by(chunk).map(move |first| {
            let len = chunk.min(seq - first);
            Chunk { first, len, keys: first + len }
        })
    }

    /// Calls `work` with every row of the batch and every key head.
    fn each_group(
        &self,
        mut work: impl FnMut(usize, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for row in 0..self.settings.rows {
            for group in 0..self.settings.decoder.n_kv_heads {
                work(row, group)?;
            }
        }
        Ok(())
    }

    /// A chunk's queries, or what has their shape, of a group's first head; further heads follow.
    fn query_side(
        &self,
        first: Address,
        row_width: usize,
        row: usize,
        group: usize,
        chunk: Chunk,
    ) -> Matrix {
        let token = row * self.settings.seq + chunk.first;
        let number = token * row_width + group * self.group_heads() * self.head_dim();
        let at = first.offset(number * bytes_of(self.settings.element));
        Matrix::new(at, row_width).every(self.head_dim())
    }

    /// All keys or values of a row, of one head, for every query head of its group.
    fn key_side(&self, first: Address, row: usize, group: usize) -> Matrix {
        let row_width = self.settings.decoder.qkv_width();
        let number = row * self.settings.seq * row_width + group * self.head_dim();
        Matrix::new(first.offset(number * bytes_of(self.settings.element)), row_width)
    }

    /// Scores of a group's first head; those of further heads follow.
    fn scores_of(&self, first: Address, row: usize, group: usize, chunk: Chunk) -> Matrix {
        let work = self.composed();
        let head = row * self.settings.decoder.n_heads + group * self.group_heads();
        let stride = chunk.len * work.score_row;
        let at = first.offset(head * stride * bytes_of(self.settings.element));
        Matrix::new(at, work.score_row).every(stride)
    }

    /// The matrix of one head of a group.
    fn nth(&self, of_group: Matrix, head: usize) -> Matrix {
        let bytes = head * of_group.stride * bytes_of(self.settings.element);
        Matrix { at: of_group.at.offset(bytes), ..of_group }
    }

    fn composed(&self) -> &Composed {
        self.buffers.composed.as_ref().expect("this form was chosen with its buffers")
    }

    fn group_heads(&self) -> usize {
        self.settings.decoder.n_heads / self.settings.decoder.n_kv_heads
    }

    fn head_dim(&self) -> usize {
        self.settings.decoder.head_dim
    }

    fn query_width(&self) -> usize {
        self.settings.decoder.query_width()
    }
}
