//! `neo eval`: a model on held-out text or on benchmarks, two results compared, results as a page.

mod compare;
mod conversation;
mod held_out;
mod loaded;
mod mt_bench;
mod output;
mod report;
mod tasks;

use std::path::{Path, PathBuf};

use crate::error::Usage;

/// Options of `neo eval`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Model folder or checkpoint
    #[arg(long)]
    model: Option<PathBuf>,
    /// Corpus folder whose held-out documents are measured
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Benchmarks: names of tasks and groups or paths of task files, `list` to see the names
    #[arg(long, value_delimiter = ',', value_name = "A,B", conflicts_with = "corpus")]
    tasks: Vec<String>,
    #[command(flatten)]
    held_out: held_out::Options,
    #[command(flatten)]
    benchmarks: tasks::Options,
    /// Write the results as JSON to this file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

/// What else can be done with evaluations.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compare two results on the same documents: McNemar's test and a paired bootstrap
    Compare(compare::Args),
    /// Draw results as one self-contained HTML page: tables, curves over checkpoints, samples
    Report(report::Args),
    /// Let the model answer MT-Bench and a judge behind an OpenAI-compatible endpoint rate it
    MtBench(mt_bench::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::MtBench(args)) => mt_bench::run(&args),
        None => measure(&args),
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    if args.tasks == ["list"] {
        return tasks::list();
    }
    let Some(model) = &args.model else {
        return Err(Usage::with_hint("no model is named", "add `--model DIR`").into());
    };
    let out = args.out.as_deref();
    match &args.corpus {
        Some(corpus) => held_out::run(model, corpus, &args.held_out, out, &args.device),
        None if args.tasks.is_empty() => Err(Usage::with_hint(
            "nothing to measure is named",
            "add `--corpus DIR` for held-out text or `--tasks A,B` for benchmarks",
        )
        .into()),
        None => tasks::run(model, &args.tasks, &args.benchmarks, out, &args.device),
    }
}

/// The folder of the evaluation sets: the one named, or NEO_DATA's, or the shared one.
fn data_folder(named: Option<&Path>) -> PathBuf {
    let from_environment =
        || std::env::var_os("NEO_DATA").map(|data| PathBuf::from(data).join("eval"));
    let usual = || PathBuf::from("../shared/data/eval");
    named.map(Path::to_owned).or_else(from_environment).unwrap_or_else(usual)
}
