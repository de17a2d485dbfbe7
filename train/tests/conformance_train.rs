//! Training steps against the golden trajectories: `trajectory.json`, `accumulate.json`, `z_loss.json`.
//!
//! Everything but the tolerances of their README is read from the files. `NEO_TEST_DEVICE` chooses
//! the device.

#![expect(clippy::unwrap_used, reason = "a test may unwrap outside its test functions too")]

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use neo_backends::{
    Precision,
    resident::{Card, card_of},
};
use neo_data::loader::TokenBatch;
use neo_model::{
    ModelConfig, Parameters, Recompute, hf,
    load::{f32_specs, read_parameters, to_host},
    weights::WeightReader,
};
use neo_train::{
    learner::Learner,
    optimizer::Optimizer,
    recipe::{AttentionSpan, OptimizerSettings},
    resident::Resident,
    schedule::Schedule,
    step::StepSettings,
};
use serde_json::Value;

const LOSS: f64 = 1e-4;
const NORM: f64 = 1e-4;
const WEIGHTS: f64 = 1e-4;
const LR: f64 = 1e-12;
const GRADIENTS: f64 = 1e-4;

/// The golden folder `train`, or `None` where there is none and none was asked for.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn golden() -> Option<PathBuf> {
    let (folder, asked) = match std::env::var_os("NEO_GOLDEN") {
        Some(folder) => (PathBuf::from(folder), true),
        None => (PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden"), false),
    };
    if folder.join("train").is_dir() {
        return Some(folder.join("train"));
    }
    assert!(!asked, "NEO_GOLDEN leads to `{}`, which has no folder `train`", folder.display());
    eprintln!("skipped: no golden folder at `{}`", folder.display());
    None
}

/// The device that the tensors of a test lie on: an emulated card has none of its own.
fn device() -> Device {
    let name = std::env::var("NEO_TEST_DEVICE").unwrap_or_else(|_| "flex".into());
    let name = if name == "emulated" { "flex" } else { &name };
    neo_backends::device::open(name).unwrap()
}

/// The card that holds the whole step, where the test device is one.
fn card(device: &Device) -> Option<Box<dyn Card>> {
    if std::env::var("NEO_TEST_DEVICE").is_ok_and(|name| name == "emulated") {
        #[cfg(feature = "emulated")]
        {
            use neo_backends::resident::emulated::{Behaviour, Emulated};
            return Some(Box::new(Emulated::new(Behaviour::HOPPER)));
        }
        #[cfg(not(feature = "emulated"))]
        panic!("NEO_TEST_DEVICE is `emulated`, which needs the Cargo feature `emulated`");
    }
    card_of(device).unwrap()
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no number `{key}` in {value}"))
}

/// What the files fix for all runs.
struct Golden {
    dir: PathBuf,
    trajectory: Value,
    config: ModelConfig,
    checkpoint: PathBuf,
    batches: WeightReader,
    device: Device,
}

impl Golden {
    fn open() -> Option<Self> {
        let dir = golden()?;
        let trajectory = json(&dir.join("trajectory.json"));
        let checkpoint = dir.join(trajectory["checkpoint"].as_str().expect("a checkpoint"));
        let config = hf::HfConfig::read(&checkpoint).unwrap().model;
        let batches = WeightReader::open(&dir.join("batches.safetensors")).unwrap();
        Some(Self { dir, trajectory, config, checkpoint, batches, device: device() })
    }

    fn settings(&self, clip_norm: f64, z_loss: f64) -> OptimizerSettings {
        let hyper = &self.trajectory["hyperparameters"];
        OptimizerSettings {
            beta1: hyper["betas"][0].as_f64().unwrap(),
            beta2: hyper["betas"][1].as_f64().unwrap(),
            eps: number(hyper, "eps"),
            weight_decay: number(hyper, "weight_decay"),
            clip_norm,
            moments: Precision::F32,
            z_loss,
        }
    }

    /// The golden weights, for steps over micro-batches of this many rows of `seq` tokens.
    fn start(&self, settings: OptimizerSettings, rows: usize, seq: usize) -> Learner {
        if let Some(card) = card(&self.device) {
            let step = self.step_settings(rows, settings.z_loss);
            let mut resident = Resident::new(card, &step, seq, settings).unwrap();
            resident.load(&self.checkpoint).unwrap();
            return Learner::Card(resident);
        }
        let weights = read_parameters(&self.checkpoint, &self.config, &self.device).unwrap();
        Learner::Tensors(Optimizer::new(settings, &self.config, weights))
    }

    /// A learner for the rows of a run of `trajectory.json`.
    fn start_run(&self, settings: OptimizerSettings, ids: &str) -> Learner {
        let first = &self.batches(ids, None)[0];
        self.start(settings, first.n_sequences, first.seq_len)
    }

    fn step_settings(&self, micro_batch_sequences: usize, z_loss: f64) -> StepSettings<'_> {
        StepSettings {
            config: &self.config,
            precision: Precision::F32,
            attention_span: AttentionSpan::Row,
            z_loss,
            recompute: Recompute::None,
            micro_batch_sequences,
            device: &self.device,
        }
    }

    /// Batches of a tensor `[.., rows, seq + 1]`, with its mask if it has one.
    fn batches(&self, ids: &str, mask: Option<&str>) -> Vec<TokenBatch> {
        let ids = self.batches.read(ids).unwrap();
        let [.., rows, width] = ids.shape[..] else { panic!("{:?}", ids.shape) };
        let seq_len = width - 1;
        let values: Vec<u32> = ids.to_i64().iter().map(|&id| u32::try_from(id).unwrap()).collect();
        let n_values = values.len();
        let mask = match mask {
            Some(mask) => self.batches.read(mask).unwrap().to_f32(),
            None => vec![1.0; n_values / width * seq_len],
        };
        let batches = values.chunks_exact(rows * width).zip(mask.chunks_exact(rows * seq_len));
        batches
            .map(|(ids, mask)| TokenBatch {
                n_sequences: rows,
                seq_len,
                ids: ids.to_vec(),
                loss_mask: mask.to_vec(),
                document_start: vec![0; rows * seq_len],
            })
            .collect()
    }

    /// The schedule of a run, from its own description.
    fn schedule(&self, run: &Value) -> (Schedule, u64) {
        let hyper = &self.trajectory["hyperparameters"];
        let (peak_lr, min_lr) = (number(hyper, "peak"), number(hyper, "floor"));
        // `mixed_clip` is the first updates of `main` and states no schedule of its own.
        let main = &self.trajectory["main"]["schedule"];
        let schedule = run.get("schedule").unwrap_or(main);
        let total_steps = number(schedule, "total") as u64;
        let made = match schedule["kind"].as_str() {
            Some("cosine") => Schedule::Cosine {
                peak_lr,
                min_lr,
                warmup_steps: number(schedule, "warmup") as u64,
                warmup_from_lr: number(schedule, "start"),
                total_steps,
            },
            Some("wsd") => Schedule::Wsd {
                peak_lr,
                min_lr,
                warmup_steps: 0,
                stable_steps: number(schedule, "stable"),
                half_life_steps: number(schedule, "half_life_steps"),
            },
            kind => panic!("schedule {kind:?}"),
        };
        (made, total_steps)
    }

    /// Trains one run of `trajectory.json` and checks every step and the final weights.
    fn check_run(&self, name: &str, ids: &str, learner: &mut Learner) {
        let run = &self.trajectory[name];
        let steps = run["steps"].as_array().expect("steps");
        assert!(!steps.is_empty());
        let (schedule, total_steps) = self.schedule(run);
        let batches = self.batches(ids, None);
        let mut worst = [0f64; 2];
        for (t, (step, batch)) in steps.iter().zip(&batches).enumerate() {
            let lr = schedule.lr(t as u64, total_steps);
            check(lr, number(step, "lr"), LR * number(step, "lr"), &format!("{name} {t} lr"));
            let settings = self.step_settings(batch.n_sequences, 0.0);
            let found = learner.step(batch, lr, &settings).unwrap();
            let (loss, norm) = (number(step, "loss"), number(step, "grad_norm"));
            check(found.loss, loss, LOSS, &format!("{name} {t} loss"));
            check(found.grad_norm, norm, NORM * norm, &format!("{name} {t} norm"));
            worst[0] = worst[0].max((found.loss - loss).abs());
            worst[1] = worst[1].max((found.grad_norm / norm - 1.0).abs());
        }
        self.check_summaries(learner, &run["final_weights"], name);
        say(&format!(
            "{name}: {} steps, loss {:.1e}, norm {:.1e}",
            steps.len(),
            worst[0],
            worst[1]
        ));
    }

    /// Compares l2 norms and first entries of all weights with their summaries.
    fn check_summaries(&self, learner: &Learner, summaries: &Value, what: &str) {
        let summaries = summaries.as_object().expect("summaries by name");
        let mut n_checked = 0;
        for (name, values) in named(&self.config, learner.weights(DType::F32).unwrap()) {
            let summary = &summaries[&name];
            let l2 = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            check(l2, number(summary, "l2"), WEIGHTS * l2, &format!("{what} {name} l2"));
            n_checked += 1;
        }
        assert_eq!(n_checked, summaries.len());
    }
}

/// Every parameter's name and values.
fn named(config: &ModelConfig, parameters: Parameters) -> Vec<(String, Vec<f32>)> {
    let specs = f32_specs(config, "");
    let pairs = parameters.into_vec().into_iter().zip(specs);
    pairs.map(|(t, spec)| (spec.name.clone(), to_host(&t, &spec).unwrap().to_f32())).collect()
}

#[track_caller]
fn check(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

#[expect(clippy::print_stderr, reason = "the measured errors are worth reading")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[test]
fn conformance_main_and_decay_trajectories() {
    let Some(golden) = Golden::open() else { return };
    let clip = number(&golden.trajectory["hyperparameters"], "clip");
    let mut learner = golden.start_run(golden.settings(clip, 0.0), "main.ids");
    golden.check_run("main", "main.ids", &mut learner);
    let stored = WeightReader::open(&golden.dir.join("final_weights.safetensors")).unwrap();
    for (name, values) in named(&golden.config, learner.weights(DType::F32).unwrap()) {
        let expected = stored.read(&name).unwrap().to_f32();
        let square = |x: f64| x * x;
        let gap: f64 = values.iter().zip(&expected).map(|(a, b)| square(f64::from(a - b))).sum();
        let size: f64 = expected.iter().map(|&x| square(f64::from(x))).sum();
        assert!((gap / size).sqrt() <= WEIGHTS, "{name}: {:e}", (gap / size).sqrt());
    }
    learner.restart().unwrap();
    golden.check_run("decay", "decay.ids", &mut learner);
}

#[test]
fn conformance_clip_that_only_half_of_the_steps_exceed() {
    let Some(golden) = Golden::open() else { return };
    let run = &golden.trajectory["mixed_clip"];
    let mut learner = golden.start_run(golden.settings(number(run, "clip"), 0.0), "main.ids");
    golden.check_run("mixed_clip", "main.ids", &mut learner);
}

/// Checks loss, gradients (by l2) and norm of one batch; from a learner of its own.
fn check_gradients(golden: &Golden, batch: &TokenBatch, micro: usize, z: f64, expected: &Value) {
    let clip = number(&golden.trajectory["hyperparameters"], "clip");
    let mut learner = golden.start(golden.settings(clip, z), micro, batch.seq_len);
    let settings = golden.step_settings(micro, z);
    let (cross_entropy, square_log_z, sums) = learner.gradients(batch, &settings).unwrap();
    let loss = cross_entropy + z * square_log_z;
    check(loss, number(expected, "loss"), LOSS, "loss");
    let mut square = 0.0;
    for (name, values) in named(&golden.config, sums) {
        let l2 = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let summary = &expected["grads"][&name];
        check(l2, number(summary, "l2"), GRADIENTS * l2, &format!("gradient of {name}"));
        let absmax = number(summary, "absmax");
        for (found, head) in values.iter().zip(summary["head"].as_array().unwrap()) {
            check(f64::from(*found), head.as_f64().unwrap(), GRADIENTS * absmax, &name);
        }
        square += l2 * l2;
    }
    let norm = number(expected, "grad_norm");
    check(square.sqrt(), norm, NORM * norm, "norm");
}

#[test]
fn conformance_accumulation_is_token_weighted() {
    let Some(golden) = Golden::open() else { return };
    let accumulate = json(&golden.dir.join("accumulate.json"));
    let parts = golden.batches("accumulate.ids", Some("accumulate.loss_mask"));
    let counted: Vec<f64> = parts.iter().map(TokenBatch::n_targets).collect();
    let expected: Vec<f64> =
        accumulate["tokens"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert_eq!(counted, expected);
    let whole = TokenBatch {
        n_sequences: parts.iter().map(|part| part.n_sequences).sum(),
        seq_len: parts[0].seq_len,
        ids: parts.iter().flat_map(|part| part.ids.clone()).collect(),
        loss_mask: parts.iter().flat_map(|part| part.loss_mask.clone()).collect(),
        document_start: parts.iter().flat_map(|part| part.document_start.clone()).collect(),
    };
    let weighted = &accumulate["token_weighted"];
    for micro in [parts[0].n_sequences, whole.n_sequences, 1] {
        check_gradients(&golden, &whole, micro, 0.0, weighted);
    }
    let hyper = &golden.trajectory["hyperparameters"];
    let (rows, optimizer) = (parts[0].n_sequences, golden.settings(number(hyper, "clip"), 0.0));
    let mut learner = golden.start(optimizer, rows, whole.seq_len);
    let settings = golden.step_settings(rows, 0.0);
    learner.step(&whole, number(hyper, "peak"), &settings).unwrap();
    golden.check_summaries(&learner, &weighted["weights_after_one_update"], "one update");
}

#[test]
fn conformance_z_loss() {
    let Some(golden) = Golden::open() else { return };
    let expected = json(&golden.dir.join("z_loss.json"));
    let batches = golden.batches("z.ids", Some("z.loss_mask"));
    let z = number(&expected, "coefficient");
    assert_eq!(batches[0].n_targets(), number(&expected, "tokens"));
    check_gradients(&golden, &batches[0], batches[0].n_sequences, z, &expected);
    check_gradients(&golden, &batches[0], 1, z, &expected);
}
