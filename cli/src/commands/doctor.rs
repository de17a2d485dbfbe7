//! `neo doctor`: what this build can do and what it finds on this machine.

use std::thread::available_parallelism;

/// Options of `neo doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints version, platform and threads.
///
/// # Errors
/// None yet known; the signature is that of every verb.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    println!("neo       {}", env!("CARGO_PKG_VERSION"));
    println!("platform  {}-{}", std::env::consts::ARCH, std::env::consts::OS);
    println!("threads   {}", available_parallelism()?);
    Ok(())
}
