//! The kernels between products: softmax of a chunk's scores, its gradient, and row sums.

use neo_backends::resident::{
    card::{Address, Arg, Geometry, Kernel},
    sources,
};

use super::{Problem, Shape, reference::row_sums};
use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format, I32},
    random::Random,
};

/// Queries `first..first + chunk` of every row and head.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    first: usize,
    chunk: usize,
    /// Numbers from one query's scores to the next's.
    row: usize,
    threads: u32,
}

const SHAPE: Shape =
    Shape { batch: 2, seq: 1, heads: 1, kv_heads: 1, head_dim: 16, documents: false };

/// One score, no whole vector, a chunk in the middle, several rounds of a row.
const CASES: [Case; 6] = [
    Case { shape: SHAPE, first: 0, chunk: 1, row: 1, threads: 32 },
    Case { shape: Shape { seq: 13, heads: 3, ..SHAPE }, first: 0, chunk: 13, row: 13, threads: 32 },
    Case {
        shape: Shape { seq: 37, heads: 2, ..SHAPE },
        first: 16,
        chunk: 16,
        row: 40,
        threads: 32,
    },
    Case {
        shape: Shape { seq: 37, documents: true, ..SHAPE },
        first: 32,
        chunk: 5,
        row: 40,
        threads: 64,
    },
    Case {
        shape: Shape { seq: 601, documents: true, ..SHAPE },
        first: 590,
        chunk: 11,
        row: 608,
        threads: 32,
    },
    Case { shape: Shape { seq: 601, ..SHAPE }, first: 598, chunk: 3, row: 601, threads: 256 },
];

#[test]
fn softmax_and_its_gradient_are_close() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            Chunk::new(element, case).check(bench);
        }
    });
}

/// Scores of a case and what they turn into, in f64.
struct Chunk {
    element: Format,
    case: Case,
    starts: Vec<f64>,
    /// `[batch * heads, chunk, row]`, NaN from the last key on.
    scores: Vec<f64>,
    d_probs: Vec<f64>,
    /// `[batch * heads, seq]`.
    lse: Vec<f64>,
    delta: Vec<f64>,
    probabilities: Vec<f64>,
    d_scores: Vec<f64>,
}

impl Chunk {
    fn new(element: Format, case: Case) -> Self {
        let Case { shape, first, chunk, row, .. } = case;
        let starts = Problem::new(shape, F32).starts;
        let mut random = Random::new((chunk * row) as u64);
        let (keys, n) = (first + chunk, shape.batch * shape.heads * chunk * row);
        let statistics = shape.batch * shape.heads * shape.seq;
        let mut draw = || -> Vec<f64> {
            let values = element.normal(&mut random, n, 5.0).into_iter().enumerate();
            values.map(|(i, x)| if i % row < keys { x } else { f64::NAN }).collect()
        };
        let (scores, d_probs) = (draw(), draw());
        let delta = F32.normal(&mut random, statistics, 1.0);
        let (lse, probabilities, d_scores) =
            (vec![f64::NAN; statistics], vec![0.0; n], vec![0.0; n]);
        let mut made =
            Self { element, case, starts, scores, d_probs, lse, delta, probabilities, d_scores };
        (0..shape.batch * shape.heads * chunk).for_each(|query| made.fill_query(query));
        made
    }

    fn fill_query(&mut self, query: usize) {
        let Case { shape, first, chunk, row, .. } = self.case;
        let (head, position) = (query / chunk, first + query % chunk);
        let start = self.starts[head / shape.heads * shape.seq + position] as usize;
        let scale = f64::from(shape.scale());
        let seen = query * row + start..query * row + position + 1;
        let sum: f64 = self.scores[seen.clone()].iter().map(|x| (x * scale).exp()).sum();
        let statistic = head * shape.seq + position;
        self.lse[statistic] = sum.ln();
        for i in seen {
            let p = (self.scores[i] * scale).exp() / sum;
            self.probabilities[i] = p;
            self.d_scores[i] = p * (self.d_probs[i] - self.delta[statistic]) * scale;
        }
    }

    fn check(&self, bench: &Bench) {
        let Self { element, case, .. } = *self;
        let kernel = |name| bench.kernel(&sources::ATTENTION_COMPOSED, element, name);
        let forward = kernel("attention_softmax");
        let backward = kernel("attention_softmax_backward");
        let arrays =
            [changed(element, &self.scores), output(F32, self.lse.len()), input(I32, &self.starts)];
        let [probabilities, lse] = bench.run(arrays, |[scores, lse, starts]| {
            self.launch(bench, forward, &[scores, lse], starts);
        });
        self.compare(bench, "attention_softmax", &probabilities, &self.probabilities);
        let written = |values: &[f64]| -> Vec<f64> {
            let pairs = values.iter().zip(&self.lse).filter(|(_, expected)| !expected.is_nan());
            pairs.map(|(value, _)| *value).collect()
        };
        bench.close("attention_softmax lse", F32, &written(&lse), &written(&self.lse), &case);
        let n_left = lse.iter().filter(|lse| lse.is_nan()).count();
        assert_eq!(lse.len() - n_left, written(&lse).len(), "only the chunk's are written");

        let arrays = [
            changed(element, &self.scores),
            changed(element, &self.d_probs),
            input(F32, &self.lse),
            input(F32, &self.delta),
            input(I32, &self.starts),
        ];
        let [d_scores, probabilities] =
            bench.run(arrays, |[scores, d_probs, lse, delta, starts]| {
                self.launch(bench, backward, &[scores, d_probs, lse, delta], starts);
            });
        self.compare(bench, "attention_softmax_backward", &d_scores, &self.d_scores);
        self.compare(bench, "probabilities again", &probabilities, &self.probabilities);
    }

    fn launch(&self, bench: &Bench, kernel: Kernel, arrays: &[Address], starts: Address) {
        let Case { shape, first, chunk, row, threads } = self.case;
        let starts = if shape.documents { starts } else { Address::NULL };
        let sizes = [first, chunk, first + chunk, row, shape.seq, shape.heads];
        let mut args: Vec<_> = arrays.iter().map(|&at| at.into()).collect();
        args.push(starts.into());
        args.extend(sizes.map(Arg::from));
        args.push(shape.scale().into());
        let grid = [(shape.batch * shape.heads) as u32, chunk as u32, 1];
        bench.launch(kernel, Geometry { grid, threads, shared_bytes: 0 }, &args);
    }

    /// Compares the columns that are used, and exactly those that a query does not see.
    fn compare(&self, bench: &Bench, what: &'static str, found: &[f64], expected: &[f64]) {
        let Case { first, chunk, row, .. } = self.case;
        let used = |values: &[f64]| -> Vec<f64> {
            values.chunks_exact(row).flat_map(|row| row[..first + chunk].to_vec()).collect()
        };
        let (found, expected) = (used(found), used(expected));
        bench.close(what, self.element, &found, &expected, &self.case);
        let seen = used(&self.probabilities);
        let unseen: Vec<f64> =
            found.iter().zip(&seen).filter(|(_, p)| **p == 0.0).map(|(x, _)| *x).collect();
        bench.same(what, &unseen, &vec![0.0; unseen.len()], &self.case);
    }
}

#[test]
fn row_sums_are_close() {
    on_cards(|bench| {
        let shapes = [(1, 1, 1, 32), (5, 3, 16, 32), (7, 4, 10, 64), (3, 9, 264, 256)];
        for (element, case) in ELEMENTS.iter().flat_map(|&e| shapes.map(|case| (e, case))) {
            let (seq, heads, head_dim, threads) = case;
            let kernel = bench.kernel(&sources::ATTENTION_COMPOSED, element, "attention_delta");
            let (tokens, width) = (2 * seq, heads * head_dim);
            let mut random = Random::new(width as u64);
            let [out, d_out] = [(); 2].map(|()| element.normal(&mut random, tokens * width, 1.0));
            let arrays =
                [input(element, &out), input(element, &d_out), output(F32, tokens * heads)];
            let [delta] = bench.run(arrays, |[out, d_out, delta]| {
                let sizes = [seq, heads, head_dim].map(Into::into);
                let args = [&[out, d_out, delta].map(Into::into)[..], &sizes].concat();
                bench.launch(kernel, Geometry::line(tokens, threads), &args);
            });
            let shape = Shape { batch: 2, seq, heads, kv_heads: heads, head_dim, documents: false };
            let expected = row_sums(shape, &out, &d_out);
            bench.close("attention_delta composed", F32, &delta, &expected, &case);
        }
    });
}
