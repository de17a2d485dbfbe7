//! Attention composed of products and the kernels between them, one head at a time, in f32.
//!
//! Itself held to the f64 loops on short rows, it is the reference of the flash kernels on long ones.

use neo_backends::{
    Precision,
    resident::{
        card::{Address, Arg, Geometry, Matrix, Product},
        sources,
    },
};

use super::{Problem, Shape, reference::Attention};
use crate::{
    arrays::{input, output, scratch},
    bench::{Bench, on_cards},
    numbers::{F32, I32},
};

#[test]
fn composed_attention_is_close() {
    let shape = Shape { batch: 2, seq: 37, heads: 3, kv_heads: 1, head_dim: 16, documents: true };
    let shapes = [
        shape,
        Shape { documents: false, heads: 4, kv_heads: 2, ..shape },
        Shape { seq: 1, heads: 1, ..shape },
        Shape { seq: 130, batch: 1, head_dim: 80, ..shape },
    ];
    on_cards(|bench| {
        for shape in shapes {
            let problem = Problem::new(shape, F32);
            let (found, expected) = (attend(bench, &problem), Attention::of(&problem));
            bench.close("composed out", F32, &found.out, &expected.out, &shape);
            bench.close("composed lse", F32, &found.lse, &expected.lse, &shape);
            bench.close("composed delta", F32, &found.delta, &expected.delta, &shape);
            bench.close("composed d_qkv", F32, &found.d_qkv, &expected.d_qkv, &shape);
        }
    });
}

/// Attention and its gradient, every head of every row on its own.
pub(super) fn attend(bench: &Bench, problem: &Problem) -> Attention {
    let shape = problem.shape;
    let mut attention = Attention {
        out: vec![0.0; problem.d_out.len()],
        lse: vec![],
        delta: vec![],
        d_qkv: vec![0.0; problem.qkv.len()],
    };
    for (batch, head) in (0..shape.batch * shape.heads).map(|i| (i / shape.heads, i % shape.heads))
    {
        let kv_head = head / (shape.heads / shape.kv_heads);
        let key = shape.query_width() + kv_head * shape.head_dim;
        let columns = [head * shape.head_dim, key, key + shape.key_width()];
        let part = |values: &[f64], row, column| take(values, shape, batch, row, column);
        let [q, k, v] = columns.map(|column| part(&problem.qkv, shape.row(), column));
        let d_out = part(&problem.d_out, shape.query_width(), columns[0]);
        let tokens = batch * shape.seq..(batch + 1) * shape.seq;
        let results = attend_head(bench, shape, [&q, &k, &v, &d_out], &problem.starts[tokens]);
        let [out, lse, delta, d_q, d_k, d_v] = results;
        add(&mut attention.out, &out, shape, batch, shape.query_width(), columns[0]);
        for (gradient, column) in [d_q, d_k, d_v].iter().zip(columns) {
            add(&mut attention.d_qkv, gradient, shape, batch, shape.row(), column);
        }
        attention.lse.extend(lse);
        attention.delta.extend(delta);
    }
    attention
}

/// `[seq, head_dim]` from a column of rows of `row` numbers.
fn take(values: &[f64], shape: Shape, batch: usize, row: usize, column: usize) -> Vec<f64> {
    let rows = values.chunks_exact(row).skip(batch * shape.seq).take(shape.seq);
    rows.flat_map(|row| row[column..column + shape.head_dim].to_vec()).collect()
}

/// Adds to where [`take`] takes from.
fn add(to: &mut [f64], values: &[f64], shape: Shape, batch: usize, row: usize, column: usize) {
    let rows = to.chunks_exact_mut(row).skip(batch * shape.seq);
    for (row, values) in rows.zip(values.chunks_exact(shape.head_dim)) {
        row[column..].iter_mut().zip(values).for_each(|(to, value)| *to += value);
    }
}

/// Output, log-sum-exp, row sums and gradients of queries, keys and values of one head.
fn attend_head(bench: &Bench, shape: Shape, inputs: [&[f64]; 4], starts: &[f64]) -> [Vec<f64>; 6] {
    let Shape { seq, head_dim, .. } = shape;
    let score_row = seq.next_multiple_of(8);
    let [q, k, v, d_out] = inputs.map(|values| input(F32, values));
    let [out, d_q, d_k, d_v] = [(); 4].map(|()| output(F32, seq * head_dim));
    let [scores, d_scores] = [(); 2].map(|()| scratch(F32, seq * score_row));
    let (lse, delta) = (output(F32, seq), output(F32, seq));
    let starts = input(I32, starts);
    let arrays = [q, k, v, d_out, starts, scores, d_scores, out, lse, delta, d_q, d_k, d_v];
    bench.run(
        arrays,
        |[q, k, v, d_out, starts, scores, d_scores, out, lse, delta, d_q, d_k, d_v]| {
            let heads = |at| Matrix::new(at, head_dim);
            let (scores_of, d_scores_of) =
                (Matrix::new(scores, score_row), Matrix::new(d_scores, score_row));
            let product = |size, a, b, out| multiply(bench, size, a, b, out);
            let (by_key, by_dim) = ([seq, seq, head_dim], [seq, head_dim, seq]);
            let softmax = Softmax { bench, shape, starts, score_row };
            product(by_key, heads(q), heads(k).t(), scores_of);
            softmax.launch("attention_softmax", &[scores, lse]);
            product(by_dim, scores_of, heads(v), heads(out));

            let kernel = bench.kernel(&sources::ATTENTION_COMPOSED, F32, "attention_delta");
            let sizes = [seq, 1, head_dim].map(Into::into);
            let args = [&[out, d_out, delta].map(Into::into)[..], &sizes].concat();
            bench.launch(kernel, Geometry::line(seq, 32), &args);
            product(by_key, heads(q), heads(k).t(), scores_of);
            product(by_key, heads(d_out), heads(v).t(), d_scores_of);
            softmax.launch("attention_softmax_backward", &[scores, d_scores, lse, delta]);
            // Now `scores` are the gradient of the products and `d_scores` the probabilities.
            product(by_dim, scores_of, heads(k), heads(d_q));
            product(by_dim, scores_of.t(), heads(q), heads(d_k));
            product(by_dim, d_scores_of.t(), heads(d_out), heads(d_v));
        },
    )
}

fn multiply(bench: &Bench, size: [usize; 3], a: Matrix, b: Matrix, out: Matrix) {
    let element = Precision::F32;
    let product = Product { size, a, b, out, add: None, element, out_element: element, batch: 1 };
    bench.card.multiply(&product).unwrap();
}

/// How the kernels between products are launched on all queries of a head.
struct Softmax<'a> {
    bench: &'a Bench,
    shape: Shape,
    starts: Address,
    score_row: usize,
}

impl Softmax<'_> {
    fn launch(&self, name: &str, arrays: &[Address]) {
        let kernel = self.bench.kernel(&sources::ATTENTION_COMPOSED, F32, name);
        let Shape { seq, documents, .. } = self.shape;
        let starts = if documents { self.starts } else { Address::NULL };
        let mut args: Vec<_> = arrays.iter().map(|&at| at.into()).collect();
        args.push(starts.into());
        // One chunk of all queries, one head.
        args.extend([0, seq, seq, self.score_row, seq, 1].map(Arg::from));
        args.push(self.shape.scale().into());
        let geometry = Geometry { grid: [1, seq as u32, 1], threads: 64, shared_bytes: 0 };
        self.bench.launch(kernel, geometry, &args);
    }
}
