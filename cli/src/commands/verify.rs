//! `neo verify`: is every byte of a checkpoint, of a run's checkpoints, or of a model what it must be?

use std::path::{Path, PathBuf};

use neo_model::hf;
use neo_train::checkpoint::{self, Checkpoint};

use super::import::{describe, megabytes};
use crate::error::Usage;

/// Options of `neo verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint, run folder, or model folder
    dir: PathBuf,
}

/// Checks the folder and prints a line for each thing checked.
///
/// # Errors
/// Names the first file that is missing or changed, or the first tensor that is wrong.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let dir = &args.dir;
    fs_err::read_dir(dir)?;
    if checkpoint::is_checkpoint(dir) {
        println!("{}", verify_checkpoint(dir)?);
        Ok(())
    } else if dir.join("checkpoints").is_dir() {
        verify_run(dir)
    } else if dir.join("config.json").is_file() {
        let summary = hf::verify(dir, &mut megabytes("verify"))?;
        println!("ok       {}: {}, all finite", dir.display(), describe(&summary));
        Ok(())
    } else {
        let problem = format!("`{}` is no checkpoint, no run and no model folder", dir.display());
        let hint = "a checkpoint has `MANIFEST.json`, a run `checkpoints`, a model `config.json`";
        Err(Usage::with_hint(problem, hint).into())
    }
}

fn verify_checkpoint(dir: &Path) -> Result<String, neo_train::Error> {
    let checkpoint = Checkpoint::open(dir)?;
    let files = &checkpoint.manifest().files;
    let bytes: u64 = files.values().map(|file| file.bytes).sum();
    Ok(format!(
        "ok       {}: {} tokens seen, {} files, {:.1} MB",
        dir.display(),
        checkpoint.state().tokens,
        files.len(),
        bytes as f64 / 1e6
    ))
}

/// Checks every checkpoint of a run, and fails when one is corrupt.
fn verify_run(dir: &Path) -> anyhow::Result<()> {
    let found = checkpoint::list(dir)?;
    let mut failures = Vec::new();
    for path in &found {
        match verify_checkpoint(path) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                println!("corrupt  {}", path.display());
                failures.push(error);
            }
        }
    }
    let n_failures = failures.len();
    match failures.into_iter().next() {
        None if found.is_empty() => {
            let problem = format!("`{}` has no checkpoint", dir.display());
            Err(Usage::with_hint(problem, "train first, or name another run").into())
        }
        None => Ok(()),
        Some(first) => Err(anyhow::Error::new(first)
            .context(format!("{n_failures} of {} checkpoints cannot be used", found.len()))),
    }
}
