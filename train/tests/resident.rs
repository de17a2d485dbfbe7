//! The step that lives on a card against the same step in burn's tensors: losses, gradients, updates.
//!
//! The card is the emulated one (Cargo feature `emulated`, which needs a C++ compiler), or the one of
//! `NEO_TEST_DEVICE=cuda`. Sizes are odd where kernels allow it.

#![cfg(any(feature = "emulated", feature = "cuda"))]
#![expect(clippy::unwrap_used, reason = "a test may unwrap outside its test functions too")]

use std::path::Path;

use burn::tensor::{DType, Device};
use neo_backends::{Precision, device, resident::Card};
use neo_data::loader::TokenBatch;
use neo_model::{ModelConfig, Recompute, Transformer, load::f32_specs, load::to_host};
use neo_train::{
    checkpoint::{Checkpoint, TrainState},
    learner::Learner,
    optimizer::Optimizer,
    recipe::{AttentionSpan, OptimizerSettings},
    resident::Resident,
    step::StepSettings,
};

/// One comparison.
#[derive(Clone, Copy)]
struct Case {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    rows: usize,
    seq: usize,
    precision: Precision,
    span: AttentionSpan,
    recompute: Recompute,
}

const PLAIN: Case = Case {
    n_heads: 3,
    n_kv_heads: 1,
    head_dim: 16,
    rows: 2,
    seq: 37,
    precision: Precision::F32,
    span: AttentionSpan::Row,
    recompute: Recompute::None,
};

const OPTIMIZER: OptimizerSettings = OptimizerSettings {
    beta1: 0.9,
    beta2: 0.95,
    eps: 1e-8,
    weight_decay: 0.1,
    clip_norm: 0.5,
    moments: Precision::F32,
    z_loss: 1e-3,
};

impl Case {
    fn config(&self) -> ModelConfig {
        ModelConfig {
            vocab_size: 104,
            d_model: 40,
            n_layers: 2,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            d_ff: 72,
            norm_eps: 1e-5,
            rope_base: 1e4,
            init_std: 0.15,
            max_seq_len: self.seq,
        }
    }

    fn settings<'a>(
        &self,
        config: &'a ModelConfig,
        precision: Precision,
        device: &'a Device,
    ) -> StepSettings<'a> {
        StepSettings {
            config,
            precision,
            attention_span: self.span,
            z_loss: OPTIMIZER.z_loss,
            recompute: self.recompute,
            micro_batch_sequences: self.rows,
            device,
        }
    }

    /// Two micro-batches whose rows hold several documents, ended by id 0.
    fn batch(&self) -> TokenBatch {
        let mut draw = 12345_u32;
        let mut next = || {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (draw >> 8) % 104
        };
        let id = |draw: u32, more: u32| if draw < 6 { 0 } else { draw.min(more) };
        let n = 2 * self.rows * (self.seq + 1);
        let ids = (0..n).map(|_| id(next(), next().max(1))).collect();
        TokenBatch::new(ids, self.seq, 0)
    }

    /// Compares loss, square, all gradients, and the weights after two updates.
    fn check(&self, card: Box<dyn Card>, tolerance: f64) {
        let (config, host) = (self.config(), Device::flex());
        let model = Transformer::init(&config, 7, &host);
        let optimizer = Optimizer::new(OPTIMIZER, &config, model.parameters);
        let mut tensors = Learner::Tensors(optimizer);
        let settings = self.settings(&config, self.precision, &host);
        let mut resident = Resident::new(card, &settings, self.seq, OPTIMIZER).unwrap();
        resident.initialise(7).unwrap();
        let mut resident = Learner::Card(resident);
        // The reference is always computed in f32.
        let reference = self.settings(&config, Precision::F32, &host);
        let batch = self.batch();

        let expected = tensors.gradients(&batch, &reference).unwrap();
        let found = resident.gradients(&batch, &settings).unwrap();
        close(&[found.0], &[expected.0], tolerance, "loss");
        close(&[found.1], &[expected.1], tolerance, "mean square log z");
        let pairs = found.2.into_vec().into_iter().zip(expected.2.into_vec());
        for ((found, expected), spec) in pairs.zip(f32_specs(&config, "")) {
            let values = |tensor| -> Vec<f64> {
                let host = to_host(&tensor, &spec).unwrap();
                host.to_f32().into_iter().map(f64::from).collect()
            };
            close(&values(found), &values(expected), 2.0 * tolerance, &spec.name);
        }
        for _ in 0..2 {
            let expected = tensors.step(&batch, 1e-3, &reference).unwrap();
            let found = resident.step(&batch, 1e-3, &settings).unwrap();
            close(&[found.loss], &[expected.loss], tolerance, "loss of a step");
            close(&[found.grad_norm], &[expected.grad_norm], tolerance, "norm");
        }
        let weights = |learner: &Learner| -> Vec<f64> {
            let parameters = learner.weights(DType::F32).unwrap().into_vec();
            let host = parameters.into_iter().zip(f32_specs(&config, ""));
            let host = host.flat_map(|(tensor, spec)| to_host(&tensor, &spec).unwrap().to_f32());
            host.map(f64::from).collect()
        };
        close(&weights(&resident), &weights(&tensors), tolerance, "weights");
    }
}

/// `||a - b|| / ||b||` within a tolerance; NaN never is.
#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    assert_eq!(found.len(), expected.len(), "{what}");
    let gap = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let error = gap / norm(&mut expected.iter().copied()).max(f64::MIN_POSITIVE);
    assert!(error <= tolerance, "{what}: {error:e}");
}

/// Opens a card.
type Open = Box<dyn Fn() -> Box<dyn Card>>;

/// The cards to test on.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn cards() -> Vec<Open> {
    let named = std::env::var("NEO_TEST_DEVICE").unwrap_or_default();
    let cards = if named.starts_with("cuda") { vec![real(named)] } else { emulated() };
    if cards.is_empty() {
        eprintln!("skipped: no card; the feature `emulated` brings one in host memory");
    }
    cards
}

fn real(name: String) -> Open {
    Box::new(move || {
        let device = device::open(&name).unwrap();
        neo_backends::resident::card_of(&device).unwrap().expect("a card for the whole step")
    })
}

#[cfg(feature = "emulated")]
fn emulated() -> Vec<Open> {
    use neo_backends::resident::emulated::{Behaviour, Emulated};
    let other_order = Behaviour { reversed: true, late: true, ..Behaviour::HOPPER };
    let card = |behaviour| -> Open { Box::new(move || Box::new(Emulated::new(behaviour))) };
    [Behaviour::HOPPER, other_order, Behaviour::AMPERE].map(card).into()
}

#[cfg(not(feature = "emulated"))]
fn emulated() -> Vec<Open> {
    Vec::new()
}

/// Weights and moments to the last bit.
fn state(learner: &Learner) -> Vec<Vec<u8>> {
    let streams = [learner.weight_stream(), learner.moment_stream()];
    streams.into_iter().flat_map(|stream| stream.tensors.map(|t| t.unwrap().bytes)).collect()
}

#[test]
fn a_run_that_goes_on_from_a_checkpoint_is_the_uninterrupted_one() {
    let case = Case { precision: Precision::Bf16, n_heads: 2, head_dim: 64, ..PLAIN };
    let optimizer = OptimizerSettings { moments: Precision::Bf16, ..OPTIMIZER };
    let (config, host, batch) = (case.config(), Device::flex(), case.batch());
    let settings = case.settings(&config, case.precision, &host);
    for card in cards() {
        let fresh = || Resident::new(card(), &settings, case.seq, optimizer).unwrap();
        let started = || {
            let mut resident = fresh();
            resident.initialise(7).unwrap();
            let mut learner = Learner::Card(resident);
            for _ in 0..2 {
                learner.step(&batch, 1e-3, &settings).unwrap();
            }
            learner
        };
        let mut uninterrupted = started();
        let folder = tempfile::tempdir().unwrap();
        let saved = save(&started(), &config, folder.path());
        let mut resumed = fresh();
        resumed.restore(&saved).unwrap();
        let mut resumed = Learner::Card(resumed);
        assert_eq!(resumed.updates(), 2);
        let outcomes = [&mut uninterrupted, &mut resumed].map(|learner| {
            let outcome = learner.step(&batch, 1e-3, &settings).unwrap();
            (outcome.loss.to_bits(), outcome.grad_norm.to_bits())
        });
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(state(&uninterrupted) == state(&resumed), "weights or moments differ");
    }
}

fn save(learner: &Learner, config: &ModelConfig, folder: &Path) -> Checkpoint {
    let train_state = TrainState {
        step: 2,
        tokens: 0,
        phase: 0,
        step_in_phase: 2,
        optimizer_steps: learner.updates(),
        recipe_hash: String::new(),
        corpus_hash: String::new(),
        seed: 7,
    };
    let (weights, moments) = (learner.weight_stream(), learner.moment_stream());
    Checkpoint::write(folder, &train_state, config, None, weights, moments, 1).unwrap()
}

const BF16: f64 = 2e-2;
const F32: f64 = 1e-5;

#[test]
fn f32_over_rows_and_documents() {
    for card in cards() {
        PLAIN.check(card(), F32);
        Case { span: AttentionSpan::Document, ..PLAIN }.check(card(), F32);
    }
}

#[test]
fn every_kind_of_recompute_gives_the_same() {
    for card in cards() {
        Case { recompute: Recompute::Mlp, ..PLAIN }.check(card(), F32);
        Case { recompute: Recompute::Block, ..PLAIN }.check(card(), F32);
    }
}

#[test]
fn bf16_over_widths_of_heads() {
    for card in cards() {
        for (n_heads, n_kv_heads, head_dim) in [(2, 1, 64), (3, 3, 128), (2, 2, 192), (2, 1, 256)] {
            let case = Case { n_heads, n_kv_heads, head_dim, precision: Precision::Bf16, ..PLAIN };
            case.check(card(), BF16);
            Case { span: AttentionSpan::Document, seq: 135, rows: 1, ..case }.check(card(), BF16);
        }
    }
}
