//! `neo report`: a run folder as one self-contained page.

use std::path::PathBuf;

use anyhow::Result;

use crate::report;

/// Options of `neo report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run folder: the `--out` of `neo train`
    dir: PathBuf,
}

/// Draws `report.html` and prints its path.
///
/// # Errors
/// The folder holds no run, or a file in it is damaged.
pub(crate) fn run(args: Args) -> Result<()> {
    println!("{}", report::write(&args.dir)?.display());
    Ok(())
}
