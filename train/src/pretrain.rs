//! The pretraining loop: batch, step, log, evaluate, checkpoint, in that visible order.
//!
//! A run is a folder (`run_folder.rs`); everything the loop does is a function of recipe, corpus and
//! step, so a run that goes on from a checkpoint repeats the uninterrupted one bit for bit.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use burn::tensor::Device;
use neo_data::{
    corpus::Corpus,
    loader::{Loader, LoaderSettings},
    mixture,
};
use neo_model::Transformer;

use crate::{
    Error, Result,
    checkpoint::{Checkpoint, TrainState},
    evaluation::Evaluation,
    learner::Learner,
    memory,
    metrics::{EvalMetrics, MetricsWriter, StepMetrics},
    recipe::{MicroBatch, OptimizerState, PhasePosition, Recipe},
    room,
    run_folder::{self, Resume, RunFolder},
    step::{StepOutcome, StepSettings},
};

/// How a recipe is run.
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// Where to begin.
    pub resume: Resume,
    /// Save and stop after this long.
    pub max_time: Option<Duration>,
    /// Where to compute.
    pub device: Device,
    /// Set from outside to save and stop after the current step.
    pub stop: Arc<AtomicBool>,
    /// Version, device, features and host, for `environment.json`.
    pub environment: serde_json::Value,
}

/// What the loop tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins, at step 0 or after a checkpoint.
    Started {
        /// Steps already done.
        step: u64,
        /// Steps of all phases.
        total_steps: u64,
        /// The checkpoint that is gone on from.
        checkpoint: Option<&'a Checkpoint>,
        /// Checkpoints that were passed over, and why.
        warnings: &'a [String],
    },
    /// The rows of a micro-batch are not simply those that the recipe states.
    MicroBatch {
        /// Rows of one forward and backward pass.
        rows: usize,
        /// Where the number comes from.
        reason: &'a str,
    },
    /// A phase begins.
    Phase(&'a PhasePosition<'a>),
    /// A step is done.
    Step(&'a StepMetrics),
    /// An evaluation is done.
    Evaluated(&'a EvalMetrics),
    /// A checkpoint is on disk.
    Saved(&'a Checkpoint),
    /// The loop is over, finished or not.
    Ended {
        /// Time since it began, in this process.
        total: Duration,
        /// What of it went into evaluations.
        evaluating: Duration,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// Stopped from outside, saved.
    Interrupted,
    /// The time limit was reached, saved.
    OutOfTime,
}

/// Trains `recipe` from where its run folder stands to the end, or until it is stopped.
///
/// # Errors
/// A folder that holds another run, a corpus that does not fit, a loss that is not finite, or files
/// that cannot be written; checkpoints on disk stay as they are.
pub fn pretrain(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    let started = Instant::now();
    recipe.precision.check(&options.device).map_err(neo_model::Error::from)?;
    let rows = micro_batch_sequences(recipe, options, on_event)?;
    let recipe = &recipe.with_micro_batch(rows);
    room::check(recipe, rows, &options.device)?;
    let mut run = Run::open(recipe, rows, options, on_event)?;
    let mut end = Outcome::Finished;
    while let Some(position) = recipe.phase_at(run.step) {
        if let Some(outcome) = stop_reason(options, started) {
            end = outcome;
            break;
        }
        run.enter(&position, on_event)?;
        let step_started = Instant::now();
        let batch = run.loader(&position)?.batch(position.step_in_phase)?;
        let settings = StepSettings::of(recipe, run.micro_batch_sequences, run.device);
        let outcome = run.learner.step(&batch, position.lr(), &settings)?;
        run.check_finite(&position, &outcome)?;
        run.step += 1;
        run.log(&position, &outcome, step_started.elapsed(), on_event)?;
        run.evaluate_if_due(&position, on_event)?;
        run.save_if_due(on_event)?;
    }
    run.save(on_event)?;
    let (total, evaluating) = (run.started.elapsed(), run.evaluation.spent());
    on_event(&Event::Ended { total, evaluating });
    Ok(end)
}

/// Rows of a micro-batch: for `auto` those that the run folder's recipe has, so that going on is exact,
/// or in a new one the most that fit. A stated number counts, also where the run had another.
fn micro_batch_sequences(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<usize> {
    let before = run_folder::previous_recipe(&options.out)?
        .map(|previous| previous.batch.micro_batch_sequences);
    let (rows, reason) = match (recipe.batch.micro_batch_sequences, before) {
        (MicroBatch::Auto, Some(MicroBatch::Rows(rows))) => (rows, "as this run had it".to_owned()),
        (MicroBatch::Rows(rows), Some(MicroBatch::Rows(before))) if before != rows => {
            (rows, format!("it was {before}; from here on sums are rounded differently"))
        }
        _ => match room::micro_batch(recipe, &options.device)? {
            (rows, Some(fit)) => (rows, fit.to_string()),
            (rows, None) => return Ok(rows),
        },
    };
    on_event(&Event::MicroBatch { rows, reason: &reason });
    Ok(rows)
}

fn stop_reason(options: &RunOptions, started: Instant) -> Option<Outcome> {
    if options.stop.load(Ordering::Relaxed) {
        return Some(Outcome::Interrupted);
    }
    options.max_time.filter(|&limit| started.elapsed() >= limit).map(|_| Outcome::OutOfTime)
}

/// Everything that lives as long as the loop.
struct Run<'a> {
    recipe: &'a Recipe,
    micro_batch_sequences: usize,
    device: &'a Device,
    folder: RunFolder,
    corpus: Arc<Corpus>,
    evaluation: Evaluation,
    learner: Learner,
    metrics: MetricsWriter,
    /// Loader of the current phase, by its index.
    loader: Option<(usize, Loader)>,
    /// Steps done.
    step: u64,
    /// Steps done when the newest checkpoint was written.
    saved_step: Option<u64>,
    /// When the loop began in this process.
    started: Instant,
}

impl<'a> Run<'a> {
    fn open(
        recipe: &'a Recipe,
        micro_batch_sequences: usize,
        options: &'a RunOptions,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Self> {
        let corpus = Arc::new(Corpus::open(&recipe.data.corpus)?);
        check_vocabulary(recipe, &corpus)?;
        for phase in &recipe.phases {
            mixture::shares(&corpus, &phase.mixture)?;
        }
        let evaluation = Evaluation::open(recipe, &corpus)?;
        let folder = RunFolder::open(&options.out, recipe)?;
        let found = folder.checkpoint(&options.resume, recipe, corpus.hash())?;
        let settings = StepSettings::of(recipe, micro_batch_sequences, &options.device);
        let learner = Learner::open(recipe, &settings, found.checkpoint.as_ref())?;
        folder.describe(recipe, &options.environment)?;
        let step = found.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.state().step);
        on_event(&Event::Started {
            step,
            total_steps: recipe.total_steps(),
            checkpoint: found.checkpoint.as_ref(),
            warnings: &found.warnings,
        });
        Ok(Self {
            recipe,
            micro_batch_sequences,
            device: &options.device,
            metrics: MetricsWriter::open(&options.out, step)?,
            saved_step: found.checkpoint.map(|_| step),
            folder,
            corpus,
            evaluation,
            learner,
            loader: None,
            step,
            started: Instant::now(),
        })
    }

    /// At a phase's first step: starts the optimizer afresh if the phase says so.
    fn enter(
        &mut self,
        position: &PhasePosition<'_>,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<()> {
        if self.loader.as_ref().is_none_or(|(phase_idx, _)| *phase_idx != position.phase_idx) {
            on_event(&Event::Phase(position));
        }
        let fresh = position.phase.optimizer_state == OptimizerState::Fresh;
        if position.step_in_phase == 0 && fresh {
            self.learner.restart()?;
        }
        Ok(())
    }

    fn loader(&mut self, position: &PhasePosition<'_>) -> Result<&Loader> {
        let PhasePosition { phase_idx, phase, .. } = *position;
        let loader = match self.loader.take() {
            Some((of_phase, loader)) if of_phase == phase_idx => loader,
            _ => Loader::new(
                self.corpus.clone(),
                LoaderSettings {
                    mixture: phase.mixture.clone(),
                    // Each phase draws in an order of its own.
                    seed: self.recipe.seed.wrapping_add(phase_idx as u64),
                    seq_len: self.recipe.batch.seq_len,
                    batch_sequences: phase.batch_sequences,
                    order: self.recipe.loader_order(phase),
                },
            )?,
        };
        Ok(&self.loader.insert((phase_idx, loader)).1)
    }

    fn check_finite(&mut self, position: &PhasePosition<'_>, outcome: &StepOutcome) -> Result<()> {
        let StepOutcome { loss, grad_norm, .. } = *outcome;
        if loss.is_finite() && grad_norm.is_finite() {
            return Ok(());
        }
        let rows = self.loader(position)?.describe(position.step_in_phase)?;
        let rows = rows.iter().map(ToString::to_string).collect();
        Err(Error::Diverged { step: self.step + 1, loss, grad_norm, rows })
    }

    fn log(
        &mut self,
        position: &PhasePosition<'_>,
        outcome: &StepOutcome,
        elapsed: Duration,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<()> {
        let step_tokens = self.recipe.batch_tokens(position.phase);
        let metrics = StepMetrics {
            step: self.step,
            tokens: self.recipe.tokens_after(self.step),
            phase: position.phase.name.clone(),
            loss: outcome.loss,
            lr: position.lr(),
            grad_norm: outcome.grad_norm,
            tokens_per_sec: step_tokens as f64 / elapsed.as_secs_f64(),
            step_ms: elapsed.as_secs_f64() * 1e3,
            mfu: None,
            mem_bytes: memory::in_use(self.device),
        };
        if self.is_due(self.recipe.log.interval_steps) {
            self.metrics.step(&metrics)?;
        }
        on_event(&Event::Step(&metrics));
        Ok(())
    }

    /// Evaluates at the recipe's interval and at the end of each phase.
    fn evaluate_if_due(
        &mut self,
        position: &PhasePosition<'_>,
        on_event: &mut dyn FnMut(&Event<'_>),
    ) -> Result<()> {
        let phase_ends = position.step_in_phase + 1 == position.phase.steps;
        if !phase_ends && !self.is_due(self.recipe.eval.interval_steps) {
            return Ok(());
        }
        let started = Instant::now();
        let precision = self.recipe.precision;
        let parameters = self.learner.weights(precision.compute_dtype())?;
        let model = Transformer { config: self.recipe.model.clone(), parameters };
        let eval = self.evaluation.measure(&model)?;
        let elapsed = started.elapsed();
        self.evaluation.count(elapsed, self.started.elapsed());
        let eval_ms = Some(elapsed.as_secs_f64() * 1e3);
        let metrics = EvalMetrics { step: self.step, eval, eval_ms };
        self.metrics.eval(&metrics)?;
        on_event(&Event::Evaluated(&metrics));
        Ok(())
    }

    fn save_if_due(&mut self, on_event: &mut dyn FnMut(&Event<'_>)) -> Result<()> {
        if self.is_due(self.recipe.checkpoint.interval_steps) {
            self.save(on_event)
        } else {
            Ok(())
        }
    }

    fn is_due(&self, interval_steps: u64) -> bool {
        interval_steps > 0 && self.step.is_multiple_of(interval_steps)
    }

    /// Writes a checkpoint, unless the newest one is of this step.
    fn save(&mut self, on_event: &mut dyn FnMut(&Event<'_>)) -> Result<()> {
        if self.saved_step == Some(self.step) {
            return Ok(());
        }
        self.metrics.sync()?;
        let last = self.recipe.phases.len() - 1;
        let position = self.recipe.phase_at(self.step);
        let (phase, step_in_phase) = position
            .map_or((last, self.recipe.phases[last].steps), |at| (at.phase_idx, at.step_in_phase));
        let state = TrainState {
            step: self.step,
            tokens: self.recipe.tokens_after(self.step),
            phase,
            step_in_phase,
            optimizer_steps: self.learner.updates(),
            recipe_hash: self.recipe.hash()?,
            corpus_hash: self.corpus.hash().to_owned(),
            seed: self.recipe.seed,
        };
        let checkpoint = Checkpoint::write(
            self.folder.path(),
            &state,
            &self.recipe.model,
            Some(self.corpus.dir()),
            self.learner.weight_stream(),
            self.learner.moment_stream(),
            self.recipe.checkpoint.keep,
        )?;
        self.saved_step = Some(self.step);
        on_event(&Event::Saved(&checkpoint));
        Ok(())
    }
}

/// The model must have a row for every id of the corpus.
fn check_vocabulary(recipe: &Recipe, corpus: &Corpus) -> Result<()> {
    let (rows, ids) = (recipe.model.vocab_size, corpus.manifest().vocab_size);
    if rows >= ids {
        return Ok(());
    }
    let corpus = recipe.data.corpus.display();
    Err(Error::Setting(format!(
        "`model.vocab_size` is {rows}, but corpus `{corpus}` has {ids} token ids"
    )))
}
