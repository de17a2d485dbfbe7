//! The update, with moments in either format and with or without a copy of the weights.

use neo_backends::resident::{
    card::{Address, Geometry},
    sources,
};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format},
    random::Random,
};

/// 1 - rate * decay, rate, both betas each with what is left to 1, 1 / sqrt(correction), eps: such that
/// each of them is seen in the result.
const SETTINGS: [f64; 8] = [0.9, 0.3, 0.9, 0.1, 0.95, 0.05, 1.5, 0.01];
/// What clips the gradient.
const SCALE: f64 = 0.75;

#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    /// Elements from here on are not decayed.
    decayed: usize,
    blocks: usize,
    threads: u32,
    has_copy: bool,
}

/// No whole vector, a border inside a vector, two vectors at once, several rounds and a rest.
const CASES: [Case; 7] = [
    Case { n: 1, decayed: 1, blocks: 1, threads: 32, has_copy: true },
    Case { n: 3, decayed: 0, blocks: 2, threads: 32, has_copy: false },
    Case { n: 4, decayed: 2, blocks: 1, threads: 32, has_copy: true },
    Case { n: 259, decayed: 129, blocks: 1, threads: 32, has_copy: true },
    Case { n: 1801, decayed: 1800, blocks: 2, threads: 32, has_copy: false },
    Case { n: 5003, decayed: 2502, blocks: 3, threads: 64, has_copy: true },
    Case { n: 200_001, decayed: 150_000, blocks: 24, threads: 256, has_copy: true },
];

#[test]
fn adamw_is_close() {
    on_cards(|bench| {
        for (element, moment) in ELEMENTS.iter().flat_map(|&e| ELEMENTS.map(|m| (e, m))) {
            for case in CASES {
                check(bench, element, moment, case);
            }
        }
    });
}

#[test]
fn a_norm_that_is_not_finite_changes_nothing() {
    on_cards(|bench| {
        for (moment, norm) in
            ELEMENTS.iter().flat_map(|&m| [f64::NAN, f64::INFINITY].map(|n| (m, n)))
        {
            let case = CASES[3];
            let before = Arrays::new(moment, case.n);
            let after = update(bench, F32, moment, case, &before, [norm, 0.0]);
            let [weight, exp_avg, exp_avg_sq, copy] = after;
            bench.same("weight", &weight, &before.weight, &norm);
            bench.same("exp_avg", &exp_avg, &before.exp_avg, &norm);
            bench.same("exp_avg_sq", &exp_avg_sq, &before.exp_avg_sq, &norm);
            bench.same("copy", &copy, &vec![f64::NAN; case.n], &norm);
        }
    });
}

/// What an update reads.
struct Arrays {
    weight: Vec<f64>,
    exp_avg: Vec<f64>,
    exp_avg_sq: Vec<f64>,
    gradient: Vec<f64>,
}

impl Arrays {
    fn new(moment: Format, n: usize) -> Self {
        let mut random = Random::new(n as u64);
        let weight = F32.normal(&mut random, n, 1.0);
        let exp_avg = moment.normal(&mut random, n, 1.0);
        let exp_avg_sq = moment.normal(&mut random, n, 1.0).iter().map(|x| x.abs()).collect();
        Self { weight, exp_avg, exp_avg_sq, gradient: F32.normal(&mut random, n, 2.0) }
    }
}

fn check(bench: &Bench, element: Format, moment: Format, case: Case) {
    let before = Arrays::new(moment, case.n);
    let after = update(bench, element, moment, case, &before, [3.0, SCALE]);
    let [weight, exp_avg, exp_avg_sq, copy] = after;
    let settings = F32.all_rounded(&SETTINGS);
    let [keep, rate, beta1, rest1, beta2, rest2, root, eps] = settings.try_into().unwrap();
    let mut expected = Arrays::new(moment, case.n);
    for i in 0..case.n {
        let g = before.gradient[i] * SCALE;
        let m = beta1 * before.exp_avg[i] + rest1 * g;
        let v = beta2 * before.exp_avg_sq[i] + rest2 * g * g;
        let keep = if i < case.decayed { keep } else { 1.0 };
        expected.weight[i] = before.weight[i] * keep - rate * m / (v.sqrt() * root + eps);
        (expected.exp_avg[i], expected.exp_avg_sq[i]) = (m, v);
    }
    bench.close("adamw weight", F32, &weight, &expected.weight, &(moment, case));
    bench.close("adamw exp_avg", moment, &exp_avg, &expected.exp_avg, &case);
    bench.close("adamw exp_avg_sq", moment, &exp_avg_sq, &expected.exp_avg_sq, &case);
    let copied = if case.has_copy { element.all_rounded(&weight) } else { vec![f64::NAN; case.n] };
    bench.same("copy", &copy, &copied, &(element, case));
}

/// Weights, moments and copy after an update.
fn update(
    bench: &Bench,
    element: Format,
    moment: Format,
    Case { n, decayed, blocks, threads, has_copy }: Case,
    before: &Arrays,
    norm_and_scale: [f64; 2],
) -> [Vec<f64>; 4] {
    let macros = [("ELEMENT", element.c_name()), ("MOMENT", moment.c_name())];
    let kernel = bench.card.kernels(&sources::ADAMW, &macros, &["adamw"]).unwrap()[0];
    let arrays = [
        changed(F32, &before.weight),
        changed(moment, &before.exp_avg),
        changed(moment, &before.exp_avg_sq),
        input(F32, &before.gradient),
        output(element, n),
        input(F32, &SETTINGS),
        input(F32, &norm_and_scale),
    ];
    bench.run(arrays, |[weight, exp_avg, exp_avg_sq, gradient, copy, settings, norm]| {
        let copy = if has_copy { copy } else { Address::NULL };
        let args = [
            weight.into(),
            exp_avg.into(),
            exp_avg_sq.into(),
            gradient.into(),
            copy.into(),
            (n as u64).into(),
            (decayed as u64).into(),
            settings.into(),
            norm.into(),
        ];
        bench.launch(kernel, Geometry::line(blocks, threads), &args);
    })
}
