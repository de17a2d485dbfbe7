//! `neo data decontaminate`: the corpus without the evaluation sets.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use neo_data::{
    decontaminate::{Action, Decontaminator, Settings},
    engine::{Event, Observer},
    pipeline,
};

use super::{Reporter, Stage, expand_home, table};
use crate::interrupt;

/// Options of `neo data decontaminate`.
#[derive(Debug, clap::Args)]
pub(super) struct Decontaminate {
    /// Folder of evaluation sets, `.jsonl`, plain, .gz or .zst: a row is found by 13 words or 16 Chinese characters of
    /// it in a row, a shorter one by its question with its answer
    #[arg(long, value_name = "DIR")]
    against: String,
    /// Table of the fields that hold question and answer in each file [default: one for the usual benchmarks; other
    /// files give all their strings]
    #[arg(long, value_name = "FILE.toml")]
    benchmarks: Option<String>,
    /// What becomes of a document that repeats a row: it goes, or the lines do that repeat it
    #[arg(long, default_value = "drop", value_parser = action())]
    action: Action,
    #[command(flatten)]
    stage: Stage,
}

/// Writes `kept.*`, `dropped.*`, `changed.*`, `report.json` and `account.json`, and prints what was found.
///
/// # Errors
/// Evaluation sets or input that cannot be used, a failed write, an empty result.
pub(super) fn run(args: Decontaminate) -> Result<()> {
    let Decontaminate { against, benchmarks, action, stage } = args;
    let benchmarks = benchmarks.map(|path| PathBuf::from(expand_home(&path)));
    let settings = Settings { benchmarks, action, ..Settings::new(expand_home(&against).as_ref()) };
    let decontaminator = Decontaminator::open(settings)?;
    let source = stage.source(None)?;
    let (reporter, stop) = (Reporter::default(), interrupt::stop_flag()?);
    let on_event = |event: Event<'_>| reporter.show(event);
    let (single, observer) = (stage.single("kept", None), Observer::new(&on_event, &stop));
    let (account, report) = pipeline::decontaminate(&single, &decontaminator, &source, observer)?;
    drop(reporter);
    stage.account(source.name, account)?;
    if !stage.json {
        print!("{}", table::contamination(&report));
    }
    Ok(())
}

fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(["drop", "cut"]).map(|name| match name.as_str() {
        "cut" => Action::Cut,
        _ => Action::Drop,
    })
}
