//! RMSNorm: output, output again, gradients of input and weight.

use neo_backends::resident::{
    card::{Address, Geometry, Kernel},
    sources,
};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format},
    random::Random,
};

/// Large enough to matter beside a mean square of about one.
const EPS: f32 = 0.25;

#[derive(Clone, Copy, Debug)]
struct Case {
    tokens: usize,
    d: usize,
    threads: u32,
    /// Of the backward: each takes every so many-th row.
    blocks: usize,
}

/// One number, no whole vector, idle threads, several rounds of a row, several rows of a block.
const CASES: [Case; 8] = [
    Case { tokens: 1, d: 1, threads: 32, blocks: 1 },
    Case { tokens: 3, d: 7, threads: 32, blocks: 3 },
    Case { tokens: 5, d: 8, threads: 32, blocks: 2 },
    Case { tokens: 9, d: 40, threads: 32, blocks: 4 },
    Case { tokens: 3, d: 333, threads: 32, blocks: 3 },
    Case { tokens: 4, d: 1096, threads: 64, blocks: 3 },
    Case { tokens: 2, d: 264, threads: 1024, blocks: 1 },
    Case { tokens: 7, d: 3072, threads: 192, blocks: 3 },
];

/// Inputs of a case, and what the norm is in f64.
struct Problem {
    x: Vec<f64>,
    w: Vec<f64>,
    dy: Vec<f64>,
    around: Vec<f64>,
    y: Vec<f64>,
    rstd: Vec<f64>,
    /// Without `around`.
    dx: Vec<f64>,
    dw: Vec<f64>,
}

impl Problem {
    fn new(element: Format, Case { tokens, d, .. }: Case) -> Self {
        let mut random = Random::new((tokens * d) as u64);
        let mut draw = |n, scale| element.normal(&mut random, n, scale);
        let [x, dy, around] = [1.0, 0.5, 1.0].map(|scale| draw(tokens * d, scale));
        let w = draw(d, 1.0);
        let (mut y, mut rstd, mut dx, mut dw) = (vec![], vec![], vec![], vec![0.0; d]);
        for (x, dy) in x.chunks_exact(d).zip(dy.chunks_exact(d)) {
            let mean = |f: &dyn Fn(usize) -> f64| (0..d).map(f).sum::<f64>() / d as f64;
            let r = (mean(&|i| x[i] * x[i]) + f64::from(EPS)).sqrt().recip();
            let along = mean(&|i| dy[i] * w[i] * x[i] * r);
            y.extend((0..d).map(|i| x[i] * r * w[i]));
            dx.extend((0..d).map(|i| r * (dy[i] * w[i] - x[i] * r * along)));
            (0..d).for_each(|i| dw[i] += dy[i] * x[i] * r);
            rstd.push(r);
        }
        Self { x, w, dy, around, y, rstd, dx, dw }
    }
}

#[test]
fn rms_norm_is_close() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            let problem = Problem::new(element, case);
            forward(bench, element, case, &problem);
            for place in [Place::Apart, Place::OfAround, Place::OfSlope] {
                backward(bench, element, case, &problem, place);
            }
        }
    });
}

fn forward(bench: &Bench, element: Format, case: Case, problem: &Problem) {
    let Case { tokens, d, threads, .. } = case;
    let kernel = |name| bench.kernel(&sources::RMS_NORM, element, name);
    let (forward, replay) = (kernel("rms_norm_forward"), kernel("rms_norm_replay"));
    let geometry = Geometry::line(tokens, threads);
    let inputs = || [input(element, &problem.x), input(element, &problem.w)];
    let [x, w] = inputs();
    let arrays = [x, w, output(element, tokens * d), output(F32, tokens)];
    let [y, rstd] = bench.run(arrays, |[x, w, y, rstd]| {
        let args = [x.into(), w.into(), y.into(), rstd.into(), d.into(), EPS.into()];
        bench.launch(forward, geometry, &args);
    });
    bench.close("rms_norm y", element, &y, &problem.y, &case);
    bench.close("rms_norm rstd", F32, &rstd, &problem.rstd, &case);
    let [x, w] = inputs();
    let arrays = [x, w, input(F32, &rstd), output(element, tokens * d)];
    let [again] = bench.run(arrays, |[x, w, rstd, y]| {
        let args = [x.into(), w.into(), rstd.into(), y.into(), d.into()];
        bench.launch(replay, geometry, &args);
    });
    bench.same("rms_norm_replay", &again, &y, &case);
}

/// Where the gradient of the input is left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Apart,
    /// Over what it is added to.
    OfAround,
    /// Over the gradient of the output, and added to nothing.
    OfSlope,
}

fn backward(bench: &Bench, element: Format, case: Case, problem: &Problem, place: Place) {
    let Case { tokens, d, threads, blocks } = case;
    let kernel = bench.kernel(&sources::RMS_NORM, element, "rms_norm_backward");
    let array = |values, is_changed| {
        if is_changed { changed(element, values) } else { input(element, values) }
    };
    let n_apart = if place == Place::Apart { tokens * d } else { 0 };
    let arrays = [
        input(element, &problem.x),
        input(element, &problem.w),
        input(F32, &problem.rstd),
        array(&problem.dy, place == Place::OfSlope),
        array(&problem.around, place == Place::OfAround),
        output(element, n_apart),
        output(F32, blocks * d),
    ];
    let at_once = if d.is_multiple_of(element.width()) { element.width() } else { 1 };
    let shared_bytes = 4 * d.next_multiple_of(at_once * threads as usize) as u32;
    let geometry = Geometry { grid: [blocks as u32, 1, 1], threads, shared_bytes };
    let work = |[x, w, rstd, dy, around, apart, partial]: [Address; 7]| {
        let (around, dx) = match place {
            Place::Apart => (around, apart),
            Place::OfAround => (around, around),
            Place::OfSlope => (Address::NULL, dy),
        };
        let inputs = [x, w, rstd, dy, around, dx, partial].map(Into::into);
        bench.launch(kernel, geometry, &[&inputs[..], &[d.into(), tokens.into()]].concat());
    };
    // Where there is nothing apart, that array is an empty result.
    let (dx, partial) = if place == Place::Apart {
        let [dx, partial] = bench.run(arrays, work);
        (dx, partial)
    } else {
        let [dx, _, partial] = bench.run(arrays, work);
        (dx, partial)
    };
    let expected: Vec<f64> = match place {
        Place::OfSlope => problem.dx.clone(),
        _ => problem.dx.iter().zip(&problem.around).map(|(a, b)| a + b).collect(),
    };
    bench.close("rms_norm dx", element, &dx, &expected, &(case, place));
    let weight = bench.kernel(&sources::RMS_NORM, element, "rms_norm_weight");
    let [dw] = join(bench, weight, &partial, d, None);
    bench.close("rms_norm dw", F32, &dw, &problem.dw, &(case, place));
}

/// The sum of the blocks' shares, added to what was there before.
fn join(
    bench: &Bench,
    kernel: Kernel,
    partial: &[f64],
    d: usize,
    before: Option<&[f64]>,
) -> [Vec<f64>; 1] {
    let dw = before.map_or_else(|| output(F32, d), |before| changed(F32, before));
    bench.run([input(F32, partial), dw], |[partial_at, dw]| {
        let blocks = partial.len() / d;
        let add = usize::from(before.is_some());
        let args = [partial_at.into(), dw.into(), blocks.into(), d.into(), add.into()];
        bench.launch(kernel, Geometry::line(d.div_ceil(32), 1024), &args);
    })
}

#[test]
fn shares_of_blocks_are_joined() {
    on_cards(|bench| {
        for case @ (blocks, d) in [(1, 1), (3, 33), (31, 64), (33, 31), (528, 70)] {
            let kernel = bench.kernel(&sources::RMS_NORM, F32, "rms_norm_weight");
            let mut random = Random::new(blocks as u64);
            let partial = F32.normal(&mut random, blocks * d, 1.0);
            let before = F32.normal(&mut random, d, 1.0);
            for before in [None, Some(&before[..])] {
                let [dw] = join(bench, kernel, &partial, d, before);
                let sum = |i| (0..blocks).map(|block| partial[block * d + i]).sum::<f64>();
                let expected: Vec<f64> =
                    (0..d).map(|i| sum(i) + before.map_or(0.0, |before| before[i])).collect();
                bench.close("rms_norm_weight", F32, &dw, &expected, &case);
            }
        }
    });
}
