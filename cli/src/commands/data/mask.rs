//! `neo data mask`: personal data gives way to placeholders.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use neo_data::{personal::Kinds, pipeline};

use super::Stage;

/// Options of `neo data mask`.
#[derive(Debug, clap::Args)]
pub(super) struct Mask {
    /// What is masked: mail addresses, phone numbers, Chinese identity numbers, IP addresses, numbers of bank cards
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "mail,phone,id_number,ip",
        value_parser = PossibleValuesParser::new(Kinds::NAMES)
    )]
    kinds: Vec<String>,
    #[command(flatten)]
    stage: Stage,
}

/// Writes `kept.*` and `account.json`, and prints how much was masked.
///
/// # Errors
/// Input that cannot be used, a failed write, an empty result.
pub(super) fn run(args: Mask) -> Result<()> {
    let kinds = Kinds::of_names(&args.kinds);
    args.stage.run("kept", Some(pipeline::Stage::Mask(kinds)), None, None)
}
