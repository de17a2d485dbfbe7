//! The norm of all gradients and the factor that clips it.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{input, output},
    bench::{Bench, on_cards},
    numbers::{F32, F64},
    random::Random,
};

/// `(n, blocks, threads)`: no whole vector, a rest, runs of vectors and what is left of them.
const CASES: [(usize, usize, u32); 6] =
    [(1, 1, 32), (3, 2, 32), (4, 1, 32), (1027, 3, 32), (6001, 2, 64), (40_003, 33, 256)];

#[test]
fn norm_and_scale_are_close() {
    on_cards(|bench| {
        for case @ (n, ..) in CASES {
            let g = F32.normal(&mut Random::new(n as u64), n, 2.0);
            let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
            for clip in [0.5, 1e6] {
                let [found, scale] = norm_and_scale(bench, case, &g, clip);
                bench.close("grad_norm norm", F32, &[found], &[norm], &(case, clip));
                let expected = (f64::from(clip) / norm).min(1.0);
                bench.close("grad_norm scale", F32, &[scale], &[expected], &(case, clip));
            }
        }
    });
}

#[test]
fn a_norm_that_is_not_finite_scales_by_zero() {
    on_cards(|bench| {
        for bad in [f64::INFINITY, f64::NAN] {
            let case = (1027, 3, 32);
            let mut g = F32.normal(&mut Random::new(1), case.0, 1.0);
            g[1026] = bad;
            let [norm, scale] = norm_and_scale(bench, case, &g, 1.0);
            assert!(!norm.is_finite() && scale == 0.0, "{norm} {scale} of {bad}");
        }
    });
}

#[test]
fn sums_keep_digits_that_f32_has_not() {
    on_cards(|bench| {
        // What each thread sees first is so large that of the rest, run after run, f32 keeps nothing.
        let (n, case) = (200_000, (200_000, 1, 32));
        let mut g = vec![F32.rounded(0.9); n];
        g[..4 * 32].fill(1e4);
        let norm = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        let [found, _] = norm_and_scale(bench, case, &g, 1.0);
        bench.close("grad_norm norm", F32, &[found], &[norm], &case);
    });
}

/// Also compares the blocks' shares.
fn norm_and_scale(
    bench: &Bench,
    case @ (n, blocks, threads): (usize, usize, u32),
    g: &[f64],
    clip: f32,
) -> [f64; 2] {
    let kernel = |name| bench.kernel(&sources::GRAD_NORM, F32, name);
    let (squares, norm) = (kernel("sum_of_squares"), kernel("grad_norm"));
    let arrays = [input(F32, g), output(F64, blocks), output(F32, 2)];
    let [partial, norm_and_scale] = bench.run(arrays, |[g, partial, norm_and_scale]| {
        let args = [g.into(), (n as u64).into(), partial.into()];
        bench.launch(squares, Geometry::line(blocks, threads), &args);
        let args = [partial.into(), blocks.into(), clip.into(), norm_and_scale.into()];
        bench.launch(norm, Geometry::line(1, 1024), &args);
    });
    let sum = g.iter().map(|x| x * x).sum::<f64>();
    if sum.is_finite() {
        bench.close("sum_of_squares", F64, &[partial.iter().sum()], &[sum], &case);
    }
    [norm_and_scale[0], norm_and_scale[1]]
}
