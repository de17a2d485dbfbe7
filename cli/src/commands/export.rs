//! `neo export`: a model folder or a checkpoint in, a Hugging Face folder out.

use std::path::PathBuf;

use neo_model::hf;
use neo_model::weights::Dtype;
use neo_train::checkpoint;

use super::import::{describe, megabytes};

/// Options of `neo export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model folder or checkpoint to copy; a checkpoint is verified first
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to make; must not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Type to store the weights in [default: as they are]
    #[arg(long, value_enum)]
    dtype: Option<StoredDtype>,
    /// Largest size of one weight file, in units of 10^9 bytes
    #[arg(long, value_name = "GB", default_value = "5", value_parser = parse_gigabytes)]
    max_shard_gb: u64,
}

/// Types that weights can be stored in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoredDtype {
    /// 32-bit float
    F32,
    /// bfloat16, rounded to nearest, ties to even
    Bf16,
}

/// Copies the folder and prints what it holds.
///
/// # Errors
/// When the checkpoint does not verify, the folder is not a model, or the copy cannot be made.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if checkpoint::is_checkpoint(&args.model) {
        checkpoint::verify(&args.model)?;
    }
    let dtype = args.dtype.map(|dtype| match dtype {
        StoredDtype::F32 => Dtype::F32,
        StoredDtype::Bf16 => Dtype::BF16,
    });
    let progress = &mut megabytes("export");
    let summary = hf::export(&args.model, &args.out, dtype, args.max_shard_gb, progress)?;
    println!("{}", describe(&summary));
    println!("exported to {}", args.out.display());
    Ok(())
}

/// Bytes of a number of gigabytes, fractions allowed.
fn parse_gigabytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(gigabytes) if gigabytes.is_finite() && gigabytes > 0.0 => Ok((gigabytes * 1e9) as u64),
        _ => Err("expected a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(parse_gigabytes(text).ok(), expected, "{text}");
    }

    #[test]
    fn sizes_are_positive_numbers() {
        check("5", Some(5_000_000_000));
        check("0.5", Some(500_000_000));
        check("0", None);
        check("-1", None);
        check("inf", None);
        check("5GB", None);
    }
}
