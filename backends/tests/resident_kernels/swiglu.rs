//! The SwiGLU gate and its gradient in place.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{ELEMENTS, Format},
    random::Random,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    tokens: usize,
    d_ff: usize,
    /// Blocks that share a row.
    blocks: u32,
    threads: u32,
}

/// One number, no whole vector, idle blocks, several rounds of a row.
const CASES: [Case; 7] = [
    Case { tokens: 1, d_ff: 1, blocks: 1, threads: 32 },
    Case { tokens: 3, d_ff: 7, blocks: 2, threads: 32 },
    Case { tokens: 2, d_ff: 8, blocks: 3, threads: 32 },
    Case { tokens: 4, d_ff: 72, blocks: 1, threads: 32 },
    Case { tokens: 2, d_ff: 1333, blocks: 2, threads: 64 },
    Case { tokens: 3, d_ff: 1000, blocks: 2, threads: 32 },
    Case { tokens: 3, d_ff: 24_576, blocks: 6, threads: 256 },
];

#[test]
fn swiglu_is_close() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            check(bench, element, case);
        }
    });
}

fn check(bench: &Bench, element: Format, case: Case) {
    let Case { tokens, d_ff, blocks, threads } = case;
    let kernel = |name| bench.kernel(&sources::SWIGLU, element, name);
    let (forward, backward) = (kernel("swiglu_forward"), kernel("swiglu_backward"));
    let mut random = Random::new(d_ff as u64);
    let mut gate_up = element.normal(&mut random, tokens * 2 * d_ff, 2.0);
    // Gates whose sigmoid is 0 or 1 to the last digit, where there are others beside them.
    if d_ff > 1 {
        let gates = gate_up.iter_mut().step_by(2 * d_ff);
        gates.zip([-100.0, 100.0]).for_each(|(gate, far)| *gate = far);
    }
    let slope = element.normal(&mut random, tokens * d_ff, 1.0);
    let geometry = Geometry { grid: [tokens as u32, blocks, 1], threads, shared_bytes: 0 };

    let arrays = [input(element, &gate_up), output(element, tokens * d_ff)];
    let [out] = bench.run(arrays, |[gate_up, out]| {
        bench.launch(forward, geometry, &[gate_up.into(), out.into(), d_ff.into()]);
    });
    let arrays = [changed(element, &gate_up), changed(element, &slope)];
    let [d_gate_up, gated] = bench.run(arrays, |[gate_up, d_gated]| {
        bench.launch(backward, geometry, &[gate_up.into(), d_gated.into(), d_ff.into()]);
    });

    let (mut expected, mut d_expected) = (vec![0.0; out.len()], vec![0.0; gate_up.len()]);
    for (i, slope) in slope.iter().enumerate() {
        let at = i / d_ff * 2 * d_ff + i % d_ff;
        let (gate, up) = (gate_up[at], gate_up[at + d_ff]);
        let sigmoid = 1.0 / (1.0 + (-gate).exp());
        expected[i] = gate * sigmoid * up;
        d_expected[at] = slope * up * (sigmoid + gate * sigmoid * (1.0 - sigmoid));
        d_expected[at + d_ff] = slope * gate * sigmoid;
    }
    bench.close("swiglu out", element, &out, &expected, &case);
    bench.close("swiglu d_gate_up", element, &d_gate_up, &d_expected, &case);
    bench.close("swiglu out again", element, &gated, &expected, &case);
}
