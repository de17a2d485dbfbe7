//! `neo doctor`: what this build can do, what it finds on this machine, and whether it computes
//! correctly there.

use std::process::ExitCode;
use std::thread::available_parallelism;

use neo_backends::{device, probe};

/// Options of `neo doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints version, platform and threads, and a line for each device of this build.
///
/// # Errors
/// When the system does not tell the number of threads.
pub(crate) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    println!("version   {}", env!("CARGO_PKG_VERSION"));
    println!("platform  {}-{}", std::env::consts::ARCH, std::env::consts::OS);
    println!("threads   {}", available_parallelism()?);
    let mut usable = false;
    for name in device::compiled_in() {
        let (good, line) = describe(name);
        usable |= good;
        println!("{line}");
    }
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a device computes correctly, and the line that tells it.
fn describe(name: &str) -> (bool, String) {
    let (good, what) = match probe::run(name) {
        Ok(probe) => {
            let what = format!(
                "matrix product off by {:.1e} of f64, first one in {:.0} ms",
                probe.relative_error,
                probe.elapsed.as_secs_f64() * 1e3
            );
            (probe.is_correct(), what)
        }
        Err(problem) => (false, problem.to_string()),
    };
    let verdict = if good { "ok" } else { "unusable" };
    (good, format!("device    {name:<10}{verdict}: {what}"))
}
