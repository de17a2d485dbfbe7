//! Rotary position embedding in place, both ways.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{changed, input},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format},
    random::Random,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    seq: usize,
    /// Heads that are turned.
    heads: usize,
    /// Heads behind them that are not.
    left_heads: usize,
    half: usize,
    threads: u32,
}

/// One pair, no whole vector, whole ones, rows that begin between vectors, several rounds.
const CASES: [Case; 6] = [
    Case { rows: 1, seq: 1, heads: 1, left_heads: 0, half: 1, threads: 32 },
    Case { rows: 2, seq: 3, heads: 3, left_heads: 1, half: 5, threads: 32 },
    Case { rows: 2, seq: 5, heads: 4, left_heads: 2, half: 8, threads: 32 },
    Case { rows: 3, seq: 7, heads: 5, left_heads: 1, half: 64, threads: 32 },
    Case { rows: 1, seq: 4, heads: 2, left_heads: 1, half: 40, threads: 256 },
    Case { rows: 1, seq: 3, heads: 7, left_heads: 3, half: 6, threads: 64 },
];

#[test]
fn rope_turns_queries_and_keys() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            for sign in [1.0, -1.0] {
                check(bench, element, case, sign);
            }
        }
    });
}

fn check(bench: &Bench, element: Format, case: Case, sign: f32) {
    let Case { rows, seq, heads, left_heads, half, threads } = case;
    let kernel = bench.kernel(&sources::ROPE, element, "rope");
    let mut random = Random::new((seq * half) as u64);
    let (tokens, row) = (rows * seq, (heads + left_heads) * 2 * half);
    let qkv = element.normal(&mut random, tokens * row, 1.0);
    let angles = F32.normal(&mut random, seq * half, 3.0);
    let [cos, sin] = [f64::cos, f64::sin]
        .map(|f| angles.iter().map(|&angle| F32.rounded(f(angle))).collect::<Vec<_>>());
    let arrays = [changed(element, &qkv), input(F32, &cos), input(F32, &sin)];
    let [turned] = bench.run(arrays, |[qkv, cos, sin]| {
        let sizes = [seq, row, heads, half].map(Into::into);
        let args = [&[qkv.into(), cos.into(), sin.into()][..], &sizes, &[sign.into()]].concat();
        bench.launch(kernel, Geometry::line(tokens, threads), &args);
    });
    let mut expected = qkv.clone();
    for (token, head, i) in places(tokens, heads, half) {
        let (first, angle) = (token * row + head * 2 * half + i, token % seq * half + i);
        let (a, b) = (qkv[first], qkv[first + half]);
        let (cos, sin) = (cos[angle], f64::from(sign) * sin[angle]);
        expected[first] = a * cos - b * sin;
        expected[first + half] = b * cos + a * sin;
    }
    bench.close("rope", element, &turned, &expected, &(case, sign));
    let left = |values: &[f64]| -> Vec<f64> {
        values.chunks_exact(row).flat_map(|row| row[heads * 2 * half..].to_vec()).collect()
    };
    bench.same("values", &left(&turned), &left(&qkv), &(case, sign));
}

fn places(tokens: usize, heads: usize, half: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..tokens * heads * half).map(move |n| (n / half / heads, n / half % heads, n % half))
}
