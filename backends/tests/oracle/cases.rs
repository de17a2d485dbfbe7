//! Each kernel over its cases: forward, every gradient, and that inputs survive the call.
//!
//! Every device runs all cases of its own kernels; of what burn's products do, which are tuned anew
//! for each shape, only the first ones, which say most.

use burn::tensor::{DType, Tensor};
use neo_backends::kernels::{
    adamw::{self, AdamW, Slot},
    attention::{self, Span},
    embedding, grad_norm, linear as linear_kernel,
    linear_cross_entropy::{self, Targets},
    rms_norm as rms_norm_kernel,
    rope::{self, RopeTable},
    swiglu as swiglu_kernel,
};

use super::reference::{self, Attention};
use super::{Form, Random, Report, Setup, host, relative, thinned};

pub(crate) fn linear(setup: Setup) {
    let mut report = Report::new("linear", setup);
    let cases = [[300, 24, 513], [1, 1, 1], [7, 5, 3], [513, 96, 40], [1, 300, 7], [64, 513, 33]];
    for (idx, case @ &[tokens, d_in, d_out]) in thinned(&cases, 2).iter().enumerate() {
        let random = &mut setup.random(idx);
        let x = setup.normal(random, tokens * d_in, 1.0);
        let weight = setup.normal(random, d_out * d_in, 0.3);
        let dy = setup.normal(random, tokens * d_out, 1.0);
        let x_on = setup.tensor(&x, [tokens, d_in]);
        let weight_on = setup.tensor(&weight, [d_out, d_in]);
        let dy_on = setup.tensor(&dy, [tokens, d_out]);

        let plus = |sum: &[f64], part: &[f64]| -> Vec<f64> {
            sum.iter().zip(part).map(|(sum, part)| sum + part).collect()
        };
        let across = reference::transpose(&weight, [d_out, d_in]);
        let expected = reference::matmul(&x, &across, [tokens, d_in, d_out]);
        let y = linear_kernel::forward(&x_on, &weight_on);
        report.check("y", case, y, &expected);
        let y = linear_kernel::add_forward(dy_on.clone(), &x_on, &weight_on);
        report.check("sum + y", case, y, &plus(&dy, &expected));
        let expected = reference::matmul(&dy, &weight, [tokens, d_out, d_in]);
        let dx = linear_kernel::backward_input(&weight_on, &dy_on);
        report.check("dx", case, dx, &expected);
        let dx = linear_kernel::add_backward_input(x_on.clone(), &weight_on, &dy_on);
        report.check("sum + dx", case, dx, &plus(&x, &expected));
        let across = reference::transpose(&dy, [tokens, d_out]);
        let expected = reference::matmul(&across, &x, [d_out, tokens, d_in]);
        let sum = setup.normal(random, d_out * d_in, 1.0);
        let sum_on = setup.wide(&sum, [d_out, d_in]);
        let dw = linear_kernel::add_backward_weight(sum_on.clone(), &x_on, &dy_on);
        assert_eq!(dw.dtype(), DType::F32, "sums are f32");
        report.check("sum + dw", case, dw, &plus(&sum, &expected));
        // The host form adds in place: it must not reach tensors that others still hold.
        for (held, values) in [(x_on, &x), (dy_on, &dy), (sum_on, &sum)] {
            assert_eq!(&host(held), values, "an input was overwritten");
        }
    }
    report.finish();
}

pub(crate) fn rms_norm(setup: Setup) {
    let mut report = Report::new("rms_norm", setup);
    let cases = [
        (300, 65, 1e-5, 1.0),
        (7, 24, 1e-5, 1e-3), // as small as eps
        (1, 3, 1e-6, 1.0),
        (1, 10, 1e-5, 30.0),
        (513, 192, 1e-5, 1.0),
        (5, 1000, 1e-6, 1.0),
        (3, 4100, 1e-5, 1.0), // wider than what a cube of units reads at once, four at a time
        (2, 1027, 1e-5, 1.0), // and one at a time
        (5000, 8, 1e-5, 1.0), // more blocks of rows than are summed apart
        (530_000, 4, 1e-5, 1.0), // more cubes than one axis has
    ];
    for (idx, case @ &(tokens, d, eps, scale)) in cases.iter().enumerate() {
        if tokens > 100_000 && setup.form == Form::Portable {
            continue; // Burn sums the rows of a column one after another, in f32.
        }
        let random = &mut setup.random(idx);
        let mut x = setup.normal(random, tokens * d, scale);
        if tokens > 5 {
            x[2 * d..3 * d].fill(0.0);
        }
        let weight = setup.normal(random, d, 1.0);
        let dy = setup.normal(random, tokens * d, 1.0);
        let x_on = setup.tensor(&x, [tokens, d]);
        let weight_on = setup.tensor(&weight, [1, d]);

        let (expected_y, expected_rstd) = reference::rms_norm(&x, &weight, eps);
        let (y, rstd) = rms_norm_kernel::forward(x_on.clone(), &weight_on, eps);
        report.check("rstd", case, rstd.clone(), &expected_rstd);
        report.check("y", case, y, &expected_y);
        let again = rms_norm_kernel::replay(&x_on, &weight_on, &rstd);
        report.check("y replayed", case, again, &expected_y);
        let dy_on = setup.tensor(&dy, [tokens, d]);
        let [expected_dx, expected_dw] = reference::rms_norm_gradient(&x, &weight, eps, &dy);
        let zeros = || setup.wide(&vec![0.0; d], [1, d]);
        let gradients =
            |dy, around, sum| rms_norm_kernel::backward(&x_on, &weight_on, &rstd, dy, around, sum);
        let (dx, dw) = gradients(dy_on.clone(), None, zeros());
        report.check("dx", case, dx, &expected_dx);
        assert_eq!(dw.dtype(), DType::F32, "sums are f32");
        report.check("dw", case, dw.clone(), &expected_dw);
        let (dx, twice) = gradients(dy_on.clone(), Some(dy_on.clone()), dw);
        let around: Vec<f64> = expected_dx.iter().zip(&dy).map(|(dx, dy)| dx + dy).collect();
        report.check("dx + around", case, dx, &around);
        let doubled: Vec<f64> = expected_dw.iter().map(|dw| 2.0 * dw).collect();
        report.check("sum + dw", case, twice, &doubled);
        assert_eq!(&host(dy_on), &dy, "an input was overwritten");
    }
    report.finish();
}

pub(crate) fn rope(setup: Setup) {
    let mut report = Report::new("rope", setup);
    // Positions: one row `0..seq` for all, or one row for each sequence with jumps and restarts.
    let cases = [
        (2, 300, 3, 10, true),
        (2, 7, 2, 24, false),
        (1, 1, 1, 2, false),
        (3, 5, 1, 256, true),
        (1, 513, 2, 64, false),
        (2, 33, 4, 192, true),
        (2, 9000, 1, 8, true),
    ];
    for (idx, case @ &(batch, seq, heads, head_dim, jumping)) in cases.iter().enumerate() {
        let random = &mut setup.random(idx);
        let rows = if jumping { batch } else { 1 };
        let mut position = |at: usize| if jumping { random.below(8192) } else { at } as u32;
        let positions: Vec<Vec<u32>> =
            (0..rows).map(|_| (0..seq).map(&mut position).collect()).collect();
        let shape = [batch, seq, heads, head_dim];
        let x = setup.normal(random, shape.iter().product(), 1.0);
        let x_on = setup.tensor(&x, shape);
        let sizes = [seq, heads, head_dim];
        for base in [10_000.0, 500.0] {
            let table = RopeTable::new(&positions, head_dim, base, &setup.device());
            let expected = |sign| reference::rope(&x, sizes, &positions, base, sign);
            report.check("y", case, rope::forward(x_on.clone(), &table), &expected(1.0));
            report.check("dx", case, rope::backward(x_on.clone(), &table), &expected(-1.0));
        }
    }
    report.finish();
}

pub(crate) fn swiglu(setup: Setup) {
    let mut report = Report::new("swiglu", setup);
    // The last two reach where exp overflows f32.
    let cases =
        [(300, 65, 1.0), (1, 1, 1.0), (7, 33, 5.0), (513, 96, 1.0), (3, 99, 40.0), (2, 50, 200.0)];
    for (idx, case @ &(tokens, d_ff, scale)) in cases.iter().enumerate() {
        let random = &mut setup.random(idx);
        let mut draw = |scale| setup.normal(random, tokens * d_ff, scale);
        let (gate, up, dy) = (draw(scale), draw(1.0), draw(1.0));
        let [gate_on, up_on, dy_on] =
            [&gate, &up, &dy].map(|values| setup.tensor(values, [tokens, d_ff]));
        let y = swiglu_kernel::forward(gate_on.clone(), up_on.clone());
        report.check("y", case, y, &reference::swiglu(&gate, &up));
        let (y, d_gate, d_up) =
            swiglu_kernel::backward(gate_on.clone(), up_on.clone(), dy_on.clone());
        report.check("y again", case, y, &reference::swiglu(&gate, &up));
        let [expected_d_gate, expected_d_up] = reference::swiglu_gradient(&gate, &up, &dy);
        report.check("d_gate", case, d_gate, &expected_d_gate);
        report.check("d_up", case, d_up, &expected_d_up);
        // The host form works in place: it must not reach tensors that others still hold.
        for (held, values) in [(gate_on, &gate), (up_on, &up), (dy_on, &dy)] {
            assert_eq!(&host(held), values, "an input was overwritten");
        }
    }
    report.finish();
}

/// `(batch, seq, heads, kv_heads, head_dim, documents in the row, 0 for plain causal)`.
type AttentionCase = (usize, usize, usize, usize, usize, usize);

const ATTENTION: [AttentionCase; 16] = [
    (2, 300, 4, 2, 10, 3),
    (1, 300, 2, 1, 24, 0),
    (2, 7, 3, 3, 12, 2),
    (1, 1, 1, 1, 2, 0),
    (1, 1, 4, 1, 64, 1),
    (3, 256, 2, 2, 10, 0),
    (2, 257, 2, 2, 10, 4),
    (1, 513, 6, 2, 64, 0),
    (1, 513, 3, 1, 24, 9),
    (2, 513, 1, 1, 10, 513),
    (1, 300, 4, 1, 128, 2),
    (2, 40, 2, 2, 192, 0),
    (1, 270, 2, 1, 192, 5),
    (1, 270, 2, 2, 256, 0),
    (1, 9, 4, 2, 256, 2),
    (2, 30, 2, 2, 128, 3),
];

pub(crate) fn attention(setup: Setup) {
    let mut report = Report::new("attention", setup);
    for (idx, case) in ATTENTION.iter().enumerate() {
        let random = &mut setup.random(idx);
        let sizes = sizes(random, case);
        let &Attention { batch, q_seq, heads, kv_heads, head_dim, .. } = &sizes;
        let q_shape = [batch, q_seq, heads, head_dim];
        let k_shape = [batch, q_seq, kv_heads, head_dim];
        let [q, k, v, d_output] = [q_shape, k_shape, k_shape, q_shape]
            .map(|shape| setup.normal(random, shape.iter().product(), 1.0));
        let expected = sizes.run(&q, &k, &v, &d_output);
        let (q_on, k_on) = (setup.tensor(&q, q_shape), setup.tensor(&k, k_shape));
        let (v_on, d_on) = (setup.tensor(&v, k_shape), setup.tensor(&d_output, q_shape));
        let span = span(setup, case, &sizes);

        let (output, saved) = attention::forward(&q_on, &k_on, &v_on, &span);
        report.check("output", case, output.clone(), &expected.output);
        report.check("log_sum_exp", case, saved.log_sum_exp.clone(), &expected.log_sum_exp);
        let (dq, dk, dv) =
            attention::backward([&q_on, &k_on, &v_on], &span, &saved, &output, &d_on);
        report.check("dq", case, dq, &expected.dq);
        report.check("dk", case, dk, &expected.dk);
        report.check("dv", case, dv, &expected.dv);
        for (held, values) in [(q_on, &q), (k_on, &k), (v_on, &v), (d_on, &d_output)] {
            assert_eq!(&host(held), values, "an input was overwritten");
        }
    }
    report.finish();
}

/// Document starts drawn anew for each row; the first document may be a single token.
fn sizes(
    random: &mut Random,
    &(batch, seq, heads, kv_heads, head_dim, n_docs): &AttentionCase,
) -> Attention {
    let mut first = Vec::new();
    for _ in 0..batch {
        let mut starts = vec![false; seq];
        (1..n_docs).for_each(|_| starts[random.below(seq)] = true);
        let mut start = 0;
        for (at, &starts_here) in starts.iter().enumerate() {
            start = if starts_here { at } else { start };
            first.push(start);
        }
    }
    Attention { batch, q_seq: seq, k_seq: seq, heads, kv_heads, head_dim, first }
}

fn span(setup: Setup, case: &AttentionCase, sizes: &Attention) -> Span {
    let first: Vec<u32> = sizes.first.iter().map(|&first| first as u32).collect();
    match case.5 {
        0 => Span::Row,
        _ => Span::document(&first, sizes.batch, sizes.q_seq, &setup.device()),
    }
}

/// Fewer queries than keys, as in decoding with a cache; keys and values begin a longer buffer.
pub(crate) fn attention_decoding(setup: Setup) {
    let mut report = Report::new("attention, decoding", setup);
    let cases = [
        (2, 1, 300, 4, 2, 10),
        (1, 300, 600, 2, 1, 12),
        (1, 1, 2, 1, 1, 64),
        (2, 5, 7, 2, 2, 24),
        (1, 257, 513, 4, 1, 192),
        (3, 1, 513, 8, 2, 128),
    ];
    for (idx, case) in cases.iter().enumerate() {
        let random = &mut setup.random(idx);
        let &(batch, q_seq, k_seq, heads, kv_heads, head_dim) = case;
        let first = vec![0; batch * q_seq];
        let sizes = Attention { batch, q_seq, k_seq, heads, kv_heads, head_dim, first };
        let (q_shape, k_shape) =
            ([batch, q_seq, heads, head_dim], [batch, k_seq, kv_heads, head_dim]);
        let [q, k, v] = [q_shape, k_shape, k_shape]
            .map(|shape| setup.normal(random, shape.iter().product(), 1.0));
        let expected = sizes.run(&q, &k, &v, &q);
        let [k_on, v_on] = [&k, &v].map(|values| in_longer_buffer(setup, values, k_shape));
        let q_on = setup.tensor(&q, q_shape);
        let (output, saved) = attention::forward(&q_on, &k_on, &v_on, &Span::Row);
        report.check("output", case, output.clone(), &expected.output);
        report.check("log_sum_exp", case, saved.log_sum_exp.clone(), &expected.log_sum_exp);
        // The gradient over two keys is a difference of near equals; halves lose it over a few.
        if setup.dtype == DType::F32 && k_seq > 2 {
            let inputs = [&q_on, &k_on, &v_on];
            let (dq, dk, dv) = attention::backward(inputs, &Span::Row, &saved, &output, &q_on);
            report.check("dq", case, dq, &expected.dq);
            report.check("dk", case, dk, &expected.dk);
            report.check("dv", case, dv, &expected.dv);
        }
    }
    report.finish();
}

/// The values as the first positions of a buffer with room for more.
fn in_longer_buffer(setup: Setup, values: &[f64], shape: [usize; 4]) -> Tensor<4> {
    const SPARE: usize = 64;
    let [batch, seq, heads, head_dim] = shape;
    let spare = vec![9.0; SPARE * heads * head_dim];
    let rows = values.chunks_exact(seq * heads * head_dim);
    let padded: Vec<f64> = rows.flat_map(|row| row.iter().chain(&spare).copied()).collect();
    setup.tensor(&padded, [batch, seq + SPARE, heads, head_dim]).narrow(1, 0, seq)
}

/// `(tokens, d, vocab, z_loss)`; the tokens of some are split for the size of their vocabulary, the
/// last has more than one axis has cubes.
const CROSS_ENTROPY: [(usize, usize, usize, f64); 9] = [
    (300, 24, 1001, 1e-3),
    (7, 10, 17, 0.0),
    (1, 3, 2, 0.1),
    (1, 1, 1, 0.0),
    (513, 64, 333, 0.0),
    (530, 3, 64_005, 1e-4),
    (5, 8, 64_000, 1e-4),
    (3, 4, 151_936, 0.0),
    (66_000, 2, 6, 1e-4),
];

pub(crate) fn linear_cross_entropy(setup: Setup) {
    let mut report = Report::new("linear_cross_entropy", setup);
    for (idx, case @ &(tokens, d, vocab, z_loss)) in thinned(&CROSS_ENTROPY, 2).iter().enumerate() {
        let random = &mut setup.random(idx);
        let x = setup.normal(random, tokens * d, 1.0);
        let mut weight = setup.normal(random, vocab * d, 2.0 / (d as f64).sqrt());
        if vocab > 3 {
            // Equal logits: which of them is found first shows where one is the largest.
            weight.copy_within(d..2 * d, (vocab - 1) * d);
        }
        let mut targets: Vec<usize> = (0..tokens).map(|_| random.below(vocab)).collect();
        targets[0] = vocab - 1;
        // Every third token is masked; the others weigh differently.
        let weights: Vec<f64> = (0..tokens)
            .map(|t| if t % 3 == 1 { 0.0 } else { f64::from(1 + t as u32 % 5) })
            .collect();
        let sum = setup.normal(random, vocab * d, 0.1);
        let expected = reference::cross_entropy(&x, &weight, d, &targets, &weights, z_loss);
        let expected_dw: Vec<f64> =
            expected.dw.iter().zip(&sum).map(|(dw, sum)| dw + sum).collect();

        let x_on = setup.tensor(&x, [tokens, d]);
        let weight_on = setup.tensor(&weight, [vocab, d]);
        let on_device =
            Targets { ids: setup.ids(&targets), weights: setup.wide(&weights, [tokens]) };
        let sum_on = setup.wide(&sum, [vocab, d]);
        let done =
            linear_cross_entropy::forward_backward(&x_on, &weight_on, &on_device, z_loss, sum_on);
        report.check("log_probs", case, done.log_probs, &expected.log_probs);
        report.check("log_sum_exp", case, done.log_sum_exp, &expected.log_sum_exp);
        report.check("dx", case, done.dx, &expected.dx);
        assert_eq!(done.dw.dtype(), DType::F32, "sums are f32");
        report.check("dw", case, done.dw, &expected_dw);

        let (log_probs, best) = linear_cross_entropy::log_probs(&x_on, &weight_on, &on_device.ids);
        report.check("log_probs()", case, log_probs, &expected.log_probs);
        if setup.dtype == DType::F32 {
            let best = best.try_into_vec_as::<i64>().unwrap();
            assert!(best.iter().map(|&id| id as usize).eq(expected.best), "arg-max {case:?}");
        }
    }
    report.finish();
}

pub(crate) fn embedding(setup: Setup) {
    let mut report = Report::new("embedding", setup);
    let cases = [
        (300, 24, 101),
        (1, 1, 1),
        (7, 10, 3),
        (513, 65, 1000),
        (40, 7, 40),
        (5000, 6, 2), // thousands of one id
        (3000, 12, 70_000),
    ];
    for (idx, case @ &(tokens, d, vocab)) in cases.iter().enumerate() {
        let random = &mut setup.random(idx);
        let table = setup.normal(random, vocab * d, 1.0);
        let dy = setup.normal(random, tokens * d, 1.0);
        let sum = setup.normal(random, vocab * d, 1.0);
        let mut ids: Vec<usize> = (0..tokens).map(|_| random.below(vocab)).collect();
        ids[0] = vocab - 1;
        let (mut expected, mut expected_sum) = (Vec::new(), sum.clone());
        for (&id, dy) in ids.iter().zip(dy.chunks_exact(d)) {
            expected.extend_from_slice(&table[id * d..(id + 1) * d]);
            expected_sum[id * d..(id + 1) * d].iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
        }
        let ids = setup.ids(&ids);
        let found = embedding::forward(&ids, &setup.tensor(&table, [vocab, d]));
        report.check("y", case, found, &expected);
        let (sum_on, dy_on) = (setup.wide(&sum, [vocab, d]), setup.wide(&dy, [tokens, d]));
        let added = embedding::backward(sum_on.clone(), &ids, dy_on);
        report.check("sum", case, added, &expected_sum);
        assert_eq!(host(sum_on), sum, "the sum of another holder was overwritten");
    }
    report.finish();
}

/// Three updates in a row; weights that start at zero show the step itself, not a rounded sum.
///
/// The cases with moments in bf16 are small: a moment so near the middle between two numbers of
/// bf16 that f32 and f64 round it apart is rare.
pub(crate) fn adamw(setup: Setup) {
    let mut report = Report::new("adamw", setup);
    let cases = [
        ([129, 257], 0.1, 1.0, 1, 0.0, DType::F32),
        ([1, 1], 0.0, 0.3, 1, 1.0, DType::F32),
        ([1, 65], 0.1, 0.01, 5000, 0.0, DType::F32),
        ([7, 3], 0.1, 1.0, 2, 1.0, DType::F32),
        ([16, 12], 0.1, 1.0, 1, 0.0, DType::BF16),
        ([5, 7], 0.1, 0.5, 300, 1.0, DType::BF16),
    ];
    for (idx, case @ &(shape, weight_decay, grad_scale, first, scale, moments)) in
        cases.iter().enumerate()
    {
        if !setup.device().supports_dtype(moments) {
            continue;
        }
        let rounded = |value: f64| if moments == DType::BF16 { to_bf16(value) } else { value };
        let random = &mut setup.random(idx);
        let n = shape[0] * shape[1];
        let mut weight = setup.normal(random, n, scale);
        let (mut mean, mut square) = (vec![0.0; n], vec![0.0; n]);
        let weight_on = setup.wide(&weight, shape);
        let zeros = setup.wide(&mean, shape).cast(moments);
        let mut slot = Slot { weight: weight_on, exp_avg: zeros.clone(), exp_avg_sq: zeros };
        for update in first..first + 3 {
            let mut gradient = setup.normal(random, n, 0.1);
            // Rows of an embedding that no token looked up have no gradient.
            gradient.iter_mut().skip(3).step_by(7).for_each(|g| *g = 0.0);
            let [lr, beta1, beta2, eps] = [1e-2, 0.9, 0.95, 1e-8];
            let settings = AdamW { lr, beta1, beta2, eps, weight_decay, grad_scale, update };
            let gradient_on = setup.wide(&gradient, shape);
            slot = adamw::update(slot, gradient_on.clone(), &settings);
            let power = |beta: f64| 1.0 - beta.powi(update as i32);
            for (i, g) in gradient.iter().map(|g| g * grad_scale).enumerate() {
                let m = beta1 * mean[i] + (1.0 - beta1) * g;
                let v = beta2 * square[i] + (1.0 - beta2) * g * g;
                let step = (m / power(beta1)) / ((v / power(beta2)).sqrt() + eps);
                weight[i] -= lr * weight_decay * weight[i] + lr * step;
                (mean[i], square[i]) = (rounded(m), rounded(v));
            }
            assert_eq!(slot.weight.dtype(), DType::F32, "master weights are f32");
            assert_eq!([slot.exp_avg.dtype(), slot.exp_avg_sq.dtype()], [moments; 2]);
            report.check("weight", case, slot.weight.clone(), &weight);
            report.check("exp_avg", case, slot.exp_avg.clone(), &mean);
            report.check("exp_avg_sq", case, slot.exp_avg_sq.clone(), &square);
            assert_eq!(host(gradient_on), gradient, "an input was overwritten");
        }
    }
    report.finish();
}

/// The nearest number of bf16, the even one of two.
fn to_bf16(value: f64) -> f64 {
    let bits = (value as f32).to_bits();
    let even = bits >> 16 & 1;
    f64::from(f32::from_bits((bits + 0x7fff + even) & 0xffff_0000))
}

pub(crate) fn grad_norm(setup: Setup) {
    let mut report = Report::new("grad_norm", setup);
    let cases = [1.0, 1e-3, 300.0];
    for (idx, case @ &scale) in cases.iter().enumerate() {
        let random = &mut setup.random(idx);
        let shapes = [[1, 1], [129, 257], [1, 65], [513, 7], [3, 3], [1025, 2048]];
        let mut values: Vec<Vec<f64>> =
            shapes.iter().map(|[rows, cols]| setup.normal(random, rows * cols, scale)).collect();
        values[4].fill(0.0);
        let tensors: Vec<Tensor<2>> =
            values.iter().zip(shapes).map(|(v, shape)| setup.tensor(v, shape)).collect();
        let expected = values.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
        let norm = grad_norm::forward(&tensors);
        report.check("norm", case, setup.wide(&[norm], [1]), &[expected]);
        assert!(relative(&[norm], &[expected]) <= setup.tolerance);
    }
    assert_eq!(grad_norm::forward([]), 0.0);
    report.finish();
}
