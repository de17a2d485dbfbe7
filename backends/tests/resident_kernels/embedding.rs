//! Rows of the embedding by id, and gradients summed into them.

use std::collections::BTreeMap;

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format, I32},
    random::Random,
};

const VOCAB: usize = 23;
/// Threads of a block for frequent ids, as `embedding.cu` asks for.
const FREQUENT_THREADS: u32 = 512;

/// `(tokens, d, threads)`.
const FORWARD: [(usize, usize, u32); 5] =
    [(1, 1, 32), (3, 7, 32), (5, 40, 32), (4, 520, 32), (7, 264, 256)];

#[test]
fn rows_are_copied() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| FORWARD.map(|case| (e, case))) {
            forward(bench, element, case);
        }
    });
}

fn forward(bench: &Bench, element: Format, case @ (tokens, d, threads): (usize, usize, u32)) {
    let kernel = bench.kernel(&sources::EMBEDDING, element, "embedding_forward");
    let mut random = Random::new(d as u64);
    let table = element.normal(&mut random, VOCAB * d, 1.0);
    let ids: Vec<usize> = (0..tokens).map(|_| random.below(VOCAB)).collect();
    let arrays = [input(I32, &integers(&ids)), input(element, &table), output(element, tokens * d)];
    let [x] = bench.run(arrays, |[ids, w, x]| {
        let args = [ids.into(), w.into(), x.into(), d.into()];
        bench.launch(kernel, Geometry::line(tokens, threads), &args);
    });
    let expected: Vec<f64> =
        ids.iter().flat_map(|&id| table[id * d..(id + 1) * d].to_vec()).collect();
    bench.same("embedding_forward", &x, &expected, &(element, case));
}

/// Tokens of each id, width, and threads of a block for ids that are not frequent.
#[derive(Clone, Copy, Debug)]
struct Case {
    counts: &'static [usize],
    d: usize,
    threads: u32,
}

/// More than 64 tokens make an id frequent: none, one, the edge, neighbours, two that fall to the same
/// block.
const BACKWARD: [Case; 7] = [
    Case { counts: &[1], d: 1, threads: 32 },
    Case { counts: &[3, 1, 2], d: 7, threads: 32 },
    Case { counts: &[64, 65], d: 40, threads: 32 },
    Case { counts: &[2, 70, 200, 1, 66], d: 24, threads: 64 },
    Case { counts: &[600, 5], d: 33, threads: 64 },
    Case { counts: &[130, 1, 64], d: 520, threads: 32 },
    Case { counts: &[70, 1, 1, 1, 1, 80, 1], d: 40, threads: 32 },
];

#[test]
fn gradients_are_added_by_id() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| BACKWARD.map(|case| (e, case))) {
            backward(bench, element, case);
        }
    });
}

fn backward(bench: &Bench, element: Format, case: Case) {
    let Case { counts, d, threads } = case;
    let rare = bench.kernel(&sources::EMBEDDING, element, "embedding_backward");
    let frequent = bench.kernel(&sources::EMBEDDING, element, "embedding_backward_frequent");
    let mut random = Random::new(d as u64);
    let ids = shuffled_ids(&mut random, counts);
    let tokens = ids.len();
    let dx = element.normal(&mut random, tokens * d, 1.0);
    let before = F32.normal(&mut random, VOCAB * d, 1.0);
    let [rows, first, order] = by_id(&ids);
    let at_once = if d.is_multiple_of(element.width()) { element.width() } else { 1 };
    let arrays = [
        input(I32, &rows),
        input(I32, &first),
        input(I32, &order),
        input(element, &dx),
        changed(F32, &before),
    ];
    let [dw] = bench.run(arrays, |[rows, first, order, dx, dw]| {
        let mut args =
            vec![rows.into(), first.into(), order.into(), dx.into(), dw.into(), d.into()];
        bench.launch(rare, Geometry::line(tokens, threads), &args);
        args.push(tokens.into());
        let grid = [tokens.div_ceil(32) as u32, d.div_ceil(32 * at_once) as u32, 1];
        let geometry = Geometry { grid, threads: FREQUENT_THREADS, shared_bytes: 0 };
        bench.launch(frequent, geometry, &args);
    });
    let mut expected = before.clone();
    for (token, id) in ids.iter().enumerate() {
        (0..d).for_each(|i| expected[id * d + i] += dx[token * d + i]);
    }
    bench.close("embedding_backward", F32, &dw, &expected, &(element, case));
    for id in (0..VOCAB).filter(|id| !ids.contains(id)) {
        let row = id * d..(id + 1) * d;
        bench.same("row without tokens", &dw[row.clone()], &before[row], &(element, case));
    }
}

/// Every second id of the vocabulary so many times, in any order.
fn shuffled_ids(random: &mut Random, counts: &[usize]) -> Vec<usize> {
    let ids = counts.iter().enumerate().flat_map(|(i, &count)| vec![2 * i + 1; count]);
    let mut keyed: Vec<_> = ids.map(|id| (random.below(1 << 30), id)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, id)| id).collect()
}

/// Distinct ids, then -1; where each one's tokens begin; tokens by id.
fn by_id(ids: &[usize]) -> [Vec<f64>; 3] {
    let mut tokens_of = BTreeMap::<usize, Vec<usize>>::new();
    for (token, &id) in ids.iter().enumerate() {
        tokens_of.entry(id).or_default().push(token);
    }
    let (mut rows, mut first, mut order) = (Vec::new(), Vec::new(), Vec::new());
    // The order of the ids is free.
    for (id, tokens) in tokens_of.iter().rev() {
        rows.push(*id as f64);
        first.push(order.len() as f64);
        order.extend(integers(tokens));
    }
    rows.resize(ids.len(), -1.0);
    first.resize(ids.len() + 1, ids.len() as f64);
    [rows, first, order]
}

fn integers(values: &[usize]) -> Vec<f64> {
    values.iter().map(|&value| value as f64).collect()
}
