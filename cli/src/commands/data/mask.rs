//! `neo data mask`: personal data gives way to placeholders.

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use neo_data::{personal::Kinds, pipeline};

use super::Stage;

/// Options of `neo data mask`.
#[derive(Debug, clap::Args)]
pub(super) struct Mask {
    /// What is masked: mail addresses, phone numbers, Chinese identity numbers, IP addresses, numbers of bank cards
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "mail,phone,id_number,ip", value_parser = kind())]
    kinds: Vec<Kind>,
    #[command(flatten)]
    stage: Stage,
}

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Mail,
    Phone,
    IdNumber,
    Ip,
    BankCard,
}

/// Writes `kept.*` and `account.json`, and prints how much was masked.
///
/// # Errors
/// Input that cannot be used, a failed write, an empty result.
pub(super) fn run(args: Mask) -> Result<()> {
    let has = |kind: Kind| args.kinds.contains(&kind);
    let kinds = Kinds {
        mail: has(Kind::Mail),
        phone: has(Kind::Phone),
        id_number: has(Kind::IdNumber),
        ip: has(Kind::Ip),
        bank_card: has(Kind::BankCard),
    };
    args.stage.run("kept", Some(pipeline::Stage::Mask(kinds)), None, None)
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(["mail", "phone", "id_number", "ip", "bank_card"]).map(|name| {
        match name.as_str() {
            "mail" => Kind::Mail,
            "phone" => Kind::Phone,
            "id_number" => Kind::IdNumber,
            "ip" => Kind::Ip,
            _ => Kind::BankCard,
        }
    })
}
