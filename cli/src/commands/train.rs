//! `neo train`: runs a recipe; shows steps, speed and time left; saves and exits 75 on a signal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use neo_train::metrics::{EvalMetrics, StepMetrics};
use neo_train::pretrain::{Event, Outcome, RunOptions, pretrain};
use neo_train::recipe::Recipe;
use neo_train::run_folder::Resume;

use crate::environment;
use crate::error::INTERRUPTED;
use crate::progress::{Progress, write_line};

/// Options of `neo train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recipe in TOML; those of this project are in train/recipes
    recipe: PathBuf,
    /// Override a value of the recipe, such as optimizer.clip_norm=0.5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Run folder; out/NAME/run with the recipe's name unless given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on from the newest sound checkpoint of the run folder (auto), start in a new folder
    /// (never), or go on from the checkpoint at this path
    #[arg(long, default_value = "auto", value_name = "auto|never|PATH")]
    resume: String,
    /// Save and stop after this many minutes
    #[arg(long, value_name = "N")]
    max_minutes: Option<f64>,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let recipe = Recipe::read(&args.recipe, &args.overrides)?;
    let out = args.out.unwrap_or_else(|| Path::new("out").join(&recipe.name).join("run"));
    let resume = match args.resume.as_str() {
        "auto" => Resume::Auto,
        "never" => Resume::Never,
        path => Resume::From(PathBuf::from(path)),
    };
    let max_time = args.max_minutes.map(minutes).transpose()?;
    let stop = crate::interrupt::stop_flag()?;
    let outcome = train(&recipe, &out, resume, max_time, &args.device, stop)?;
    if outcome != Outcome::Finished {
        write_line("the same command goes on from there");
    }
    Ok(match outcome {
        Outcome::Interrupted => ExitCode::from(INTERRUPTED),
        Outcome::Finished | Outcome::OutOfTime => ExitCode::SUCCESS,
    })
}

fn minutes(minutes: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(minutes * 60.0)
        .map_err(|_| neo_train::Error::Setting(format!("`--max-minutes` is {minutes}")).into())
}

/// Runs a recipe with progress on stderr; also the middle of `neo demo`.
pub(crate) fn train(
    recipe: &Recipe,
    out: &Path,
    resume: Resume,
    max_time: Option<Duration>,
    device_name: &str,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Outcome> {
    let device_name = neo_backends::device::resolve(device_name);
    let options = RunOptions {
        out: out.to_owned(),
        resume,
        max_time,
        device: neo_backends::device::open(device_name)?,
        stop,
        environment: environment::describe(device_name),
    };
    let progress = Progress::new(format!("train {}", recipe.name), Some(recipe.total_steps()));
    let mut eta = TimeLeft::default();
    let mut newest: Option<PathBuf> = None;
    let mut cost = None;
    let outcome = pretrain(recipe, &options, &mut |event| match event {
        Event::Started { step, checkpoint, warnings, .. } => {
            warnings.iter().for_each(|warning| write_line(&format!("warning: {warning}")));
            if let Some(checkpoint) = checkpoint {
                let dir = checkpoint.dir();
                write_line(&format!("resuming after step {step} from {}", dir.display()));
                newest = Some(dir.to_owned());
            }
        }
        Event::MicroBatch { rows, reason } => {
            write_line(&format!("rows of a micro-batch: {rows}, {reason}"));
        }
        Event::Phase(position) => {
            let phase = position.phase;
            write_line(&format!("phase `{}`: {} steps", phase.name, phase.steps));
        }
        Event::Step(step) => {
            let left = eta.after(step, recipe);
            progress.set(step.step, &note(step, left));
        }
        Event::Evaluated(evaluation) => write_line(&evaluation_line(evaluation)),
        Event::Saved(checkpoint) => {
            tracing::info!(checkpoint = %checkpoint.dir().display(), "saved");
            newest = Some(checkpoint.dir().to_owned());
        }
        Event::Ended { total, evaluating } => cost = Some(cost_line(*total, *evaluating)),
    })?;
    drop(progress);
    let how = match outcome {
        Outcome::Finished => "finished",
        Outcome::OutOfTime => "out of time, not finished",
        Outcome::Interrupted => "interrupted, not finished",
    };
    let newest = newest.map_or("none".to_owned(), |dir| dir.display().to_string());
    write_line(&format!("{how}; newest checkpoint: {newest}"));
    cost.iter().for_each(|line| write_line(line));
    Ok(outcome)
}

fn note(step: &StepMetrics, left: Duration) -> String {
    let StepMetrics { loss, lr, tokens_per_sec, .. } = step;
    let seconds = left.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "loss {loss:.4} lr {lr:.2e} {tokens_per_sec:.0} tokens/s, left {hours}:{minutes:02}:{seconds:02}"
    )
}

fn evaluation_line(metrics: &EvalMetrics) -> String {
    let figures: Vec<String> =
        metrics.eval.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    format!("step {}: {}", metrics.step, figures.join(", "))
}

/// What evaluating cost.
fn cost_line(total: Duration, evaluating: Duration) -> String {
    let [total, evaluating] = [total, evaluating].map(|time| time.as_secs_f64());
    format!("evaluating took {evaluating:.1} s, {:.1} % of the time", 100.0 * evaluating / total)
}

/// Time left at the smoothed speed of the last steps, counted in tokens.
#[derive(Default)]
struct TimeLeft {
    secs_per_token: Option<f64>,
}

impl TimeLeft {
    fn after(&mut self, step: &StepMetrics, recipe: &Recipe) -> Duration {
        let now = step.tokens_per_sec.recip();
        let smoothed = self.secs_per_token.map_or(now, |before| 0.95 * before + 0.05 * now);
        self.secs_per_token = Some(smoothed);
        let left = recipe.tokens_after(recipe.total_steps()).saturating_sub(step.tokens);
        Duration::try_from_secs_f64(left as f64 * smoothed).unwrap_or(Duration::MAX)
    }
}
