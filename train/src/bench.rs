//! How fast a recipe's training step is: speed, share of the machine's matrix rate, time by
//! operation, memory.
//!
//! Steps run on random tokens with the recipe's model and first phase, so no corpus is needed and
//! nothing is written. `bench/torch_step.py` times the same step in PyTorch.

use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, Distribution, Tensor};
use neo_backends::{
    fallback,
    kernels::linear,
    profile::{self, OperationTime, Span},
};
use neo_data::loader::TokenBatch;
use serde::Serialize;

use crate::{
    Error, Result,
    learner::Learner,
    memory,
    plan::{Memory, StepForm},
    recipe::Recipe,
    room,
    step::{StepOutcome, StepSettings},
};

/// Steps whose time does not count: compilation, tuning, the first touch of memory.
const WARM_UP_STEPS: usize = 3;
/// The part of a step in which no operation runs: the device waits for the host.
pub const HOST_GAP: &str = "host gap";
/// The stage that is the whole step.
pub const STEP: &str = "step";
/// Rows, columns and inner size of the product that the matrix rate is measured with.
const MATRIX_SIZE: usize = 2048;
/// The same on a card that holds the whole step.
const CARD_MATRIX_SIZE: usize = 8192;
/// How long the matrix rate is measured.
const MATRIX_TIME: Duration = Duration::from_secs(1);

/// What the steps of a recipe took on a device.
#[derive(Clone, Debug, Serialize)]
pub struct StepBenchmark {
    /// Name of the recipe.
    pub recipe: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Rows of one forward and backward pass.
    pub micro_batch_sequences: usize,
    /// Input tokens of one step.
    pub tokens_per_step: u64,
    /// By the median step.
    pub tokens_per_sec: f64,
    /// By the fastest step.
    pub best_tokens_per_sec: f64,
    /// Of the median step.
    pub step_ms: f64,
    /// FLOPs per second of the median step, attention halved because it is causal.
    pub tflops: f64,
    /// FLOPs per second of one large matrix product, measured before and after; the larger.
    pub matrix_tflops: f64,
    /// Highest memory use of the process, or of the device where that tells.
    pub peak_bytes: Option<u64>,
    /// Bytes that were planned for the step, by part.
    pub planned: Memory,
    /// Loss of each step, the warm-up included.
    pub losses: Vec<f64>,
    /// Time by operation in one more step, in which each is waited for; the longest first.
    pub operations: Vec<OperationShare>,
    /// Time of that step.
    pub observed_step_ms: f64,
    /// Every call of an operation and every stage of that step; `trace.rs` draws them.
    #[serde(skip)]
    pub spans: Vec<Span>,
    /// Operations that ran in a slower form than they should.
    pub fallbacks: usize,
}

/// What one operation takes of a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OperationShare {
    /// Name of the file in `kernels/`, or [`HOST_GAP`].
    pub name: &'static str,
    /// Number of calls.
    pub calls: u64,
    /// Time of all calls.
    pub ms: f64,
}

impl StepBenchmark {
    /// Runs `n_steps` timed steps after the warm-up, then one that is observed.
    ///
    /// # Errors
    /// A device that fails or lacks precision or memory, or no step to time.
    pub fn run(recipe: &Recipe, n_steps: usize, device: &Device) -> Result<Self> {
        if n_steps == 0 {
            return Err(Error::Setting("a benchmark needs at least one step".into()));
        }
        recipe.precision.check(device).map_err(neo_model::Error::from)?;
        let (micro_batch_sequences, _) = room::micro_batch(recipe, device)?;
        room::check(recipe, micro_batch_sequences, device)?;
        let phase = &recipe.phases[0];
        let settings = StepSettings::of(recipe, micro_batch_sequences, device);
        let mut learner = Learner::open(recipe, &settings, None)?;
        let lr = phase.schedule.lr(phase.steps / 2, phase.steps);
        let mut draws = recipe.seed;
        let mut step = |learner: &mut Learner| -> Result<(StepOutcome, Duration)> {
            let rows = phase.batch_sequences;
            let batch = random_batch(&mut draws, rows, recipe.batch.seq_len, &recipe.model);
            let started = Instant::now();
            let _stage = profile::stage(STEP, device);
            let outcome = learner.step(&batch, lr, &settings)?;
            finish(device)?;
            Ok((outcome, started.elapsed()))
        };

        let matrix_rate = |learner: &Learner| match learner {
            Learner::Tensors(_) => matrix_tflops(recipe.precision.compute_dtype(), device),
            Learner::Card(resident) => resident.matrix_tflops(CARD_MATRIX_SIZE),
        };
        let matrix_before = matrix_rate(&learner)?;
        let (mut losses, mut seconds) = (Vec::new(), Vec::new());
        for idx in 0..WARM_UP_STEPS + n_steps {
            let (outcome, time) = step(&mut learner)?;
            losses.push(outcome.loss);
            if idx >= WARM_UP_STEPS {
                seconds.push(time.as_secs_f64());
            }
        }
        let peak_bytes = memory::peak(device);
        let (observed, spans) = profile::measure(|| step(&mut learner));
        let observed_ms = 1e3 * observed?.1.as_secs_f64();
        let matrix_after = matrix_rate(&learner)?;

        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let tokens_per_step = recipe.batch_tokens(phase);
        let flops = recipe.model.causal_flops_per_token(recipe.batch.seq_len) * tokens_per_step;
        Ok(Self {
            recipe: recipe.name.clone(),
            parameters: recipe.model.num_params(),
            micro_batch_sequences,
            tokens_per_step,
            tokens_per_sec: tokens_per_step as f64 / median,
            best_tokens_per_sec: tokens_per_step as f64 / seconds[0],
            step_ms: 1e3 * median,
            tflops: flops as f64 / median / 1e12,
            matrix_tflops: matrix_before.max(matrix_after),
            peak_bytes,
            planned: Memory::of(recipe, micro_batch_sequences, StepForm::on(device, recipe)),
            losses,
            operations: shares(&profile::by_operation(&spans), observed_ms),
            observed_step_ms: observed_ms,
            spans,
            fallbacks: fallback::count(),
        })
    }
}

/// Longest first; what is left of the step is the host gap.
fn shares(
    operations: &std::collections::BTreeMap<&'static str, OperationTime>,
    step_ms: f64,
) -> Vec<OperationShare> {
    let mut shares: Vec<OperationShare> = operations
        .iter()
        .map(|(&name, time)| OperationShare {
            name,
            calls: time.calls,
            ms: 1e3 * time.total.as_secs_f64(),
        })
        .collect();
    let counted: f64 = shares.iter().map(|share| share.ms).sum();
    shares.push(OperationShare { name: HOST_GAP, calls: 0, ms: (step_ms - counted).max(0.0) });
    shares.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    shares
}

/// Rows of uniform random ids; none of them ends a document.
fn random_batch(
    draws: &mut u64,
    rows: usize,
    seq_len: usize,
    model: &neo_model::ModelConfig,
) -> TokenBatch {
    let mut next = || {
        // SplitMix64.
        *draws = draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *draws;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % model.vocab_size as u64) as u32
    };
    let ids = (0..rows * (seq_len + 1)).map(|_| next()).collect();
    TokenBatch::new(ids, seq_len, u32::MAX)
}

/// Rate of one large product in the format of the model's.
fn matrix_tflops(dtype: DType, device: &Device) -> Result<f64> {
    let shape = [MATRIX_SIZE, MATRIX_SIZE];
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let [a, b] = [(); 2].map(|()| Tensor::<2>::random(shape, uniform, device).cast(dtype));
    let product = || -> Result<f64> {
        let started = Instant::now();
        let _product = linear::forward(&a, &b);
        finish(device)?;
        Ok(started.elapsed().as_secs_f64())
    };
    product()?;
    let started = Instant::now();
    let mut fastest = product()?;
    while started.elapsed() < MATRIX_TIME {
        fastest = fastest.min(product()?);
    }
    Ok(2.0 * (MATRIX_SIZE as f64).powi(3) / fastest / 1e12)
}

fn finish(device: &Device) -> Result<()> {
    device.sync().map_err(|problem| neo_model::Error::Device(format!("{problem:?}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_operation_took_is_the_hosts() {
        let time = |ms| OperationTime { calls: 2, total: Duration::from_millis(ms) };
        let shares = shares(&[("linear", time(30)), ("rope", time(5))].into(), 100.0);
        let listed: Vec<(&str, u64)> =
            shares.iter().map(|share| (share.name, share.ms.round() as u64)).collect();
        assert_eq!(listed, [(HOST_GAP, 65), ("linear", 30), ("rope", 5)]);
    }
}
