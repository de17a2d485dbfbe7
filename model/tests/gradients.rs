//! The hand-written backward against burn's autodiff, and other ways to the same numbers.
//!
//! Random tiny models (MHA, MQA, GQA), rows and documents, sequences beyond one attention chunk.
//! Micro-batches, decoding with a cache and scoring must give what one full pass gives.
//! `NEO_TEST_DEVICE` chooses the device (`flex` if unset).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::Range;
use std::sync::OnceLock;

use burn::tensor::{DType, Device, Tensor, TensorData};
use neo_backends::{fallback, kernels::linear_cross_entropy::Targets};
use neo_model::{
    ModelConfig, Parameters, Recompute, Transformer,
    generate::{Limits, Sampling, generate},
    kv_cache::KvCache,
    score::score,
    transformer::{InputIds, upload_ids},
};

const TOLERANCE: f64 = 1e-5;

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let name = std::env::var("NEO_TEST_DEVICE").unwrap_or_else(|_| "flex".to_owned());
        neo_backends::device::open(&name).unwrap_or_else(|problem| panic!("`{name}`: {problem}"))
    })
}

/// A model of two blocks with lively weights, norms not all one.
fn model([n_heads, n_kv_heads, head_dim]: [usize; 3], seed: u64) -> Transformer {
    let config = ModelConfig {
        vocab_size: 37,
        n_layers: 2,
        d_model: 20,
        n_heads,
        n_kv_heads,
        head_dim,
        d_ff: 28,
        max_seq_len: 400,
        rope_base: 10_000.0,
        norm_eps: 1e-5,
        init_std: 0.3,
    };
    config.validate().unwrap();
    let mut model = Transformer::init(&config, seed, device());
    let lively = |tensor: Tensor<2>| match tensor.dims() {
        [1, d] => {
            let values: Vec<f32> = (0..d).map(|i| 1.0 + 0.4 * (i as f32 * 1.7).sin()).collect();
            Tensor::from_data(TensorData::new(values, [1, d]), device())
        }
        _ => tensor,
    };
    let tensors = model.parameters.into_vec().into_iter().map(lively);
    model.parameters = Parameters::from_vec(tensors.collect());
    model
}

/// Host side of a training batch.
struct Batch {
    batch: usize,
    seq: usize,
    inputs: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    document_start: Option<Vec<u32>>,
}

impl Batch {
    /// Random ids, every fourth target masked, and where asked documents of 1 to 9 tokens.
    fn random([batch, seq]: [usize; 2], vocab: u32, documents: bool) -> Self {
        let n = batch * seq;
        let draw = |i: usize, salt: u32| {
            let mixed = (i as u32 + 1).wrapping_mul(2_654_435_761).wrapping_add(salt);
            mixed.wrapping_mul(mixed >> 13 | 1) >> 8
        };
        let first_of_documents = || {
            let mut start = 0;
            (0..n)
                .map(|i| {
                    let at = (i % seq) as u32;
                    start = if at == 0 || draw(i, 5) % 5 == 0 { at } else { start };
                    start
                })
                .collect()
        };
        let weight = |i: usize| if i % 4 == 2 { 0.0 } else { (1 + i % 3) as f32 / n as f32 };
        Self {
            batch,
            seq,
            inputs: (0..n).map(|i| draw(i, 1) % vocab).collect(),
            targets: (0..n).map(|i| draw(i, 2) % vocab).collect(),
            weights: (0..n).map(weight).collect(),
            document_start: documents.then(first_of_documents),
        }
    }

    fn rows(&self, rows: Range<usize>) -> Self {
        let at = rows.start * self.seq..rows.end * self.seq;
        Self {
            batch: rows.len(),
            seq: self.seq,
            inputs: self.inputs[at.clone()].to_vec(),
            targets: self.targets[at.clone()].to_vec(),
            weights: self.weights[at.clone()].to_vec(),
            document_start: self.document_start.as_ref().map(|start| start[at].to_vec()),
        }
    }

    fn ids(&self) -> InputIds<'_> {
        let document_start = self.document_start.as_deref();
        let &Self { batch, seq, .. } = self;
        InputIds { ids: &self.inputs, batch, seq, document_start, positions: None }
    }

    fn targets(&self, device: &Device) -> Targets {
        let weights = TensorData::new(self.weights.clone(), [self.weights.len()]);
        Targets {
            ids: upload_ids(&self.targets, device),
            weights: Tensor::from_data(weights, (device, DType::F32)),
        }
    }

    /// Adds the hand-written gradients into `sums`; returns log-probabilities and log-sum-exps.
    fn train(&self, model: &Transformer, z_loss: f64, sums: &mut Parameters) -> [Vec<f64>; 2] {
        self.train_keeping(Recompute::None, model, z_loss, sums)
    }

    fn train_keeping(
        &self,
        recompute: Recompute,
        model: &Transformer,
        z_loss: f64,
        sums: &mut Parameters,
    ) -> [Vec<f64>; 2] {
        let (input, targets) = (model.upload(self.ids()), self.targets(device()));
        let losses = model.loss_and_gradients(&input, &targets, z_loss, recompute, sums);
        [host(losses.log_probs), host(losses.log_sum_exp)]
    }

    /// Gradients of micro-batches of these numbers of rows, added up.
    fn sum_over(&self, model: &Transformer, split: &[usize]) -> Parameters {
        let mut sums = Parameters::zeros(&model.config, device());
        let mut start = 0;
        for n_rows in split {
            self.rows(start..start + n_rows).train(model, 0.0, &mut sums);
            start += n_rows;
        }
        assert_eq!(start, self.batch);
        sums
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// Holds a result to `||a - b|| / ||b|| <= 1e-5`.
fn same(what: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let difference = squares(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
    let error = (difference / squares(&mut expected.iter().copied())).sqrt();
    assert!(error <= TOLERANCE, "{what}: error {error:.2e}");
}

fn same_gradients(what: &str, actual: Parameters, expected: Vec<Vec<f64>>) {
    for (idx, (actual, expected)) in actual.into_vec().into_iter().zip(expected).enumerate() {
        same(&format!("{what}, parameter {idx}"), &host(actual), &expected);
    }
}

/// Log-probabilities, log-sum-exps and gradients by recording the forward.
fn recorded(model: &Transformer, batch: &Batch, z_loss: f64) -> ([Vec<f64>; 2], Vec<Vec<f64>>) {
    let leaf = |tensor: Tensor<2>| tensor.autodiff().require_grad();
    let leaves: Vec<_> = model.parameters.clone().into_vec().into_iter().map(leaf).collect();
    let parameters = Parameters::from_vec(leaves.clone());
    let model = Transformer { config: model.config.clone(), parameters };
    let Targets { ids, weights } = batch.targets(&model.device());
    let n = ids.dims()[0];
    let logits = model.logits(model.forward(&model.upload(batch.ids())));
    let top = logits.clone().detach().max_dim(1);
    let log_sums = (logits.clone() - top.clone()).exp().sum_dim(1).log() + top;
    let log_sums = log_sums.reshape([n]);
    let log_probs = logits.gather(1, ids.reshape([n, 1])).reshape([n]) - log_sums.clone();
    let losses = log_sums.clone().square() * z_loss - log_probs.clone();
    let mut gradients = (losses * weights).sum().backward();
    let values = [log_probs, log_sums].map(|tensor| host(tensor.without_autodiff()));
    (values, leaves.iter().map(|leaf| host(leaf.grad_remove(&mut gradients).unwrap())).collect())
}

/// What is made again is made as it was: every gradient is the same to the last bit.
#[test]
fn recomputing_changes_no_bit() {
    let model = model(HEADS[2], 5);
    let batch = Batch::random([2, 33], 37, true);
    let gradients = |recompute| {
        let mut sums = Parameters::zeros(&model.config, device());
        let losses = batch.train_keeping(recompute, &model, 1e-2, &mut sums);
        (losses, sums.into_vec().into_iter().map(host).collect::<Vec<_>>())
    };
    let kept = gradients(Recompute::None);
    assert!(kept.1.iter().flatten().any(|&gradient| gradient != 0.0));
    for recompute in [Recompute::Mlp, Recompute::Block] {
        assert!(gradients(recompute) == kept, "{recompute:?}");
    }
}

/// Query heads, key heads, width of a head: MHA, MQA, GQA with widths that are not `d_model`.
const HEADS: [[usize; 3]; 3] = [[2, 2, 10], [4, 1, 6], [4, 2, 8]];

#[test]
fn backward_agrees_with_autodiff() {
    for (heads, shape, documents, z_loss) in [
        (HEADS[0], [2, 9], false, 0.0),
        (HEADS[1], [2, 9], true, 1e-2),
        (HEADS[2], [3, 11], true, 0.0),
        (HEADS[2], [2, 3], false, 1e-2),
        (HEADS[2], [1, 300], false, 0.0),
        (HEADS[0], [2, 270], true, 1e-2),
    ] {
        let case = format!("{heads:?} {shape:?} documents {documents}");
        let model = model(heads, 11);
        let batch = Batch::random(shape, model.config.vocab_size as u32, documents);
        let mut sums = Parameters::zeros(&model.config, device());
        let [log_probs, log_sums] = batch.train(&model, z_loss, &mut sums);
        let ([expected_log_probs, expected_log_sums], expected) = recorded(&model, &batch, z_loss);
        same(&format!("{case} log_probs"), &log_probs, &expected_log_probs);
        same(&format!("{case} log_sum_exp"), &log_sums, &expected_log_sums);
        same_gradients(&case, sums, expected);
    }
    assert_eq!(fallback::count(), 0, "an operation took its slow form");
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    for documents in [false, true] {
        let model = model(HEADS[2], 12);
        let batch = Batch::random([4, 13], model.config.vocab_size as u32, documents);
        let whole = batch.sum_over(&model, &[4]);
        for split in [vec![2, 2], vec![3, 1], vec![1, 1, 1, 1]] {
            let parts = batch.sum_over(&model, &split);
            let expected = whole.clone().into_vec().into_iter().map(host).collect();
            same_gradients(&format!("{split:?}"), parts, expected);
        }
    }
}

/// Positions decoded piece by piece see what they see in a full pass, cache growth included.
#[test]
fn cached_decoding_agrees_with_the_full_pass() {
    for (heads, pieces) in [
        (HEADS[0], vec![1, 1, 1, 1, 1]),
        (HEADS[1], vec![7, 1, 1, 5, 1, 8]),
        (HEADS[2], vec![290, 1, 30, 1, 1]),
    ] {
        let model = model(heads, 13);
        let (rows, seq) = (2, pieces.iter().sum());
        let batch = Batch::random([rows, seq], model.config.vocab_size as u32, false);
        let full = host(model.forward(&model.upload(batch.ids())));
        let width = model.config.d_model;
        let mut cache = KvCache::new(model.config.n_layers);
        for n in pieces {
            let at = cache.len()..cache.len() + n;
            let columns = |row: usize| row * seq + at.start..row * seq + at.end;
            let ids: Vec<u32> =
                (0..rows).flat_map(|row| batch.inputs[columns(row)].to_vec()).collect();
            let decoded = host(model.forward_cached(&ids, rows, &mut cache));
            let expected: Vec<f64> = (0..rows)
                .flat_map(|row| {
                    let columns = columns(row);
                    full[columns.start * width..columns.end * width].to_vec()
                })
                .collect();
            same(&format!("{heads:?} positions {at:?}"), &decoded, &expected);
        }
        assert_eq!(cache.len(), seq);
    }
    assert_eq!(fallback::count(), 0, "an operation took its slow form");
}

/// Scores of sequences of any lengths, side by side, are the log-softmax of each alone.
#[test]
fn scores_are_log_softmax() {
    let model = model(HEADS[1], 14);
    let vocab = model.config.vocab_size;
    let ids = Batch::random([1, 60], vocab as u32, false).inputs;
    let sequences: [&[u32]; 5] = [&ids[..9], &[], &ids[20..21], &ids[3..60], &ids[7..9]];
    let scores = score(&model, &sequences).unwrap();
    assert_eq!(scores.len(), sequences.len());
    for (ids, scores) in sequences.into_iter().zip(scores) {
        assert_eq!(scores.len(), ids.len().saturating_sub(1));
        if scores.is_empty() {
            continue;
        }
        let input = model.upload(InputIds::rows(ids, 1, ids.len()));
        let logits = host(model.logits(model.forward(&input)));
        let (mut expected, mut greedy) = (Vec::new(), Vec::new());
        for (row, &next) in logits.chunks_exact(vocab).zip(&ids[1..]) {
            let log_sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            expected.push(row[next as usize] - log_sum);
            greedy.push(row.iter().all(|&x| x <= row[next as usize]));
        }
        let found: Vec<f64> = scores.iter().map(|score| score.log_prob.into()).collect();
        same("log-probabilities", &found, &expected);
        assert!(scores.iter().map(|score| score.greedy).eq(greedy));
    }
    let too_long = vec![0; model.config.max_seq_len + 2];
    for bad in [&[vocab as u32][..], &too_long] {
        assert!(score(&model, &[bad]).is_err());
    }
}

/// Generation follows the arg-max of the full pass, and ends where it must.
#[test]
fn generation_ends_where_it_must() {
    let model = model(HEADS[2], 15);
    let vocab = model.config.vocab_size;
    let prompt = Batch::random([1, 6], vocab as u32, false).inputs;
    let run = |prompt: &[u32], max_new, stop_ids: &[u32], n_choices| {
        let limits = Limits { max_new, stop_ids, n_choices };
        let mut seen = Vec::new();
        let found =
            generate(&model, prompt, Sampling::GREEDY, &limits, &mut |id| seen.push(id)).unwrap();
        assert_eq!(found, seen, "every new token is reported");
        found
    };
    let found = run(&prompt, 8, &[], vocab);
    let mut text = prompt.clone();
    for &id in &found {
        let input = model.upload(InputIds::rows(&text, 1, text.len()));
        let logits = host(model.logits(model.forward(&input)));
        let last = &logits[logits.len() - vocab..];
        assert!(last.iter().all(|&x| x <= last[id as usize]));
        text.push(id);
    }
    assert_eq!(found.len(), 8);
    let stop = found[3];
    let before = found.iter().position(|&id| id == stop).unwrap();
    assert_eq!(run(&prompt, 8, &[stop], vocab), found[..before]);
    assert!(run(&prompt, 8, &[], 5).iter().all(|&id| id < 5));
    let context = model.config.max_seq_len;
    let long = Batch::random([1, context - 2], vocab as u32, false).inputs;
    assert_eq!(run(&long, 8, &[], vocab).len(), 3, "the last position still predicts");
    let refused = |prompt: &[u32]| {
        let limits = Limits { max_new: 1, stop_ids: &[], n_choices: vocab };
        generate(&model, prompt, Sampling::GREEDY, &limits, &mut |_| ()).is_err()
    };
    assert!(refused(&[]) && refused(&[vocab as u32]) && refused(&vec![0; context + 1]));
}
