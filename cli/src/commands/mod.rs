//! One file per verb, each only glue: options in, one library called, results out.

pub(crate) mod bench;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod score;
pub(crate) mod tokenizer;
pub(crate) mod train;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::args::Command;

/// Runs the verb that was typed.
///
/// # Errors
/// Whatever the verb reports; `main` prints it and derives the exit code.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    crate::interrupt::end_quietly_on_broken_pipe()?;
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Data(args) => done(data::run(args)),
        Command::Tokenizer(args) => done(tokenizer::run(args)),
        Command::Plan(args) => done(plan::run(args)),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => done(eval::run(args)),
        Command::Score(args) => done(score::run(args)),
        Command::Generate(args) => done(generate::run(args)),
        Command::Export(args) => done(export::run(args)),
        Command::Import(args) => done(import::run(args)),
        Command::Verify(args) => done(verify::run(args)),
        Command::Report(args) => done(report::run(args)),
        Command::Bench(args) => done(bench::run(args)),
        Command::Doctor(args) => doctor::run(args),
    }
}

/// Exit code 0 for a verb that has no other way to succeed.
fn done(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    outcome.map(|()| ExitCode::SUCCESS)
}
