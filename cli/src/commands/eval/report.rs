//! `neo eval report`: results files as one self-contained page.

use std::path::PathBuf;

use crate::error::Usage;
use crate::report::evaluation;

/// Options of `neo eval report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Results files: the `--out` of `neo eval --tasks`, of several checkpoints or models
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// Sample logs of these results: the `--samples` of the same evaluations
    #[arg(long, value_name = "FILE", num_args = 1..)]
    samples: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes the page and prints its path; a file that is there stays as it is.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.out.exists() {
        let problem = format!("`{}` exists", args.out.display());
        return Err(Usage::with_hint(problem, "give another file as `--out`").into());
    }
    evaluation::write(&args.results, &args.samples, &args.out)?;
    println!("{}", args.out.display());
    Ok(())
}
