//! The network against the reference implementation: every golden checkpoint, forward to gradients.
//!
//! Logits, hidden states, log-probabilities, losses, gradients (plain, masked, packed documents)
//! and greedy text. In f32 no operation may fall back. `NEO_TEST_DEVICE` chooses the device.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;

use burn::tensor::{DType, Tensor};
use golden::{
    Errors, Golden, Trained, Values, checkpoints, device, device_name, distance, host, train,
};
use neo_backends::{Precision, fallback, kernels::grad_norm};
use neo_model::{
    Parameters, Transformer,
    generate::{Limits, Sampling, generate},
    hf::{self, HfConfig},
    score::score,
    transformer::InputIds,
};
use serde_json::Value;

/// Runs `check` on every checkpoint; at least one must have had a case.
fn conform(check: impl Fn(&Golden, &mut Errors) -> usize) {
    let checkpoints = checkpoints();
    let mut errors = Errors::default();
    let n_cases: usize = checkpoints.iter().map(|golden| check(golden, &mut errors)).sum();
    assert!(checkpoints.is_empty() || n_cases > 0, "no case ran");
    assert_eq!(fallback::count(), 0, "an operation took its slow form");
    errors.print();
}

/// The tolerance of the golden folder's notes on the CPU, 1e-3 on other devices.
fn tolerance(on_flex: f64) -> f64 {
    if device_name() == "flex" { on_flex } else { f64::max(on_flex, 1e-3) }
}

#[test]
fn conformance_forward() {
    conform(|golden, errors| {
        let values = golden.values("forward.safetensors").unwrap();
        let rows = values.rows("input_ids");
        let (ids, batch, seq) = (rows.concat(), rows.len(), rows[0].len());
        let model = golden.model(Precision::F32);
        let input = model.upload(InputIds::rows(&ids, batch, seq));
        let close = tolerance(1e-4);
        let states = model.hidden_states(&input);
        let top = states.len() - 1;
        for (idx, state) in states.into_iter().enumerate() {
            let name = if idx == top { "hidden.norm".into() } else { format!("hidden.{idx}") };
            let error = distance(&host(state.clone()), &values.floats(&name));
            errors.check(golden, &name, error, close);
            if idx == top {
                let error = distance(&host(model.logits(state)), &values.floats("logits"));
                errors.check(golden, "logits", error, close);
            }
        }
        assert!(
            !values.0.contains(&format!("hidden.{top}")),
            "as many blocks as the reference has"
        );

        let sequences: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let scores = score(&model, &sequences).unwrap().concat();
        let log_probs: Vec<f64> = scores.iter().map(|score| score.log_prob.into()).collect();
        let error = distance(&log_probs, &values.floats("token_logprobs"));
        errors.check(golden, "token_logprobs", error, close);

        let rounded = rounded_to_bf16(&model.parameters);
        let model = Transformer { parameters: rounded, ..model };
        let logits = host(model.logits(model.forward(&input)));
        let error = distance(&logits, &values.floats("logits_bf16_weights"));
        errors.check(golden, "logits_bf16_weights", error, close);
        1
    });
}

/// The weights as bf16 holds them, in f32; rounded on the host, since not every device has bf16.
fn rounded_to_bf16(parameters: &Parameters) -> Parameters {
    let round = |tensor: Tensor<2>| {
        let device = tensor.device();
        let data = tensor.into_data().convert_dtype(DType::BF16).convert_dtype(DType::F32);
        Tensor::from_data(data, (&device, DType::F32))
    };
    Parameters::from_vec(parameters.clone().into_vec().into_iter().map(round).collect())
}

#[test]
fn conformance_gradients() {
    conform(|golden, errors| {
        let model = golden.model(Precision::F32);
        let values = golden.values("forward.safetensors").unwrap();
        let rows = values.rows("input_ids");
        let mask = values.floats("loss_mask");
        let nll: Vec<f64> = values.floats("token_logprobs").iter().map(|p| -p).collect();
        for (case, file, mask) in [
            ("plain", "grads.safetensors", vec![1.0; mask.len()]),
            ("masked", "grads_masked.safetensors", mask),
        ] {
            let found = train(&model, &rows, &mask, None, None);
            let error = distance(&found.nll, &nll);
            errors.check(golden, &format!("{case} nll"), error, tolerance(1e-4));
            check_training(golden, case, &golden.expected[case], file, found, errors);
        }
        2
    });
}

#[test]
fn conformance_packed_documents() {
    conform(|golden, errors| {
        let Some(values) = golden.values("packed.safetensors") else { return 0 };
        let model = golden.model(Precision::F32);
        let rows = values.rows("input_ids");
        assert_eq!(rows.len(), 1, "document ids belong to one row");
        let mask = values.floats("loss_mask");
        let documents = values.ids("doc_ids");
        let start = |id: &u32| documents.iter().position(|other| other == id).unwrap() as u32;
        let own: Vec<u32> = documents.iter().map(start).collect();
        let reset = values.ids("position_ids_reset");
        for (span, document_start) in [("own_doc", Some(own.as_slice())), ("causal", None)] {
            for (order, positions) in [("keep_pos", None), ("reset_pos", Some(reset.as_slice()))] {
                let case = format!("{span}.{order}");
                let (ids, batch, seq) = (rows[0].as_slice(), 1, rows[0].len());
                let ids = InputIds { ids, batch, seq, document_start, positions };
                let input = model.upload(ids);
                let logits = host(model.logits(model.forward(&input)));
                let error = distance(&logits, &values.floats(&format!("{case}.logits")));
                errors.check(golden, &format!("{case} logits"), error, tolerance(1e-4));
                let found = train(&model, &rows, &mask, document_start, positions);
                let error = distance(&found.nll, &values.floats(&format!("{case}.nll")));
                errors.check(golden, &format!("{case} nll"), error, tolerance(1e-4));
                let expected = &golden.expected["packed"][&case];
                let file = format!("grads_{case}.safetensors");
                check_training(golden, &case, expected, &file, found, errors);
            }
        }
        4
    });
}

#[test]
fn conformance_greedy_text() {
    conform(|golden, _| {
        let model = golden.model(Precision::F32);
        let values = golden.values("forward.safetensors").unwrap();
        let real = golden.expected["real_vocab"].as_u64().unwrap() as usize;
        let choices = [("greedy_ids", model.config.vocab_size), ("greedy_ids_real_vocab", real)];
        let mut n_cases = 0;
        for (name, n_choices) in choices.into_iter().filter(|(name, _)| values.0.contains(name)) {
            for (prompt, expected) in values.rows("input_ids").iter().zip(values.rows(name)) {
                let limits = Limits { max_new: expected.len(), stop_ids: &[], n_choices };
                let found = generate(&model, prompt, Sampling::GREEDY, &limits, &mut |_| ());
                assert_eq!(found.unwrap(), expected, "{} {name}", golden.name);
                n_cases += 1;
            }
        }
        n_cases
    });
}

/// Both spellings of the configuration and both layouts of the files lead to the same network.
#[test]
fn conformance_files() {
    conform(|golden, _| {
        let newer = HfConfig::read_file(&golden.dir.join("config_v5.json")).unwrap();
        let model = golden.model(Precision::F32);
        assert_eq!(newer.model, model.config, "{}", golden.name);
        assert_eq!(model.config.vocab_size as u64, golden.expected["rows"].as_u64().unwrap());
        assert_eq!(model.config.num_params(), golden.expected["parameters"].as_u64().unwrap());
        let sharded = golden.dir.join("model.safetensors.index.json").exists();
        let max_shard_bytes = if sharded { u64::MAX } else { 4 * model.config.num_params() / 3 };
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        hf::export(&golden.dir, &other, None, max_shard_bytes, &mut |_, _| ()).unwrap();
        assert_ne!(
            other.join("model.safetensors.index.json").exists(),
            sharded,
            "the other layout"
        );
        let other = Transformer::load(&other, Precision::F32, device()).unwrap();
        assert_eq!(other.config, model.config);
        let all = |model: Transformer| model.parameters.into_vec().into_iter().map(host::<2>);
        assert!(all(model).eq(all(other)), "{}: weights of the other layout", golden.name);
        1
    });
}

/// Holds loss and gradients to the summary in `expected.json` and to the full gradients in `file`.
fn check_training(
    golden: &Golden,
    case: &str,
    expected: &Value,
    file: &str,
    found: Trained,
    errors: &mut Errors,
) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    assert_eq!(found.n_tokens, number("tokens"));
    for key in ["loss", "loss_f64"] {
        let error = (found.loss - number(key)).abs();
        errors.check(golden, &format!("{case} {key}"), error, tolerance(1e-5));
    }
    let full = golden.values(file);
    let tensors = found.gradients.into_vec();
    let error = (grad_norm::forward(&tensors) / number("grad_norm") - 1.0).abs();
    errors.check(golden, &format!("{case} gradient norm"), error, tolerance(1e-4));
    let names = hf::parameter_names(&golden.model(Precision::F32).config);
    assert_eq!(names.len(), expected["grads"].as_object().unwrap().len());
    for ((name, _), gradient) in names.iter().zip(tensors) {
        let gradient = host(gradient);
        let error = summary_distance(&gradient, &expected["grads"][name]);
        errors.check(golden, &format!("{case} gradient summaries"), error, tolerance(1e-4));
        if let Some(full) = &full {
            let error = gradient_distance(&gradient, full, name);
            errors.check(golden, &format!("{case} gradients"), error, tolerance(1e-4));
        }
    }
}

/// Largest error of a gradient's first entries, largest one, length and sum, each relative.
fn summary_distance(gradient: &[f64], summary: &Value) -> f64 {
    let number = |key: &str| summary[key].as_f64().unwrap();
    let largest = number("absmax");
    let head: Vec<f64> =
        summary["head"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let l2 = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let sum: f64 = gradient.iter().sum();
    // Independent errors of n entries add up to the root of n times one of them.
    let root_n = (gradient.len() as f64).sqrt();
    [
        distance(&gradient[..head.len()], &head) / largest,
        (distance(gradient, &vec![0.0; gradient.len()]) / largest - 1.0).abs(),
        (l2 / number("l2") - 1.0).abs(),
        (sum - number("sum")).abs() / (largest * root_n),
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

/// Largest difference over the tensor's largest entry.
fn gradient_distance(gradient: &[f64], full: &Values, name: &str) -> f64 {
    let expected = full.floats(name);
    let largest = distance(&expected, &vec![0.0; expected.len()]);
    distance(gradient, &expected) / largest
}
