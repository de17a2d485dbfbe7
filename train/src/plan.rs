//! What a recipe asks for, worked out before anything runs: parameters, FLOPs, memory, time.
//!
//! Plain arithmetic on the recipe. FLOPs per token are those of `ModelConfig`, by which the loop
//! reports its MFU too. Memory is for one device that holds the whole model; the activations follow
//! what the decoder block saves for its backward, and allocator overhead is not in it.

use burn::tensor::Device;
use neo_backends::{
    Precision,
    resident::{self, MemoryPlan, Part},
};
use neo_model::{ModelConfig, Recompute};
use serde::Serialize;

use crate::{Result, recipe::Recipe, resident::planned as resident_settings};

/// Size of f32, of which master weights, gradient sums, moments and row statistics are made.
const F32_BYTES: u64 = 4;
/// Logits that the fused loss holds at a time, `CHUNK_BYTES` of `linear_cross_entropy`.
const LOGITS_CHUNK_BYTES: u64 = 128 << 20;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What the machine is taken to give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Share of the peak that is reached, attention counted in full.
    pub mfu: f64,
    /// Peak of one device, TFLOP/s.
    pub peak_tflops: f64,
    /// Devices that share the batch.
    pub n_devices: u64,
}

/// Who does the step: see `learner.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepForm {
    /// Burn's tensors, on any device; activations are estimated.
    Tensors,
    /// A card that holds the whole step; the plan is what it allocates, to the byte.
    Card {
        /// Whether it has Hopper's matrix units.
        has_hopper: bool,
    },
}

impl StepForm {
    /// The form that steps of a recipe take on a device.
    pub(crate) fn on(device: &Device, recipe: &Recipe) -> Self {
        match resident::capability_of(device) {
            Some((major, _)) if resident_settings(recipe, 1).check().is_ok() => {
                Self::Card { has_hopper: major == 9 }
            }
            _ => Self::Tensors,
        }
    }

    /// Refuses micro-batches that this form does not take.
    ///
    /// # Errors
    /// Widths or a number of rows that a card's kernels are not made for.
    pub fn check(self, recipe: &Recipe, rows: usize) -> Result<()> {
        match self {
            Self::Tensors => Ok(()),
            Self::Card { .. } => Ok(resident_settings(recipe, rows).check()?),
        }
    }
}

/// Everything that `neo plan` tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the recipe.
    pub recipe: String,
    /// Rows of one forward and backward pass, for which the memory is.
    pub micro_batch_sequences: usize,
    /// Who does the step, for which the memory is.
    pub form: StepForm,
    /// Parameters by part.
    pub parameters: Parameters,
    /// FLOPs of one token, forward and backward.
    pub flops_per_token: FlopsPerToken,
    /// Bytes on one device by part.
    pub memory: Memory,
    /// Work and time of each phase.
    pub phases: Vec<PhasePlan>,
    /// Updates of all phases.
    pub total_steps: u64,
    /// Input tokens of all phases.
    pub total_tokens: u64,
    /// FLOPs of all phases.
    pub total_flops: f64,
    /// Speed and time on the machine.
    pub time: Time,
}

/// Parameters by part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// All of them.
    pub total: u64,
    /// Input embedding.
    pub embedding: u64,
    /// Query, key, value and output projections.
    pub attention: u64,
    /// Gate, up and down projections.
    pub feed_forward: u64,
    /// Norms.
    pub norms: u64,
    /// Output head.
    pub head: u64,
}

/// FLOPs of one token, forward and backward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FlopsPerToken {
    /// `6 (N - V d) + 12 L n_heads head_dim seq`: attention counted in full.
    pub full: u64,
    /// The same with attention halved, because it is causal.
    pub causal: u64,
}

/// Bytes on one device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Master weights, f32.
    pub master_weights: u64,
    /// Copy of the weights that is multiplied, bf16; 0 when the precision is f32.
    pub compute_weights: u64,
    /// Gradient sums, f32.
    pub gradients: u64,
    /// Adam's two moments, f32 or bf16.
    pub moments: u64,
    /// Estimate: what one micro-batch keeps for its backward, and one block at work.
    pub activations: u64,
    /// Logits of one chunk of tokens and their gradient, f32.
    pub logits_chunk: u64,
}

impl Memory {
    /// Every part with its name, as tables show them.
    pub fn parts(&self) -> [(&'static str, u64); 6] {
        [
            ("master weights", self.master_weights),
            ("compute weights", self.compute_weights),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("activations", self.activations),
            ("logits chunk", self.logits_chunk),
        ]
    }

    /// All parts.
    pub fn total(&self) -> u64 {
        (self.state() + self.logits_chunk).saturating_add(self.activations)
    }

    /// What does not depend on the batch.
    pub fn state(&self) -> u64 {
        self.master_weights + self.compute_weights + self.gradients + self.moments
    }
}

/// Work and time of one phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhasePlan {
    /// Name of the phase.
    pub name: String,
    /// Updates.
    pub steps: u64,
    /// Input tokens of one update.
    pub tokens_per_step: u64,
    /// Input tokens of the phase.
    pub tokens: u64,
    /// Days on the machine.
    pub days: f64,
}

/// Speed and time on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    /// What the machine is taken to give.
    pub machine: Machine,
    /// The machine's MFU when attention is counted halved.
    pub mfu_causal: f64,
    /// Input tokens per second of all devices.
    pub tokens_per_sec: f64,
    /// Input tokens per day of all devices.
    pub tokens_per_day: f64,
    /// Days of all phases.
    pub days: f64,
}

impl Plan {
    /// Works a recipe out on a machine, with so many rows in a micro-batch.
    pub fn new(
        recipe: &Recipe,
        micro_batch_sequences: usize,
        form: StepForm,
        machine: Machine,
    ) -> Self {
        let model = &recipe.model;
        let flops_per_token = FlopsPerToken {
            full: model.flops_per_token(recipe.batch.seq_len),
            causal: model.causal_flops_per_token(recipe.batch.seq_len),
        };
        let total_tokens = recipe.tokens_after(recipe.total_steps());
        let time = Time::new(machine, flops_per_token, total_tokens);
        let phases = recipe.phases.iter().map(|phase| {
            let tokens_per_step = recipe.batch_tokens(phase);
            let tokens = tokens_per_step * phase.steps;
            let days = tokens as f64 / time.tokens_per_day;
            PhasePlan {
                name: phase.name.clone(),
                steps: phase.steps,
                tokens_per_step,
                tokens,
                days,
            }
        });
        Self {
            recipe: recipe.name.clone(),
            micro_batch_sequences,
            form,
            parameters: Parameters::of(model),
            flops_per_token,
            memory: Memory::of(recipe, micro_batch_sequences, form),
            phases: phases.collect(),
            total_steps: recipe.total_steps(),
            total_tokens,
            total_flops: flops_per_token.full as f64 * total_tokens as f64,
            time,
        }
    }
}

impl Parameters {
    fn of(model: &ModelConfig) -> Self {
        let counts = model.param_counts();
        Self {
            total: counts.total(),
            embedding: counts.embedding,
            attention: counts.attention,
            feed_forward: counts.feed_forward,
            norms: counts.norms,
            head: counts.head,
        }
    }
}

impl Memory {
    /// Works the parts out for a micro-batch of so many rows.
    pub(crate) fn of(recipe: &Recipe, micro_batch_sequences: usize, form: StepForm) -> Self {
        match form {
            StepForm::Tensors => Self::of_tensors(recipe, micro_batch_sequences),
            StepForm::Card { has_hopper } => {
                let settings = resident_settings(recipe, micro_batch_sequences);
                Self::of_card(&MemoryPlan::new(&settings, has_hopper))
            }
        }
    }

    /// A card's own plan; its tables are counted with the activations.
    fn of_card(plan: &MemoryPlan) -> Self {
        let of = |part| plan.parts.iter().find(|(p, _)| *p == part).map_or(0, |(_, bytes)| *bytes);
        Self {
            master_weights: of(Part::Weights),
            compute_weights: of(Part::Copy),
            gradients: of(Part::Gradients),
            moments: of(Part::Moments),
            activations: of(Part::Kept) + of(Part::Work) + of(Part::Tables),
            logits_chunk: of(Part::Logits),
        }
    }

    fn of_tensors(recipe: &Recipe, micro_batch_sequences: usize) -> Self {
        let model = &recipe.model;
        let n_params = model.num_params();
        let compute_bytes = bytes_of(recipe.precision);
        let tokens = micro_batch_sequences as u64 * recipe.batch.seq_len as u64;
        let (n_layers, d_model) = (model.n_layers as u64, model.d_model as u64);
        let block = Block::of(model, compute_bytes);
        // What each block keeps, and what one block at a time makes again.
        let (kept, again) = match recipe.recompute {
            Recompute::None => (block.saved, 0),
            Recompute::Mlp => (block.saved - block.feed_forward, block.feed_forward),
            Recompute::Block => (block.input, block.saved - block.input),
        };
        // The embedding's output is the first block's input; the last block's is the final norm's.
        let ends = d_model * compute_bytes + F32_BYTES;
        let logits =
            tokens.saturating_mul(model.vocab_size as u64 * F32_BYTES).min(LOGITS_CHUNK_BYTES);
        Self {
            master_weights: n_params * F32_BYTES,
            compute_weights: if compute_bytes == F32_BYTES { 0 } else { n_params * compute_bytes },
            gradients: n_params * F32_BYTES,
            moments: 2 * n_params * bytes_of(recipe.optimizer.moments),
            activations: tokens.saturating_mul(n_layers * kept + again + block.at_work + ends),
            logits_chunk: 2 * logits,
        }
    }
}

fn bytes_of(format: Precision) -> u64 {
    match format {
        Precision::F32 => F32_BYTES,
        Precision::Bf16 => 2,
    }
}

/// Bytes per token of one decoder block.
struct Block {
    /// Its input.
    input: u64,
    /// Gate, up and their norm's factor.
    feed_forward: u64,
    /// All that the backward reads, input and feed-forward included.
    saved: u64,
    /// More at the backward's widest moment, in the feed-forward part.
    at_work: u64,
}

impl Block {
    /// Saved: input, query, key, value, attended values, middle, gate, up; in f32 two norm factors
    /// and each head's log-sum-exp. At work: the gated activation, its gradient and those of gate
    /// and up; norm output and its gradient, gradients of output and middle.
    fn of(model: &ModelConfig, compute_bytes: u64) -> Self {
        let (d_model, d_ff) = (model.d_model as u64, model.d_ff as u64);
        let heads = model.n_heads as u64 * model.head_dim as u64;
        let kv_heads = model.n_kv_heads as u64 * model.head_dim as u64;
        let saved = compute_bytes * (2 * d_model + 2 * heads + 2 * kv_heads + 2 * d_ff)
            + F32_BYTES * (2 + model.n_heads as u64);
        Self {
            input: compute_bytes * d_model,
            feed_forward: compute_bytes * 2 * d_ff + F32_BYTES,
            saved,
            at_work: compute_bytes * (4 * d_ff + 4 * d_model),
        }
    }
}

impl Time {
    fn new(machine: Machine, flops: FlopsPerToken, total_tokens: u64) -> Self {
        let Machine { mfu, peak_tflops, n_devices } = machine;
        let tokens_per_sec = mfu * peak_tflops * 1e12 * n_devices as f64 / flops.full as f64;
        let tokens_per_day = tokens_per_sec * SECONDS_PER_DAY;
        Self {
            machine,
            mfu_causal: mfu * flops.causal as f64 / flops.full as f64,
            tokens_per_sec,
            tokens_per_day,
            days: total_tokens as f64 / tokens_per_day,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::recipe::MicroBatch;

    const MACHINE: Machine = Machine { mfu: 0.4, peak_tflops: 989.0, n_devices: 1 };

    fn plan(name: &str, overrides: &[&str]) -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{name}.toml"));
        let overrides: Vec<String> = overrides.iter().map(|&item| item.to_owned()).collect();
        let recipe = Recipe::read(&path, &overrides).unwrap();
        let MicroBatch::Rows(rows) = recipe.batch.micro_batch_sequences else { panic!("auto") };
        Plan::new(&recipe, rows, StepForm::Tensors, MACHINE)
    }

    /// Counts of the fact sheet, section 1.3: all, and embedding with head.
    fn check_parameters(name: &str, total: u64, embedding_and_head: u64) {
        let parameters = plan(name, &[]).parameters;
        assert_eq!(parameters.total, total, "{name}");
        assert_eq!(parameters.embedding + parameters.head, embedding_and_head, "{name}");
        let Parameters { attention, feed_forward, norms, .. } = parameters;
        assert_eq!(attention + feed_forward + norms, total - embedding_and_head, "{name}");
    }

    #[test]
    fn parameters_equal_the_published_models() {
        check_parameters("neo_7b", 7_793_716_224, 394_788_864);
        check_parameters("neo_7b_decay", 7_793_716_224, 394_788_864);
        check_parameters("neo_2b", 2_244_552_704, 262_668_288);
        check_parameters("neo_980m", 979_945_472, 262_668_288);
        check_parameters("neo_460m", 461_661_184, 131_334_144);
        check_parameters("neo_250m", 250_889_216, 131_334_144);
    }

    #[test]
    fn flops_follow_the_formula() {
        let flops = plan("neo_7b", &[]).flops_per_token;
        let dense = 6 * (7_793_716_224 - 64_256 * 3072);
        let attention = 12 * 28 * 16 * 192 * 8192;
        assert_eq!(flops, FlopsPerToken { full: dense + attention, causal: dense + attention / 2 });
    }

    #[test]
    fn memory_by_part() {
        let memory = plan("neo_7b", &[]).memory;
        let n_params = 7_793_716_224;
        assert_eq!(memory.master_weights, 4 * n_params);
        assert_eq!(memory.compute_weights, 2 * n_params);
        assert_eq!(memory.gradients, 4 * n_params);
        assert_eq!(memory.moments, 8 * n_params);
        assert_eq!(memory.state(), 18 * n_params);
        // bf16: x, middle, query, key, value, attended at 3072; gate, up at 24576; f32: 2 + 16.
        let saved = 2 * (6 * 3072 + 2 * 24576) + 4 * 18;
        let at_work = 2 * (4 * 24576 + 4 * 3072);
        let ends = 2 * 3072 + 4;
        assert_eq!(memory.activations, 8192 * (28 * saved + at_work + ends));
        let recomputed = plan("neo_7b", &["recompute=block"]).memory.activations;
        assert_eq!(recomputed, 8192 * (27 * 2 * 3072 + saved + at_work + ends));
        let feed_forward = 2 * 2 * 24576 + 4;
        let half = plan("neo_7b", &["recompute=mlp"]).memory.activations;
        assert_eq!(memory.activations - half, 8192 * 27 * feed_forward);
        let halved = plan("neo_7b", &["optimizer.moments=bf16"]).memory.moments;
        assert_eq!(halved, 4 * n_params);
        assert_eq!(memory.logits_chunk, 256 << 20);
        let parts = memory.state() + memory.activations + memory.logits_chunk;
        assert_eq!(memory.total(), parts);
        let f32_memory = plan("neo_7b", &["precision=f32"]).memory;
        assert_eq!(f32_memory.compute_weights, 0);
        let tiny = plan("tiny", &["batch.seq_len=64", "batch.micro_batch_sequences=1"]).memory;
        assert_eq!(tiny.logits_chunk, 2 * 64 * 4096 * 4);
    }

    #[test]
    fn a_card_is_asked_for_what_the_estimate_says() {
        let recipe = |name: &str, overrides: &[&str]| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{name}.toml"));
            let overrides: Vec<String> = overrides.iter().map(|&item| item.to_owned()).collect();
            Recipe::read(&path, &overrides).unwrap()
        };
        for (name, overrides) in
            [("neo_250m", &[][..]), ("neo_7b", &["recompute=block", "optimizer.moments=bf16"])]
        {
            let recipe = recipe(name, overrides);
            let tensors = Memory::of(&recipe, 1, StepForm::Tensors);
            let card = Memory::of(&recipe, 1, StepForm::Card { has_hopper: true });
            let share = card.total() as f64 / tensors.total() as f64;
            assert!((0.9..1.1).contains(&share), "{name}: {share}, {card:?}, {tensors:?}");
        }
    }

    #[test]
    fn tokens_and_days() {
        let plan = plan("neo_7b_decay", &[]);
        assert_eq!(plan.phases[0].tokens_per_step, 8_388_608);
        assert_eq!(plan.phases[1].tokens_per_step, 5_242_880);
        assert_eq!(plan.phases[1].tokens, 148_000 * 5_242_880);
        assert_eq!(plan.total_steps, 365_000 + 148_000);
        assert_eq!(plan.total_tokens, plan.phases[0].tokens + plan.phases[1].tokens);
        let per_sec = 0.4 * 989e12 / plan.flops_per_token.full as f64;
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b;
        assert!(close(plan.time.tokens_per_sec, per_sec));
        assert!(close(plan.time.days, plan.total_tokens as f64 / per_sec / 86_400.0));
        assert!(close(plan.phases[0].days + plan.phases[1].days, plan.time.days));
        assert!(plan.time.mfu_causal < 0.4 && plan.time.mfu_causal > 0.3);
    }
}
