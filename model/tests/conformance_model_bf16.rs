//! The network in bf16 against the reference implementation, where the device has bf16.
//!
//! Apart from `conformance_model.rs` because Flex takes slow forms for bf16, and the counter of
//! fallbacks belongs to the process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;

use burn::tensor::DType;
use golden::{Errors, Golden, checkpoints, device, distance, host, train};
use neo_backends::Precision;
use neo_model::{hf, transformer::InputIds};

/// Runs `check` on every checkpoint, where the device has bf16.
#[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
fn conform(check: impl Fn(&Golden, &mut Errors)) {
    if !device().supports_dtype(DType::BF16) {
        eprintln!("skipped: the device has no bf16");
        return;
    }
    let mut errors = Errors::default();
    checkpoints().iter().for_each(|golden| check(golden, &mut errors));
    errors.print();
}

#[test]
fn conformance_bf16_logits() {
    conform(|golden, errors| {
        let values = golden.values("forward.safetensors").unwrap();
        let rows = values.rows("input_ids");
        let model = golden.model(Precision::Bf16);
        let input = model.upload(InputIds::rows(&rows.concat(), rows.len(), rows[0].len()));
        let logits = model.logits(model.forward(&input));
        assert_eq!(logits.dtype(), DType::BF16, "the head is multiplied in bf16");
        let (logits, expected) = (host(logits), values.floats("logits_bf16"));
        errors.check(golden, "logits_bf16", distance(&logits, &expected), 0.3);
        let best = |logits: &[f64]| -> Vec<usize> {
            let rows = logits.chunks_exact(model.config.vocab_size);
            rows.map(|row| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap())
                .collect()
        };
        let (ours, theirs) = (best(&logits), best(&expected));
        let n_other = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
        let share = n_other as f64 / ours.len() as f64;
        errors.check(golden, "share of other arg-max", share, 0.05);
    });
}

/// A training pass in bf16 against the f32 reference, by `||a - b|| / ||b||` of each gradient.
#[test]
fn conformance_bf16_gradients() {
    conform(|golden, errors| {
        let values = golden.values("forward.safetensors").unwrap();
        let rows = values.rows("input_ids");
        let model = golden.model(Precision::Bf16);
        let mask = vec![1.0; values.floats("loss_mask").len()];
        let found = train(&model, &rows, &mask, None, None);
        let expected = |key: &str| golden.expected["plain"][key].as_f64().unwrap();
        assert_eq!(found.n_tokens, expected("tokens"));
        errors.check(golden, "loss", (found.loss - expected("loss")).abs(), 2e-2);
        let nll: Vec<f64> = values.floats("token_logprobs").iter().map(|p| -p).collect();
        errors.check(golden, "nll", distance(&found.nll, &nll), 0.3);
        let full = golden.values("grads.safetensors").unwrap();
        let names = hf::parameter_names(&model.config);
        for ((name, _), gradient) in names.iter().zip(found.gradients.into_vec()) {
            assert_eq!(gradient.dtype(), DType::F32, "gradients are summed in f32");
            let error = relative(&host(gradient), &full.floats(name));
            errors.check(golden, "gradients", error, 5e-2);
        }
    });
}

fn relative(actual: &[f64], expected: &[f64]) -> f64 {
    let squares: f64 = actual.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
    (squares / expected.iter().map(|b| b * b).sum::<f64>()).sqrt()
}
