//! `neo bench step`: how fast a recipe's training step is on a device, and where its time goes; `neo
//! bench card`: what a card gives. The measuring is in `neo_train::bench` and `resident::facts`.

use std::{fmt::Write as _, path::PathBuf};

use neo_backends::resident::{
    self,
    facts::{Facts, Sizes},
};
use neo_train::{bench::StepBenchmark, recipe::Recipe, trace::chrome_trace};

use crate::whole_file;

/// Options of `neo bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Time training steps on random tokens, each of the whole batch of the recipe's first phase
    Step(StepArgs),
    /// What an NVIDIA card gives: copies, launches, products and attention, as JSON
    Card(CardArgs),
}

/// Options of `neo bench card`.
#[derive(Debug, clap::Args)]
struct CardArgs {
    /// The card: cuda or cuda:N, or auto, which takes one where this build can
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Options of `neo bench step`.
#[derive(Debug, clap::Args)]
struct StepArgs {
    /// Recipe whose model, batch and precision are timed
    #[arg(long, default_value = "train/recipes/bench_22m.toml")]
    recipe: PathBuf,
    /// Override one value of the recipe, such as batch.seq_len=512; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Steps that are timed, after three that are not
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Peak of the device in TFLOP/s, for the MFU; only the share of the measured rate without it
    #[arg(long)]
    peak_tflops: Option<f64>,
    /// Write the observed step, every operation with begin and duration, for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Measures and prints.
///
/// # Errors
/// The recipe cannot be read, the device cannot be opened or fails.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Step(args) => step(&args),
        What::Card(args) => card(&args),
    }
}

fn card(args: &CardArgs) -> anyhow::Result<()> {
    let device = neo_backends::device::open(&args.device)?;
    let open = || {
        let refusal = || resident::Error::Shape(format!("`{}` is no NVIDIA card", args.device));
        resident::card_of(&device)?.ok_or_else(refusal)
    };
    let facts = Facts::measure(&open, Some(&device), &Sizes::of_models())?;
    println!("{}", serde_json::to_string_pretty(&facts)?);
    Ok(())
}

fn step(args: &StepArgs) -> anyhow::Result<()> {
    let device = neo_backends::device::open(&args.device)?;
    let recipe = Recipe::read(&args.recipe, &args.overrides)?;
    if let Some(path) = &args.trace {
        whole_file::check(path)?;
    }
    let found = StepBenchmark::run(&recipe, args.steps, &device)?;
    if let Some(path) = &args.trace {
        let trace = chrome_trace(&format!("{} on {}", recipe.name, args.device), &found.spans);
        whole_file::write(path, &trace.to_string())?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print!("{}", table(&found, args.peak_tflops));
    }
    Ok(())
}

fn table(found: &StepBenchmark, peak_tflops: Option<f64>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:24} {value}");
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    line("recipe", format!("{}, {} parameters", found.recipe, found.parameters));
    line(
        "tokens per step",
        format!("{}, {} rows in a micro-batch", found.tokens_per_step, found.micro_batch_sequences),
    );
    line("tokens/s", format!("{:.0}, best {:.0}", found.tokens_per_sec, found.best_tokens_per_sec));
    line("ms per step", format!("{:.1}", found.step_ms));
    line("TFLOP/s", format!("{:.3}", found.tflops));
    line(
        "of the matrix rate",
        format!(
            "{} of {:.3} TFLOP/s, measured",
            percent(found.tflops / found.matrix_tflops),
            found.matrix_tflops
        ),
    );
    if let Some(peak) = peak_tflops {
        line("MFU", format!("{} of {peak} TFLOP/s", percent(found.tflops / peak)));
    }
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    if let Some(peak) = found.peak_bytes {
        line("peak memory", mib(peak));
    }
    let memory = found.planned;
    for (name, bytes) in [
        ("  weights", memory.master_weights + memory.compute_weights),
        ("  gradients", memory.gradients),
        ("  moments", memory.moments),
        ("  activations, planned", memory.activations),
        ("  logits, planned", memory.logits_chunk),
    ] {
        line(name, mib(bytes));
    }
    line("fallbacks", found.fallbacks.to_string());
    let first_and_last = [found.losses.first(), found.losses.last()];
    let losses: Vec<String> =
        first_and_last.into_iter().flatten().map(|loss| format!("{loss:.5}")).collect();
    line("loss, first and last", losses.join(", "));
    let _ = writeln!(
        text,
        "\none step of {:.1} ms, observed\n{:24} {:>6} {:>9} {:>7}",
        found.observed_step_ms, "operation", "calls", "ms", "share"
    );
    for share in &found.operations {
        let part = percent(share.ms / found.observed_step_ms);
        let _ = writeln!(text, "{:24} {:>6} {:>9.1} {part:>7}", share.name, share.calls, share.ms);
    }
    text
}
