//! ATen's fused attention on the CPU: one call for each document, or for each chunk of queries
//! behind a mask. Memory is linear in the sequence either way, and grouped queries share their keys
//! inside the call.
//!
//! On other devices the reference runs: `tch` exports the backwards of ATen's fused attention on
//! GPUs without the forward of FlashAttention that returns the log-sum-exp, and what it exports of
//! the other has not been held to the tests on a GPU.

use std::ops::Range;

use burn::tensor::{Int, Tensor};
use tch::{Device, Kind, Tensor as Torch};

use super::{Saved, Sizes, Span, reference};
use crate::torch::{give, read, read_ids};

/// Queries per masked call.
const CHUNK: usize = 256;

pub(super) fn forward(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    span: &Span,
    sizes: Sizes,
) -> (Tensor<4>, Saved) {
    if !is_fused(q) {
        return reference::forward(q, k, v, span, sizes);
    }
    let [q, k, v] = [q, k, v].map(by_head);
    let pieces = pieces(span, sizes);
    let (output, log_sum) = match pieces.as_slice() {
        [whole] => whole.forward(&q, &k, &v, sizes.scale()),
        _ => joined_forward(&pieces, &q, &k, &v, sizes),
    };
    let Sizes { batch, q_seq, kv_heads, group, .. } = sizes;
    let log_sum = log_sum.reshape([batch, kv_heads, group, q_seq].map(|n| n as i64));
    (give(output.transpose(1, 2)), Saved { log_sum_exp: give(log_sum) })
}

pub(super) fn backward(
    [q, k, v]: [&Tensor<4>; 3],
    span: &Span,
    saved: &Saved,
    output: &Tensor<4>,
    d_output: &Tensor<4>,
    sizes: Sizes,
) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
    if !is_fused(q) {
        return reference::backward([q, k, v], span, saved, output, d_output, sizes);
    }
    let kind = read(q).kind();
    let log_sum = read(&saved.log_sum_exp).flatten(1, 2);
    // ATen sums the gradients of keys and values in the format of its inputs, block by block; in
    // bf16 they would be wrong by 1.4 % after 8192 tokens.
    let [q, k, v, output, d_output] =
        [q, k, v, output, d_output].map(|x| by_head(x).to_kind(Kind::Float));
    let forward = Forward { q, k, v, output, log_sum };
    let pieces = pieces(span, sizes);
    let gradients = match pieces.as_slice() {
        [whole] => whole.backward(&forward, &d_output, sizes.scale()),
        _ => joined_backward(&pieces, &forward, &d_output, sizes),
    };
    let [dq, dk, dv] = gradients.map(|gradient| give(gradient.to_kind(kind).transpose(1, 2)));
    (dq, dk, dv)
}

fn is_fused(q: &Tensor<4>) -> bool {
    read(q).device() == Device::Cpu
}

/// `[batch, seq, heads, head_dim]` -> `[batch, heads, seq, head_dim]`, each head's values together.
fn by_head(x: &Tensor<4>) -> Torch {
    let x = read(x);
    let x = if x.stride()[3] == 1 { x } else { x.contiguous() };
    x.transpose(1, 2)
}

fn joined_forward(
    pieces: &[Piece],
    q: &Torch,
    k: &Torch,
    v: &Torch,
    sizes: Sizes,
) -> (Torch, Torch) {
    let output = q.empty_like();
    let log_sum = Torch::empty(&q.size()[..3], (Kind::Float, q.device()));
    for piece in pieces {
        let (part, part_log_sum) = piece.forward(q, k, v, sizes.scale());
        piece.queries_of(&output).copy_(&part);
        piece.queries_of(&log_sum).copy_(&part_log_sum);
    }
    (output, log_sum)
}

/// Chunks of one row see the same keys, so gradients of keys and values are summed.
fn joined_backward(
    pieces: &[Piece],
    forward: &Forward,
    d_output: &Torch,
    sizes: Sizes,
) -> [Torch; 3] {
    let dq = forward.q.empty_like();
    let (dk, dv) = (forward.k.zeros_like(), forward.v.zeros_like());
    for piece in pieces {
        let [part_dq, part_dk, part_dv] = piece.backward(forward, d_output, sizes.scale());
        piece.queries_of(&dq).copy_(&part_dq);
        let _ = piece.keys_of(&dk).g_add_(&part_dk);
        let _ = piece.keys_of(&dv).g_add_(&part_dv);
    }
    [dq, dk, dv]
}

/// Inputs and results of the forward, `[batch, heads, seq, ..]`.
struct Forward {
    q: Torch,
    k: Torch,
    v: Torch,
    output: Torch,
    log_sum: Torch,
}

/// What one call covers.
struct Piece {
    rows: Range<usize>,
    queries: Range<usize>,
    keys: Range<usize>,
    mask: Mask,
}

/// Which of a piece's keys its queries see.
enum Mask {
    All,
    /// The first query the first key, the second the first two, and so on.
    Causal,
    /// Those behind it in the row, from `first` on, `[batch, q_seq]`, where there is one.
    Behind {
        first: Option<Torch>,
    },
}

impl Piece {
    fn queries_of(&self, x: &Torch) -> Torch {
        narrowed(&narrowed(x, 0, &self.rows), 2, &self.queries)
    }

    fn keys_of(&self, x: &Torch) -> Torch {
        narrowed(&narrowed(x, 0, &self.rows), 2, &self.keys)
    }

    /// Whether ATen masks by itself, else what is added to the scores; made for each call, since
    /// the masks of all pieces would be quadratic in the sequence.
    fn mask(&self) -> (bool, Option<Torch>) {
        match &self.mask {
            Mask::All => (false, None),
            Mask::Causal => (true, None),
            Mask::Behind { first } => (false, Some(self.added(first.as_ref()))),
        }
    }

    /// Minus infinity where a key is ahead of the query or before the first that it sees, else
    /// zero: `[rows or 1, 1, queries, keys]`.
    fn added(&self, first: Option<&Torch>) -> Torch {
        let range = |from: usize, to: usize| {
            Torch::arange_start(from as i64, to as i64, (Kind::Int64, Device::Cpu))
        };
        let last = self.keys.end;
        let query = range(last - self.queries.len(), last).reshape([1, 1, -1, 1]);
        let key = range(0, last).reshape([1, 1, 1, -1]);
        let mut hidden = key.gt_tensor(&query);
        if let Some(first) = first {
            let first = narrowed(first, 1, &self.queries).unsqueeze(1).unsqueeze(3);
            hidden = hidden.logical_or(&key.lt_tensor(&first));
        }
        let mask = Torch::zeros(hidden.size(), (Kind::Float, Device::Cpu));
        mask.masked_fill(&hidden, f64::NEG_INFINITY)
    }

    /// `(output, log-sum-exp)` of the piece's queries.
    fn forward(&self, q: &Torch, k: &Torch, v: &Torch, scale: f64) -> (Torch, Torch) {
        let (is_causal, mask) = self.mask();
        Torch::internal_scaled_dot_product_flash_attention_for_cpu(
            &self.queries_of(q),
            &self.keys_of(k),
            &self.keys_of(v),
            0.0,
            is_causal,
            mask,
            scale,
        )
    }

    /// `(dq, dk, dv)` of the piece's queries and keys.
    fn backward(&self, forward: &Forward, d_output: &Torch, scale: f64) -> [Torch; 3] {
        let (is_causal, mask) = self.mask();
        let (dq, dk, dv) = Torch::internal_scaled_dot_product_flash_attention_for_cpu_backward(
            &self.queries_of(d_output),
            &self.queries_of(&forward.q),
            &self.keys_of(&forward.k),
            &self.keys_of(&forward.v),
            &self.queries_of(&forward.output),
            &self.queries_of(&forward.log_sum),
            0.0,
            is_causal,
            mask,
            scale,
        );
        [dq, dk, dv]
    }
}

fn narrowed(x: &Torch, dim: i64, range: &Range<usize>) -> Torch {
    x.narrow(dim, range.start as i64, range.len() as i64)
}

/// The calls that together cover all queries.
fn pieces(span: &Span, sizes: Sizes) -> Vec<Piece> {
    let Sizes { batch, q_seq, k_seq, .. } = sizes;
    let whole = |mask| vec![Piece { rows: 0..batch, queries: 0..q_seq, keys: 0..k_seq, mask }];
    match span {
        Span::Row if q_seq == k_seq => whole(Mask::Causal),
        Span::Row if q_seq == 1 => whole(Mask::All),
        Span::Row => masked_chunks(None, sizes),
        Span::Document { first } => {
            documents(first, sizes).unwrap_or_else(|| masked_chunks(Some(first), sizes))
        }
    }
}

/// One causal piece for each document; one for the whole batch where its rows agree.
///
/// None if the spans are something else than documents that begin in this call.
fn documents(first: &Tensor<2, Int>, sizes: Sizes) -> Option<Vec<Piece>> {
    let Sizes { batch, q_seq, .. } = sizes;
    let first = read_ids(first).to_kind(Kind::Int64).reshape([-1]);
    let first = Vec::<i64>::try_from(&first).expect("ids on one axis");
    assert_eq!(first.len(), batch * q_seq, "one document start for each query");
    let rows: Vec<Vec<usize>> = first.chunks_exact(q_seq).map(starts).collect::<Option<_>>()?;
    let is_same = rows.windows(2).all(|pair| pair[0] == pair[1]);
    let step = if is_same { batch } else { 1 };
    let pieces = rows.iter().enumerate().step_by(step).flat_map(|(row, starts)| {
        let ends = starts.iter().skip(1).copied().chain([q_seq]);
        starts.iter().zip(ends).map(move |(&start, end)| Piece {
            rows: row..row + step,
            queries: start..end,
            keys: start..end,
            mask: Mask::Causal,
        })
    });
    (sizes.offset() == 0).then(|| pieces.collect())
}

/// Where the documents of one row start, if every position names the start of its own.
fn starts(first: &[i64]) -> Option<Vec<usize>> {
    let mut starts = Vec::new();
    for (at, &first) in first.iter().enumerate() {
        let first = usize::try_from(first).ok()?;
        if first == at {
            starts.push(at);
        } else if starts.last() != Some(&first) {
            return None;
        }
    }
    Some(starts)
}

fn masked_chunks(first: Option<&Tensor<2, Int>>, sizes: Sizes) -> Vec<Piece> {
    let Sizes { batch, q_seq, .. } = sizes;
    let chunk = |start: usize| {
        let queries = start..(start + CHUNK).min(q_seq);
        let keys = 0..sizes.offset() + queries.end;
        Piece { rows: 0..batch, queries, keys, mask: Mask::Behind { first: first.map(read_ids) } }
    };
    (0..q_seq).step_by(CHUNK).map(chunk).collect()
}
