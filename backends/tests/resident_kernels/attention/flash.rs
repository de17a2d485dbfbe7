//! The flash kernels for Hopper, each on its own: output and log-sum-exp, row sums, gradients.
//!
//! Head sizes are those that the kernels are tuned for, one far below and one between. Every head size
//! meets every length, with documents and without, and every number of heads; so do length and heads.

use neo_backends::resident::{
    attention_launches,
    card::{Address, Arg, Geometry, Kernel, TensorMap, TiledArray},
    sources,
};

use super::{
    Problem, Shape,
    reference::{Attention, row_sums},
};
use crate::{
    arrays::{input, output},
    bench::{Bench, on_cards},
    numbers::{Bf16, F32, I32},
};

/// Kernels in the order of their table.
const NAMES: [&str; 4] = [
    "attention_forward",
    "attention_delta",
    "attention_backward_key_value",
    "attention_backward_query",
];

/// Query heads and key heads: one of each, pairs that share, three that share.
const HEADS: [(usize, usize); 3] = [(1, 1), (4, 2), (3, 1)];
/// One position, less than a tile of any kernel, one tile of some, more, and a last tile of one row.
const LENGTHS: [usize; 5] = [1, 7, 64, 100, 257];

#[test]
fn flash_attention_of_16() {
    check_head_dim(16, 0);
}

#[test]
fn flash_attention_of_64() {
    check_head_dim(64, 1);
}

#[test]
fn flash_attention_of_80() {
    check_head_dim(80, 2);
}

#[test]
fn flash_attention_of_128() {
    check_head_dim(128, 0);
}

#[test]
fn flash_attention_of_192() {
    check_head_dim(192, 1);
}

#[test]
fn flash_attention_of_256() {
    check_head_dim(256, 2);
}

/// Every length with and without documents, the numbers of heads in turn from `turn` on.
fn check_head_dim(head_dim: usize, turn: usize) {
    on_cards(|bench| {
        let Some(flash) = Flash::compile(bench, head_dim) else { return };
        let cases = LENGTHS.iter().flat_map(|&seq| [(seq, false), (seq, true)]);
        for ((seq, documents), turn) in cases.zip(turn..) {
            let (heads, kv_heads) = HEADS[turn % HEADS.len()];
            // A second row shows that rows do not see each other; long ones are slow to emulate.
            let batch = if seq <= 100 { 2 } else { 1 };
            let shape = Shape { batch, seq, heads, kv_heads, head_dim, documents };
            flash.check(&Problem::new(shape, Bf16));
        }
    });
}

/// A kernel, and how it is launched: `AttentionLaunch` in `attention_sm90.cu`.
#[derive(Clone, Copy)]
struct Launch {
    kernel: Kernel,
    rows: u32,
    streamed: u32,
    threads: u32,
    shared_bytes: u32,
}

/// The kernels for one head size on one card.
pub(super) struct Flash<'a> {
    bench: &'a Bench,
    forward: Launch,
    delta: Launch,
    key_value: Launch,
    query: Launch,
}

/// Arrays of a problem on the card.
#[derive(Clone, Copy)]
struct Inputs {
    qkv: Address,
    d_out: Address,
    starts: Address,
    ends: Address,
}

impl<'a> Flash<'a> {
    /// Nothing on a card without Hopper's matrix units.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub(super) fn compile(bench: &'a Bench, head_dim: usize) -> Option<Self> {
        if bench.card.capability().0 != 9 {
            eprintln!("skipped: flash attention on a card of {:?}", bench.card.capability());
            return None;
        }
        let macros = [("HEAD_DIM", head_dim.to_string())];
        let source = &sources::ATTENTION_SM90;
        let kernels = bench.card.kernels(source, &macros, &NAMES).unwrap();
        let table = attention_launches(&*bench.card, head_dim).unwrap();
        let launch = |index: usize| {
            let [rows, streamed, threads, shared_bytes] = table[index];
            Launch { kernel: kernels[index], rows, streamed, threads, shared_bytes }
        };
        let [forward, delta, key_value, query] = [0, 1, 2, 3].map(launch);
        Some(Self { bench, forward, delta, key_value, query })
    }

    /// Each kernel gets what the reference says of those before it.
    fn check(&self, problem: &Problem) {
        let (bench, shape, expected) = (self.bench, problem.shape, Attention::of(problem));
        let statistics = expected.lse.len();
        let [out, lse] = bench.run(
            [
                input(Bf16, &problem.qkv),
                input(I32, &problem.starts),
                output(Bf16, expected.out.len()),
                output(F32, statistics),
            ],
            |[qkv, starts, out, lse]| self.forward(shape, qkv, starts, out, lse),
        );
        bench.close("flash out", Bf16, &out, &expected.out, &shape);
        bench.close("flash lse", F32, &lse, &expected.lse, &shape);

        let rounded = Bf16.all_rounded(&expected.out);
        let [delta] = bench.run(
            [input(Bf16, &rounded), input(Bf16, &problem.d_out), output(F32, statistics)],
            |[out, d_out, delta]| self.delta(shape, out, d_out, delta),
        );
        let sums = row_sums(shape, &rounded, &problem.d_out);
        bench.close("flash delta", F32, &delta, &sums, &shape);
        self.check_gradients(problem, &expected);
    }

    fn check_gradients(&self, problem: &Problem, expected: &Attention) {
        let (bench, shape) = (self.bench, problem.shape);
        let arrays = || {
            [
                input(Bf16, &problem.qkv),
                input(Bf16, &problem.d_out),
                input(I32, &problem.starts),
                input(I32, &problem.ends),
                input(F32, &expected.lse),
                input(F32, &expected.delta),
                output(Bf16, problem.qkv.len()),
            ]
        };
        let inputs = |[qkv, d_out, starts, ends]: [Address; 4]| Inputs { qkv, d_out, starts, ends };
        let [query, key, value] = shape.parts(&expected.d_qkv);
        let untouched = |found: &[f64]| {
            bench.same("other gradients", found, &vec![f64::NAN; found.len()], &shape);
        };
        let [d_qkv] = bench.run(arrays(), |[qkv, d_out, starts, ends, lse, delta, d_qkv]| {
            self.key_value(shape, inputs([qkv, d_out, starts, ends]), [lse, delta], d_qkv);
        });
        let [d_query, d_key, d_value] = shape.parts(&d_qkv);
        bench.close("flash d_key", Bf16, &d_key, &key, &shape);
        bench.close("flash d_value", Bf16, &d_value, &value, &shape);
        untouched(&d_query);

        let [d_qkv] = bench.run(arrays(), |[qkv, d_out, starts, ends, lse, delta, d_qkv]| {
            self.query(shape, inputs([qkv, d_out, starts, ends]), [lse, delta], d_qkv);
        });
        let [d_query, d_key, d_value] = shape.parts(&d_qkv);
        bench.close("flash d_query", Bf16, &d_query, &query, &shape);
        untouched(&[d_key, d_value].concat());
    }

    /// All kernels one after the other, each from what the one before has left.
    pub(super) fn attend(&self, problem: &Problem) -> Attention {
        let shape = problem.shape;
        let statistics = shape.tokens() * shape.heads;
        let arrays = [
            input(Bf16, &problem.qkv),
            input(Bf16, &problem.d_out),
            input(I32, &problem.starts),
            input(I32, &problem.ends),
            output(Bf16, problem.d_out.len()),
            output(F32, statistics),
            output(F32, statistics),
            output(Bf16, problem.qkv.len()),
        ];
        let work = |[qkv, d_out, starts, ends, out, lse, delta, d_qkv]: [Address; 8]| {
            let inputs = Inputs { qkv, d_out, starts, ends };
            self.forward(shape, qkv, starts, out, lse);
            self.delta(shape, out, d_out, delta);
            self.key_value(shape, inputs, [lse, delta], d_qkv);
            self.query(shape, inputs, [lse, delta], d_qkv);
        };
        let [out, lse, delta, d_qkv] = self.bench.run(arrays, work);
        Attention { out, lse, delta, d_qkv }
    }

    fn forward(&self, shape: Shape, qkv: Address, starts: Address, out: Address, lse: Address) {
        let Launch { kernel, rows: own, streamed, .. } = self.forward;
        let maps = self.maps(shape, qkv, [own, streamed, streamed]);
        let mut args: Vec<Arg> = maps.map(Into::into).into();
        args.extend([out, lse, limits(shape, starts)].map(Arg::from));
        args.extend(sizes(shape));
        self.bench.launch(kernel, self.forward.geometry(shape, shape.heads), &args);
    }

    fn delta(&self, shape: Shape, out: Address, d_out: Address, delta: Address) {
        let Launch { kernel, rows, threads, .. } = self.delta;
        let mut args: Vec<Arg> = [out, d_out, delta].map(Arg::from).into();
        args.extend([shape.seq, shape.heads].map(Arg::from));
        let blocks = (shape.seq * shape.heads).div_ceil(rows as usize) as u32;
        let grid = [blocks, shape.batch as u32, 1];
        self.bench.launch(kernel, Geometry { grid, threads, shared_bytes: 0 }, &args);
    }

    fn key_value(&self, shape: Shape, inputs: Inputs, statistics: [Address; 2], d_qkv: Address) {
        let Launch { kernel, rows: own, streamed, .. } = self.key_value;
        let mut args: Vec<Arg> =
            self.maps(shape, inputs.qkv, [streamed, own, own]).map(Into::into).into();
        args.push(self.d_out_map(shape, inputs.d_out, streamed).into());
        args.extend(statistics.map(Arg::from));
        let d_key = d_qkv.offset(2 * shape.query_width());
        let d_value = d_key.offset(2 * shape.key_width());
        args.extend([limits(shape, inputs.ends), d_key, d_value].map(Arg::from));
        args.push(shape.row().into());
        args.extend(sizes(shape));
        self.bench.launch(kernel, self.key_value.geometry(shape, shape.kv_heads), &args);
    }

    fn query(&self, shape: Shape, inputs: Inputs, statistics: [Address; 2], d_qkv: Address) {
        let Launch { kernel, rows: own, streamed, .. } = self.query;
        let mut args: Vec<Arg> =
            self.maps(shape, inputs.qkv, [own, streamed, streamed]).map(Into::into).into();
        args.push(self.d_out_map(shape, inputs.d_out, own).into());
        args.extend(statistics.map(Arg::from));
        args.extend([limits(shape, inputs.starts), d_qkv].map(Arg::from));
        args.push(shape.row().into());
        args.extend(sizes(shape));
        self.bench.launch(kernel, self.query.geometry(shape, shape.heads), &args);
    }

    /// Queries, keys and values in boxes of so many positions.
    fn maps(&self, shape: Shape, qkv: Address, rows: [u32; 3]) -> [TensorMap; 3] {
        let key = qkv.offset(2 * shape.query_width());
        let value = key.offset(2 * shape.key_width());
        let heads = [(qkv, shape.heads), (key, shape.kv_heads), (value, shape.kv_heads)];
        [0, 1, 2].map(|i| self.map(shape, heads[i].0, heads[i].1, shape.row(), rows[i]))
    }

    fn d_out_map(&self, shape: Shape, d_out: Address, rows: u32) -> TensorMap {
        self.map(shape, d_out, shape.heads, shape.query_width(), rows)
    }

    fn map(&self, shape: Shape, at: Address, heads: usize, row: usize, rows: u32) -> TensorMap {
        let (head_dim, seq, row_bytes) = (shape.head_dim as u64, shape.seq as u64, 2 * row as u64);
        let array = TiledArray {
            at,
            dims: [head_dim, heads as u64, seq, shape.batch as u64],
            strides: [2 * head_dim, row_bytes, seq * row_bytes],
            tile: [64, 1, rows, 1],
        };
        self.bench.card.tensor_map(&array).unwrap()
    }
}

impl Launch {
    fn geometry(&self, shape: Shape, heads: usize) -> Geometry {
        let blocks = shape.seq.div_ceil(self.rows as usize) * heads * shape.batch;
        let Self { threads, shared_bytes, .. } = *self;
        Geometry { grid: [blocks as u32, 1, 1], threads, shared_bytes }
    }
}

/// Where documents begin or end, or nothing where a row is one.
fn limits(shape: Shape, at: Address) -> Address {
    if shape.documents { at } else { Address::NULL }
}

/// The last arguments of the kernels.
fn sizes(shape: Shape) -> [Arg; 5] {
    [
        shape.batch.into(),
        shape.seq.into(),
        shape.heads.into(),
        shape.kv_heads.into(),
        shape.scale().into(),
    ]
}
