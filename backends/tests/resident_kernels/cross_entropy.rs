//! Cross-entropy over the vocabulary: loss, gradient in place, sums of the loss.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, F32, Format, I32},
    random::Random,
};

/// Large, so that it is more than a rounding of the gradient.
const Z_LOSS: f32 = 0.05;

#[derive(Clone, Copy, Debug)]
struct Case {
    tokens: usize,
    vocab: usize,
    /// Numbers from one token's logits to the next's.
    row: usize,
    threads: u32,
}

/// One id, fewer than a vector, rows padded or between vectors, several rounds of a row.
const CASES: [Case; 9] = [
    Case { tokens: 1, vocab: 1, row: 1, threads: 32 },
    Case { tokens: 2, vocab: 3, row: 8, threads: 32 },
    Case { tokens: 3, vocab: 13, row: 13, threads: 32 },
    Case { tokens: 4, vocab: 104, row: 104, threads: 512 },
    Case { tokens: 4, vocab: 101, row: 112, threads: 32 },
    Case { tokens: 3, vocab: 2050, row: 2056, threads: 32 },
    Case { tokens: 3, vocab: 1201, row: 1201, threads: 64 },
    Case { tokens: 2, vocab: 4096, row: 4096, threads: 512 },
    Case { tokens: 3, vocab: 64_000, row: 64_000, threads: 512 },
];

/// Logits, targets and weights of a case, and what comes of them in f64.
struct Problem {
    /// `[tokens, row]`, NaN past the vocabulary.
    logits: Vec<f64>,
    targets: Vec<f64>,
    weights: Vec<f64>,
    log_probs: Vec<f64>,
    log_sums: Vec<f64>,
    gradient: Vec<f64>,
}

impl Problem {
    fn new(element: Format, Case { tokens, vocab, row, .. }: Case) -> Self {
        let mut random = Random::new((tokens * row) as u64);
        let mut logits = vec![f64::NAN; tokens * row];
        for (token, logits) in logits.chunks_exact_mut(row).enumerate() {
            // Rows that lie high or low as a whole, and the last with equals at the top.
            let shift = [0.0, 40.0, -40.0][token % 3];
            let values = element.normal(&mut random, vocab, 3.0);
            let flat = token > 0 && token + 1 == tokens;
            let value = |i: usize| if flat && i > 1 { shift } else { values[i].min(3.0) + shift };
            (0..vocab).for_each(|i| logits[i] = element.rounded(value(i)));
            logits[..vocab.min(2)].iter_mut().filter(|_| flat).for_each(|x| *x = shift - 1.0);
        }
        let targets: Vec<usize> = (0..tokens).map(|_| random.below(vocab)).collect();
        let mut weights = F32.normal(&mut random, tokens, 1.0);
        weights.iter_mut().skip(1).step_by(3).for_each(|weight| *weight = 0.0);
        let (mut log_probs, mut log_sums, mut gradient) = (vec![], vec![], vec![]);
        for ((logits, &target), weight) in logits.chunks_exact(row).zip(&targets).zip(&weights) {
            let logits = &logits[..vocab];
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = top + logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
            let common = weight * (1.0 + 2.0 * f64::from(Z_LOSS) * log_sum);
            log_probs.push(logits[target] - log_sum);
            log_sums.push(log_sum);
            let at_target = |i| if i == target { *weight } else { 0.0 };
            gradient.extend((0..row).map(|i| match logits.get(i) {
                Some(x) => (x - log_sum).exp() * common - at_target(i),
                None => 0.0,
            }));
        }
        let targets = targets.into_iter().map(|id| id as f64).collect();
        Self { logits, targets, weights, log_probs, log_sums, gradient }
    }
}

#[test]
fn cross_entropy_is_close() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            let problem = Problem::new(element, case);
            with_gradient(bench, element, case, &problem);
        }
    });
}

fn with_gradient(bench: &Bench, element: Format, case: Case, problem: &Problem) {
    let Case { tokens, vocab, row, threads } = case;
    let kernel = bench.kernel(&sources::CROSS_ENTROPY, element, "cross_entropy");
    let arrays = [
        changed(element, &problem.logits),
        input(I32, &problem.targets),
        input(F32, &problem.weights),
        output(F32, tokens),
        output(F32, tokens),
    ];
    let [gradient, log_probs, log_sums] = bench.run(arrays, |arrays| {
        let sizes = [vocab.into(), row.into(), Z_LOSS.into()];
        let args = [&arrays.map(Into::into)[..], &sizes].concat();
        bench.launch(kernel, Geometry::line(tokens, threads), &args);
    });
    bench.close("cross_entropy log_probs", F32, &log_probs, &problem.log_probs, &case);
    bench.close("cross_entropy log_sums", F32, &log_sums, &problem.log_sums, &case);
    // A token at a time: otherwise the one with the largest weight would hide the others.
    let rows = gradient.chunks_exact(row).zip(problem.gradient.chunks_exact(row));
    for ((found, expected), weight) in rows.zip(&problem.weights) {
        let what = "cross_entropy gradient";
        // One id: the gradient is a difference of equals, and what is left of it the z-loss.
        bench.close(what, element, found, expected, &(case, weight));
        bench.same("past the vocabulary", &found[vocab..], &expected[vocab..], &case);
        if *weight == 0.0 {
            bench.same("a masked token", found, &vec![0.0; row], &case);
        }
    }
}

#[test]
fn loss_totals_are_close() {
    on_cards(|bench| {
        let kernel = bench.kernel(&sources::LOSS, F32, "loss_totals");
        for (n, add) in [(1, false), (7, true), (1024, false), (3001, true)] {
            let mut random = Random::new(n as u64);
            let mut draw = |n| F32.normal(&mut random, n, 1.0);
            let [log_probs, log_sums, weights] = [(); 3].map(|()| draw(n));
            let before = draw(2);
            let totals = if add { changed(F32, &before) } else { output(F32, 2) };
            let inputs = [&log_probs, &log_sums, &weights].map(|values| input(F32, values));
            let [log_probs_in, log_sums_in, weights_in] = inputs;
            let arrays = [log_probs_in, log_sums_in, weights_in, totals];
            let [totals] = bench.run(arrays, |arrays| {
                let sizes = [n.into(), usize::from(add).into()];
                let args = [&arrays.map(Into::into)[..], &sizes].concat();
                bench.launch(kernel, Geometry::line(1, 1024), &args);
            });
            let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(|i| weights[i] * f(i)).sum::<f64>();
            let sums = [sum(&|i| -log_probs[i]), sum(&|i| log_sums[i] * log_sums[i])];
            let expected: Vec<f64> =
                sums.iter().zip(&before).map(|(sum, b)| if add { sum + b } else { *sum }).collect();
            bench.close("loss_totals", F32, &totals, &expected, &(n, add));
        }
    });
}
