//! Every kernel against plain f64 loops, in f32: values, all gradients, odd sizes, both forms.
//!
//! `NEO_TEST_DEVICE` chooses the device (`flex` if unset). The kernels' own form and, through an
//! autodiff device, the portable one are both held to `||a - b|| / ||b|| <= 1e-5`; the references
//! are held to finite differences, and the backwards to burn's autodiff of the forwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;

use burn::tensor::{DType, Device, Tensor};
use neo_backends::{
    fallback,
    kernels::{attention, linear, rms_norm, rope, swiglu},
    vjp,
};
use oracle::{Form, Random, Setup, cases, device, host, on_libtorch, reference, relative, thinned};

/// Seed of the inputs and form of each run over a kernel's cases.
const FORMS: [(u64, Form); 2] = [(1, Form::OfDevice), (2, Form::Portable)];

/// Runs one kernel in both forms, on other inputs each time, with no fallback.
///
/// The portable form is the same code everywhere and slow on software Vulkan, which leaves it out.
fn check(kernel: fn(Setup)) {
    check_forms(kernel, thinned(&FORMS, 1));
}

fn check_forms(kernel: fn(Setup), forms: &[(u64, Form)]) {
    for &(seed, form) in forms {
        kernel(Setup { dtype: DType::F32, form, tolerance: 1e-5, seed });
    }
    assert_eq!(fallback::count(), 0, "a kernel took its slow form");
}

#[test]
fn linear_is_exact() {
    check(cases::linear);
}

#[test]
fn rms_norm_is_exact() {
    check(cases::rms_norm);
}

#[test]
fn rope_is_exact() {
    check(cases::rope);
}

#[test]
fn swiglu_is_exact() {
    check(cases::swiglu);
}

#[test]
fn attention_is_exact() {
    check(cases::attention);
}

#[test]
fn attention_over_a_cache_is_exact() {
    check(cases::attention_decoding);
}

/// Without the portable form on LibTorch: one product of MKL's over 64,000 terms for a head of width
/// 3 is itself wrong by 3e-5. LibTorch's own form cuts it up.
#[test]
fn linear_cross_entropy_is_exact() {
    let forms = if on_libtorch() { &FORMS[..1] } else { thinned(&FORMS, 1) };
    check_forms(cases::linear_cross_entropy, forms);
}

#[test]
fn embedding_is_exact() {
    check(cases::embedding);
}

#[test]
fn adamw_is_exact() {
    check(cases::adamw);
}

#[test]
fn grad_norm_is_exact() {
    check(cases::grad_norm);
}

/// Burn's autodiff of each forward gives what the hand-written backward gives.
#[test]
fn backwards_agree_with_autodiff() {
    let setup = Setup { dtype: DType::F32, form: Form::OfDevice, tolerance: 1e-5, seed: 0 };
    let random = &mut Random::new(1);
    let [tokens, d] = [6, 10];
    let mut draw = |rows| setup.tensor::<2>(&setup.normal(random, rows * d, 1.0), [rows, d]);
    let [x, gate, up, dy, weight, norm] = [tokens, tokens, tokens, tokens, d, 1].map(&mut draw);
    let same = |what: &str, actual: Tensor<2>, expected: Tensor<2>| {
        let error = relative(&host(actual), &host(expected));
        assert!(error <= 1e-5, "{what}: {error:e}");
    };

    let [dx, dw] =
        vjp::of(|[x, w]| linear::forward(&x, &w), [x.clone(), weight.clone()], dy.clone());
    same("linear dx", linear::backward_input(&weight, &dy), dx);
    same("linear dw", linear::add_backward_weight(weight.zeros_like(), &x, &dy), dw);

    let forward = |[x, w]: [Tensor<2>; 2]| rms_norm::forward(x, &w, 1e-5).0;
    let [dx, dw] = vjp::of(forward, [x.clone(), norm.clone()], dy.clone());
    let (_, rstd) = rms_norm::forward(x.clone(), &norm, 1e-5);
    let (our_dx, our_dw) =
        rms_norm::backward(&x, &norm, &rstd, dy.clone(), None, norm.zeros_like());
    same("rms_norm dx", our_dx, dx);
    same("rms_norm dw", our_dw, dw);

    let [d_gate, d_up] =
        vjp::of(|[gate, up]| swiglu::forward(gate, up), [gate.clone(), up.clone()], dy.clone());
    let (_, our_d_gate, our_d_up) = swiglu::backward(gate, up, dy.clone());
    same("swiglu d_gate", our_d_gate, d_gate);
    same("swiglu d_up", our_d_up, d_up);

    let shape = [1, tokens, 1, d];
    let positions = [(0..tokens as u32).collect()];
    let table = rope::RopeTable::new(&positions, d, 10_000.0, &device().clone().autodiff());
    let [dx] =
        vjp::of(|[x]| rope::forward(x.reshape(shape), &table), [x], dy.clone().reshape(shape));
    let plain = rope::RopeTable::new(&positions, d, 10_000.0, device());
    let ours = rope::backward(dy.clone().reshape(shape), &plain);
    same("rope dx", ours.reshape([tokens, d]), dx);

    // What a result does not depend on has a gradient of zeros.
    let [_, zeros] = vjp::of(|[gate, _]| gate.square(), [dy.clone(), norm], dy);
    assert_eq!(host(zeros), vec![0.0; d]);
}

/// Attention and its autodiff, over a chunk border, grouped heads, documents.
#[test]
fn attention_agrees_with_autodiff() {
    let setup = Setup { dtype: DType::F32, form: Form::OfDevice, tolerance: 1e-5, seed: 0 };
    let random = &mut Random::new(2);
    let (seq, heads, kv_heads, head_dim) = (270, 4, 2, 6);
    let (q_shape, k_shape) = ([1, seq, heads, head_dim], [1, seq, kv_heads, head_dim]);
    let [q, k, v, d_output] = [heads, kv_heads, kv_heads, heads].map(|heads| {
        let values = setup.normal(random, seq * heads * head_dim, 1.0);
        setup.tensor::<2>(&values, [seq, heads * head_dim])
    });
    let first: Vec<u32> = (0..seq as u32).map(|at| at / 100 * 100).collect();
    let span = |device: &Device| attention::Span::document(&first, 1, seq, device);
    let recorded = |[q, k, v]: [Tensor<2>; 3]| {
        let (q, k, v) = (q.reshape(q_shape), k.reshape(k_shape), v.reshape(k_shape));
        attention::forward(&q, &k, &v, &span(&device().clone().autodiff())).0
    };
    let d_output = d_output.reshape(q_shape);
    let expected = vjp::of(recorded, [q.clone(), k.clone(), v.clone()], d_output.clone());
    let (q, k, v) = (q.reshape(q_shape), k.reshape(k_shape), v.reshape(k_shape));
    let span = span(device());
    let (output, saved) = attention::forward(&q, &k, &v, &span);
    let (dq, dk, dv) = attention::backward([&q, &k, &v], &span, &saved, &output, &d_output);
    for ((what, ours), expected) in [("dq", dq), ("dk", dk), ("dv", dv)].into_iter().zip(expected) {
        let error = relative(&host(ours), &host(expected));
        assert!(error <= 1e-5, "{what}: {error:e}");
    }
}

/// Spans that LibTorch's form gives to other calls than those of the cases: rows with the same
/// documents at once, windows, which are no documents, and documents over a cache, behind masks.
#[test]
fn attention_of_other_spans_agrees_with_the_reference() {
    if !on_libtorch() {
        return;
    }
    let random = &mut Random::new(4);
    let (batch, k_seq, head_dim) = (2, 300, 8);
    type FirstKey = fn(usize) -> usize;
    let spans: [(usize, FirstKey); 3] =
        [(300, |at| at / 100 * 100), (300, |at| at.saturating_sub(70)), (40, |at| at / 100 * 100)];
    for (q_seq, first) in spans {
        let row: Vec<u32> = (k_seq - q_seq..k_seq).map(|at| first(at) as u32).collect();
        let inputs = [(q_seq, 4), (q_seq, 4), (k_seq, 2), (k_seq, 2)].map(|(seq, heads)| {
            let shape = [batch, seq, heads, head_dim];
            let values: Vec<f64> = (0..shape.iter().product()).map(|_| random.normal()).collect();
            (values, shape)
        });
        let run = |form| {
            let setup = Setup { dtype: DType::F32, form, tolerance: 1e-5, seed: 0 };
            let [q, d_output, k, v] =
                inputs.each_ref().map(|(values, shape)| setup.tensor(values, *shape));
            let span = attention::Span::document(&row.repeat(batch), batch, q_seq, &setup.device());
            let (output, saved) = attention::forward(&q, &k, &v, &span);
            let (dq, dk, dv) = attention::backward([&q, &k, &v], &span, &saved, &output, &d_output);
            [output, saved.log_sum_exp, dq, dk, dv].map(host)
        };
        for (ours, expected) in run(Form::OfDevice).iter().zip(&run(Form::Portable)) {
            let error = relative(ours, expected);
            assert!(error <= 1e-5, "{q_seq} queries: {error:e}");
        }
    }
}

/// The references' gradients are those of their forwards.
#[test]
fn references_agree_with_finite_differences() {
    let random = &mut Random::new(3);
    let mut draw = |n: usize| (0..n).map(|_| random.normal()).collect::<Vec<f64>>();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();

    let (x, weight, dy) = (draw(12), draw(4), draw(12));
    let gradient = reference::rms_norm_gradient(&x, &weight, 0.1, &dy).concat();
    slope(&[x, weight].concat(), &gradient, |p| {
        dot(&reference::rms_norm(&p[..12], &p[12..], 0.1).0, &dy)
    });

    let (gate, up) = (draw(12), draw(12));
    let gradient = reference::swiglu_gradient(&gate, &up, &dy).concat();
    slope(&[gate, up].concat(), &gradient, |p| dot(&reference::swiglu(&p[..12], &p[12..]), &dy));

    let x = draw(24);
    let dy = draw(24);
    let positions = [vec![3, 7, 1]];
    let rotated = |x: &[f64], sign| reference::rope(x, [3, 2, 4], &positions, 100.0, sign);
    slope(&x, &rotated(&dy, -1.0), |p| dot(&rotated(p, 1.0), &dy));

    let sizes = reference::Attention {
        batch: 1,
        q_seq: 5,
        k_seq: 5,
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
        first: vec![0, 0, 2, 2, 2],
    };
    let (q, k, v, d_output) = (draw(40), draw(20), draw(20), draw(40));
    let done = sizes.run(&q, &k, &v, &d_output);
    slope(&[q, k, v].concat(), &[done.dq, done.dk, done.dv].concat(), |p| {
        dot(&sizes.run(&p[..40], &p[40..60], &p[60..], &d_output).output, &d_output)
    });

    let (x, weight, targets, weights) = (draw(9), draw(15), [4, 0, 2], [1.0, 0.0, 2.5]);
    let run = |x: &[f64], w: &[f64]| reference::cross_entropy(x, w, 3, &targets, &weights, 0.3);
    let done = run(&x, &weight);
    slope(&[x, weight].concat(), &[done.dx, done.dw].concat(), |p| {
        let done = run(&p[..9], &p[9..]);
        let nll = dot(&done.log_probs, &weights);
        let squares: Vec<f64> = done.log_sum_exp.iter().map(|lse| lse * lse).collect();
        0.3 * dot(&squares, &weights) - nll
    });
}

/// Holds `gradient` to central differences of `f`, one coordinate at a time.
fn slope(at: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    const STEP: f64 = 1e-5;
    let moved = |i: usize, by: f64| {
        let mut point = at.to_vec();
        point[i] += by;
        f(&point)
    };
    let measured: Vec<f64> =
        (0..at.len()).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect();
    let error = relative(gradient, &measured);
    assert!(error < 1e-8, "{error:e}: {gradient:?} against {measured:?}");
}
