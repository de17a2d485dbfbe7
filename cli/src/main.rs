//! The program `neo`: parse the command line, run the verb, say what went wrong, set the exit code.
//!
//! Everything else is elsewhere: the definitions in `args.rs`, one file of glue per verb in
//! `commands/`, the work itself in the libraries. This is the only crate that prints, reads the
//! environment or parses arguments.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program is the one place that prints"
)]

mod args;
mod commands;
mod environment;
mod error;
mod interrupt;
mod progress;
mod report;
mod whole_file;

use std::process::ExitCode;

use clap::Parser;
use neo_eval::sandbox;

fn main() -> ExitCode {
    if let Some(code) = become_confined() {
        return code;
    }
    let cli = args::Cli::parse();
    neo_backends::host_memory::share_pools();
    progress::install_logging();
    if let Some(folder) = environment::cache_folder() {
        neo_backends::resident::cache_kernels_in(folder.join("kernels"));
    }
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(failure) => error::report(&failure),
    }
}

/// Turns the process into a program of the sandbox if that is what it was started for.
fn become_confined() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != sandbox::CONFINED {
        return None;
    }
    let problem = sandbox::become_confined(&arguments.collect::<Vec<_>>());
    eprintln!("cannot confine: {problem}");
    Some(ExitCode::FAILURE)
}
