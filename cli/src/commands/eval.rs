//! `neo eval`: a model on held-out text or on benchmarks, two results compared, results as a page.

mod compare;
mod held_out;
mod report;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

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
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Compare(args)) => return compare::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Report(args)) => return report::run(args).map(|()| ExitCode::SUCCESS),
        None => {}
    }
    if args.tasks == ["list"] {
        return tasks::list().map(|()| ExitCode::SUCCESS);
    }
    let Some(model) = args.model else {
        return Err(Usage::with_hint("no model is named", "add `--model DIR`").into());
    };
    let out = args.out.as_deref();
    match args.corpus {
        Some(corpus) => held_out::run(&model, &corpus, &args.held_out, out, &args.device)
            .map(|()| ExitCode::SUCCESS),
        None if args.tasks.is_empty() => Err(Usage::with_hint(
            "nothing to measure is named",
            "add `--corpus DIR` for held-out text or `--tasks A,B` for benchmarks",
        )
        .into()),
        None => tasks::run(&model, &args.tasks, &args.benchmarks, out, &args.device),
    }
}
