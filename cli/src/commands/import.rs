//! `neo import`: a Hugging Face folder in, a checked model folder of ours out.

use std::path::PathBuf;

use neo_model::hf::{self, FolderSummary};

use crate::progress::Progress;

/// Options of `neo import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Hugging Face folder with `config.json` and safetensors, in shards or not
    #[arg(long, value_name = "HF_DIR")]
    from: PathBuf,
    /// Folder to make; must not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Copies the folder, checking every name and shape, and prints what it holds.
///
/// # Errors
/// When the folder is not a model that this program has, or the copy cannot be made.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let summary = hf::import(&args.from, &args.out, &mut megabytes("import"))?;
    println!("{}", describe(&summary));
    println!("imported to {}", args.out.display());
    Ok(())
}

/// Shows progress that is told in bytes done and bytes in all.
pub(super) fn megabytes(label: &'static str) -> impl FnMut(u64, u64) {
    let mut progress = None;
    move |done, all| {
        let total = all.div_ceil(1_000_000);
        let progress = progress.get_or_insert_with(|| Progress::new(label, Some(total)));
        progress.set(done / 1_000_000, "MB");
    }
}

/// One line on what a model folder holds.
pub(super) fn describe(summary: &FolderSummary) -> String {
    let FolderSummary { n_tensors, n_params, n_bytes, dtype, .. } = summary;
    let megabytes = *n_bytes as f64 / 1e6;
    format!("{n_params} parameters in {n_tensors} tensors, {}, {megabytes:.1} MB", dtype.name())
}
