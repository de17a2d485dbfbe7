//! Tiles of queries, each against the keys that it can see and no others; a query on its own, as
//! in decoding, in `single.rs`.
//!
//! Heads are read where they lie, a row of `n_heads * head_dim` values per position. The scores of
//! one tile and one head are all that is held. The backward runs over stretches of queries; each
//! makes its own part of the keys' and values' gradients, and the parts are summed in order, so
//! nothing depends on the number of threads.

mod single;

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Saved, Sizes, Span};
use crate::flex::{Host, Target, View, exp, from_vec, multiply_here, sum, widest_simd};

/// Queries whose scores are held at a time.
const TILE: usize = 64;
/// Queries of one task of the backward.
const STRETCH: usize = 512;

/// `[batch, seq, heads, head_dim]` in host memory.
#[derive(Clone, Copy)]
struct Heads<'a> {
    values: &'a [f32],
    seq: usize,
    heads: usize,
    head_dim: usize,
}

impl<'a> Heads<'a> {
    fn new(values: &'a [f32], seq: usize, heads: usize, head_dim: usize) -> Self {
        Self { values, seq, heads, head_dim }
    }

    /// One head of some positions, `[positions, head_dim]`.
    fn view(&self, batch: usize, head: usize, positions: Range<usize>) -> View<'a> {
        let from = self.at(batch, positions.start, head);
        let down = self.heads * self.head_dim;
        View::strided(&self.values[from..], positions.len(), self.head_dim, down)
    }

    /// One head of one position.
    fn row(&self, batch: usize, position: usize, head: usize) -> &'a [f32] {
        let from = self.at(batch, position, head);
        &self.values[from..from + self.head_dim]
    }

    fn at(&self, batch: usize, position: usize, head: usize) -> usize {
        ((batch * self.seq + position) * self.heads + head) * self.head_dim
    }
}

/// First visible key of each query, `[batch * q_seq]`, or nothing when that is the row's start.
struct FirstKeys {
    first: Option<Vec<usize>>,
    q_seq: usize,
}

impl FirstKeys {
    fn of(span: &Span, q_seq: usize) -> Self {
        let read = |first: &Tensor<2, burn::tensor::Int>| {
            assert!(first.dims()[1] == q_seq, "one document start for each query");
            let data = first.to_data();
            data.iter::<i64>().map(|first| usize::try_from(first).unwrap_or(0)).collect()
        };
        let first = match span {
            Span::Row => None,
            Span::Document { first } => Some(read(first)),
        };
        Self { first, q_seq }
    }

    fn of_query(&self, batch: usize, query: usize) -> usize {
        self.first.as_ref().map_or(0, |first| first[batch * self.q_seq + query])
    }

    /// The first key that any of the queries can see.
    fn of_tile(&self, batch: usize, tile: Range<usize>) -> usize {
        tile.map(|query| self.of_query(batch, query)).min().unwrap_or(0)
    }
}

pub(super) fn forward(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    span: &Span,
    sizes: Sizes,
) -> (Tensor<4>, Saved) {
    let Sizes { batch, q_seq, k_seq, kv_heads, group, head_dim } = sizes;
    let (q, k, v) = (Host::read(q), Host::read(k), Host::read(v));
    let heads = kv_heads * group;
    let queries = Heads::new(q.values(), q_seq, heads, head_dim);
    let keys = Heads::new(k.values(), k_seq, kv_heads, head_dim);
    let values = Heads::new(v.values(), k_seq, kv_heads, head_dim);
    let first = FirstKeys::of(span, q_seq);
    let row = heads * head_dim;
    let mut output = vec![0f32; batch * q_seq * row];
    let mut log_sums = vec![0f32; batch * q_seq * heads];
    if q_seq == 1 {
        single::forward([queries, keys, values], &first, sizes, &mut output, &mut log_sums);
        let log_sum_exp = from_vec(log_sums, [batch, kv_heads, group, 1]);
        return (from_vec(output, [batch, 1, heads, head_dim]), Saved { log_sum_exp });
    }
    let tiles = output
        .par_chunks_mut(q_seq * row)
        .zip(log_sums.par_chunks_mut(q_seq * heads))
        .enumerate()
        .flat_map(|(batch, (output, log_sums))| {
            let tiles =
                output.par_chunks_mut(TILE * row).zip(log_sums.par_chunks_mut(TILE * heads));
            tiles.enumerate().map(move |(tile, parts)| (batch, tile * TILE, parts))
        });
    tiles.for_each_init(Vec::new, |scores, (batch, start, (output, log_sums))| {
        let tile = start..(start + TILE).min(q_seq);
        let seen = first.of_tile(batch, tile.clone())..sizes.offset() + tile.end;
        scores.resize(tile.len() * seen.len(), 0.0);
        for head in 0..heads {
            let kv_head = head / group;
            multiply_here(
                Target::strided(scores, seen.len()),
                false,
                queries.view(batch, head, tile.clone()),
                keys.view(batch, kv_head, seen.clone()).transposed(),
            );
            for (query, scores) in scores.chunks_exact_mut(seen.len()).enumerate() {
                let from = first.of_query(batch, start + query) - seen.start;
                let to = sizes.offset() + start + query + 1 - seen.start;
                scores[..from].fill(0.0);
                scores[to..].fill(0.0);
                log_sums[query * heads + head] =
                    softmax_row(&mut scores[from..to], sizes.scale() as f32);
            }
            multiply_here(
                Target::strided(&mut output[head * head_dim..], row),
                false,
                View::new(scores, tile.len(), seen.len()),
                values.view(batch, kv_head, seen.clone()),
            );
        }
    });
    let log_sum_exp = from_vec(log_sums, [batch, q_seq, heads]).swap_dims(1, 2);
    let log_sum_exp = log_sum_exp.reshape([batch, kv_heads, group, q_seq]);
    (from_vec(output, [batch, q_seq, heads, head_dim]), Saved { log_sum_exp })
}

/// Gradients of one stretch of queries of one key head.
struct Part {
    /// `[queries, group, head_dim]`.
    dq: Vec<f32>,
    /// First key that `dk` and `dv` are for.
    first_key: usize,
    /// `[keys, head_dim]`.
    dk: Vec<f32>,
    /// `[keys, head_dim]`.
    dv: Vec<f32>,
}

pub(super) fn backward(
    [q, k, v]: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
    sizes: Sizes,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    let Sizes { batch, q_seq, k_seq, kv_heads, group, head_dim } = sizes;
    let [q, k, v, output, d_output, log_sums] =
        [q, k, v, output, d_output, &saved.log_sum_exp].map(Host::read);
    let heads = kv_heads * group;
    let pass = Backward {
        queries: Heads::new(q.values(), q_seq, heads, head_dim),
        keys: Heads::new(k.values(), k_seq, kv_heads, head_dim),
        values: Heads::new(v.values(), k_seq, kv_heads, head_dim),
        output: Heads::new(output.values(), q_seq, heads, head_dim),
        d_output: Heads::new(d_output.values(), q_seq, heads, head_dim),
        log_sums: log_sums.values(),
        first: FirstKeys::of(span, q_seq),
        sizes,
    };
    let n_stretches = q_seq.div_ceil(STRETCH);
    let parts: Vec<Part> = (0..batch * kv_heads * n_stretches)
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (row, stretch) = (task / n_stretches, task % n_stretches);
            let start = stretch * STRETCH;
            pass.part(row / kv_heads, row % kv_heads, start..(start + STRETCH).min(q_seq))
        })
        .collect();

    let mut dq = vec![0f32; batch * q_seq * heads * head_dim];
    let [mut dk, mut dv] = [(); 2].map(|()| vec![0f32; batch * k_seq * kv_heads * head_dim]);
    let rows = dq
        .par_chunks_mut(q_seq * heads * head_dim)
        .zip(dk.par_chunks_mut(k_seq * kv_heads * head_dim))
        .zip(dv.par_chunks_mut(k_seq * kv_heads * head_dim))
        .zip(parts.par_chunks(kv_heads * n_stretches));
    rows.for_each(|(((dq, dk), dv), parts)| {
        for (idx, part) in parts.iter().enumerate() {
            let (kv_head, stretch) = (idx / n_stretches, idx % n_stretches);
            let own_heads = kv_head * group * head_dim..(kv_head + 1) * group * head_dim;
            let dq = dq.chunks_exact_mut(heads * head_dim).skip(stretch * STRETCH);
            for (dq, part) in dq.zip(part.dq.chunks_exact(group * head_dim)) {
                dq[own_heads.clone()].copy_from_slice(part);
            }
            let own_head = kv_head * head_dim..(kv_head + 1) * head_dim;
            for (sums, part_of) in [(&mut *dk, &part.dk), (&mut *dv, &part.dv)] {
                let sums = sums.chunks_exact_mut(kv_heads * head_dim).skip(part.first_key);
                for (sums, part) in sums.zip(part_of.chunks_exact(head_dim)) {
                    sums[own_head.clone()].iter_mut().zip(part).for_each(|(sum, d)| *sum += d);
                }
            }
        }
    });
    let k_shape = [batch, k_seq, kv_heads, head_dim];
    let dq = from_vec(dq, [batch, q_seq, heads, head_dim]);
    (dq, from_vec(dk, k_shape), from_vec(dv, k_shape))
}

/// Inputs of the backward.
struct Backward<'a> {
    queries: Heads<'a>,
    keys: Heads<'a>,
    values: Heads<'a>,
    output: Heads<'a>,
    d_output: Heads<'a>,
    /// `[batch, n_heads, q_seq]`.
    log_sums: &'a [f32],
    first: FirstKeys,
    sizes: Sizes,
}

impl Backward<'_> {
    fn part(&self, batch: usize, kv_head: usize, stretch: Range<usize>) -> Part {
        let Sizes { group, head_dim, .. } = self.sizes;
        let offset = self.sizes.offset();
        let first_key = self.first.of_tile(batch, stretch.clone());
        let n_keys = offset + stretch.end - first_key;
        let mut part = Part {
            dq: vec![0.0; stretch.len() * group * head_dim],
            first_key,
            dk: vec![0.0; n_keys * head_dim],
            dv: vec![0.0; n_keys * head_dim],
        };
        let (mut scores, mut d_scores) = (Vec::new(), Vec::new());
        for start in stretch.clone().step_by(TILE) {
            let tile = start..(start + TILE).min(stretch.end);
            let seen = self.first.of_tile(batch, tile.clone())..offset + tile.end;
            let keys = self.keys.view(batch, kv_head, seen.clone());
            let values = self.values.view(batch, kv_head, seen.clone());
            let sums = (seen.start - first_key) * head_dim..(seen.end - first_key) * head_dim;
            scores.resize(tile.len() * seen.len(), 0.0);
            d_scores.resize(tile.len() * seen.len(), 0.0);
            for member in 0..group {
                let head = kv_head * group + member;
                let queries = self.queries.view(batch, head, tile.clone());
                let d_output = self.d_output.view(batch, head, tile.clone());
                let across = |x: &mut Vec<f32>, a, b: View<'_>| {
                    multiply_here(Target::strided(x, seen.len()), false, a, b.transposed());
                };
                across(&mut scores, queries, keys);
                across(&mut d_scores, d_output, values);
                self.turn_into_gradients(
                    &mut scores,
                    &mut d_scores,
                    batch,
                    head,
                    tile.clone(),
                    seen.clone(),
                );
                let [weights, d_scores] =
                    [&scores, &d_scores].map(|x| View::new(x, tile.len(), seen.len()));
                let add = |sum: &mut [f32], a: View<'_>, b| {
                    multiply_here(Target::strided(sum, head_dim), true, a.transposed(), b);
                };
                add(&mut part.dv[sums.clone()], weights, d_output);
                add(&mut part.dk[sums.clone()], d_scores, queries);
                let at = ((start - stretch.start) * group + member) * head_dim;
                let dq = Target::strided(&mut part.dq[at..], group * head_dim);
                multiply_here(dq, false, d_scores, keys);
            }
        }
        part
    }

    /// Scores become softmax weights, the weights' gradients become those of the unscaled scores.
    fn turn_into_gradients(
        &self,
        scores: &mut [f32],
        d_scores: &mut [f32],
        batch: usize,
        head: usize,
        tile: Range<usize>,
        seen: Range<usize>,
    ) {
        let Sizes { q_seq, kv_heads, group, .. } = self.sizes;
        let log_sums = &self.log_sums[(batch * kv_heads * group + head) * q_seq..][..q_seq];
        let rows = scores.chunks_exact_mut(seen.len()).zip(d_scores.chunks_exact_mut(seen.len()));
        for (query, (scores, d_scores)) in tile.zip(rows) {
            let from = self.first.of_query(batch, query) - seen.start;
            let to = self.sizes.offset() + query + 1 - seen.start;
            for values in [&mut *scores, &mut *d_scores] {
                values[..from].fill(0.0);
                values[to..].fill(0.0);
            }
            let (output, d_output) =
                (self.output.row(batch, query, head), self.d_output.row(batch, query, head));
            let common = sum(output.iter().zip(d_output).map(|(a, b)| a * b));
            let (scores, d_scores) = (&mut scores[from..to], &mut d_scores[from..to]);
            gradient_row(scores, d_scores, log_sums[query], common, self.sizes.scale() as f32);
        }
    }
}

widest_simd! { fn softmax_row(row: &mut [f32], scale: f32) -> f32 = softmax_row_body }

/// Softmax of `scale * row` in place; returns its log-sum-exp.
#[inline(always)]
fn softmax_row_body(row: &mut [f32], scale: f32) -> f32 {
    let mut top = f32::NEG_INFINITY;
    for value in row.iter_mut() {
        *value *= scale;
        top = if *value > top { *value } else { top };
    }
    for value in row.iter_mut() {
        *value = exp(*value - top);
    }
    let total = sum(row.iter().copied());
    let inverse = total.recip();
    for value in row.iter_mut() {
        *value *= inverse;
    }
    top + total.ln()
}

widest_simd! {
    fn gradient_row(
        scores: &mut [f32], d_weights: &mut [f32], log_sum: f32, common: f32, scale: f32,
    ) = gradient_row_body
}

#[inline(always)]
fn gradient_row_body(
    scores: &mut [f32],
    d_weights: &mut [f32],
    log_sum: f32,
    common: f32,
    scale: f32,
) {
    for (score, d) in scores.iter_mut().zip(d_weights) {
        *score = exp(*score * scale - log_sum);
        *d = *score * (*d - common) * scale;
    }
}
