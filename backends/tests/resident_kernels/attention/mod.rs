//! Causal attention over whole rows or within documents, with shared key heads.
//!
//! `reference.rs` holds the f64 loops; `softmax.rs` tests the kernels between products, `composed.rs`
//! is the composition of these, one head at a time, `flash.rs` tests the flash kernels and `long.rs`
//! compares the two where f64 loops take too long.

mod composed;
mod flash;
mod long;
mod reference;
mod softmax;

use crate::{numbers::Format, random::Random};

/// Sizes of a batch of rows.
#[derive(Clone, Copy, Debug)]
struct Shape {
    batch: usize,
    seq: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Whether rows are made of documents that do not see each other.
    documents: bool,
}

impl Shape {
    fn tokens(&self) -> usize {
        self.batch * self.seq
    }

    fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Queries, keys and values side by side.
    fn row(&self) -> usize {
        self.query_width() + 2 * self.key_width()
    }

    /// Queries, keys and values, or their gradients, out of `[tokens, row]`.
    fn parts(&self, qkv: &[f64]) -> [Vec<f64>; 3] {
        let (key, value) = (self.query_width(), self.query_width() + self.key_width());
        [0..key, key..value, value..self.row()].map(|columns| {
            qkv.chunks_exact(self.row()).flat_map(|row| row[columns.clone()].to_vec()).collect()
        })
    }

    /// What products of queries and keys are multiplied by.
    fn scale(&self) -> f32 {
        (self.head_dim as f64).sqrt().recip() as f32
    }
}

/// What attention and its gradient are computed from.
struct Problem {
    shape: Shape,
    /// `[tokens, row]`.
    qkv: Vec<f64>,
    /// `[tokens, query_width]`.
    d_out: Vec<f64>,
    /// `[tokens]`: the first position that each one sees, and the first that does not see it.
    starts: Vec<f64>,
    ends: Vec<f64>,
}

impl Problem {
    fn new(shape: Shape, element: Format) -> Self {
        let mut random = Random::new((shape.seq * shape.row()) as u64);
        let qkv = element.normal(&mut random, shape.tokens() * shape.row(), 1.2);
        let d_out = element.normal(&mut random, shape.tokens() * shape.query_width(), 1.0);
        let (mut starts, mut ends) = (vec![], vec![]);
        for _ in 0..shape.batch {
            for document in documents(&mut random, shape) {
                starts.extend(document.clone().map(|_| document.start as f64));
                ends.extend(document.clone().map(|_| document.end as f64));
            }
        }
        Self { shape, qkv, d_out, starts, ends }
    }
}

/// The documents of a row: some of one position, some longer than a tile where the row is.
fn documents(random: &mut Random, shape: Shape) -> Vec<std::ops::Range<usize>> {
    let (mut documents, mut start) = (vec![], 0);
    while start < shape.seq {
        let longest = if random.below(3) == 0 { 3 } else { shape.seq.div_ceil(2) };
        let end = if shape.documents { start + 1 + random.below(longest) } else { shape.seq };
        documents.push(start..end.min(shape.seq));
        start = end;
    }
    documents
}
