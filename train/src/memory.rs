//! Memory in use, for the metrics and benchmarks.

use burn::tensor::Device;

use crate::{Error, Result, plan::Memory, recipe::Recipe};

/// Refuses a recipe whose weights, gradients and moments alone are more than this machine's memory.
///
/// # Errors
/// The device is the CPU and the recipe does not fit.
pub(crate) fn check_room(recipe: &Recipe, device: &Device) -> Result<()> {
    let needed = Memory::of(recipe).state();
    match field("/proc/meminfo", "MemTotal") {
        Some(present) if needed > present && neo_backends::device::is_host(device) => {
            Err(Error::TooLarge { needed, present })
        }
        _ => Ok(()),
    }
}

/// Bytes in use on the device; on a CPU the resident memory of this process.
pub(crate) fn in_use(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_in_use).or_else(|| process("VmRSS"))
}

/// Bytes that the device has reserved; on a CPU the highest resident memory of this process.
pub(crate) fn peak(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved).or_else(|| process("VmHWM"))
}

/// A field of this process's status.
fn process(name: &str) -> Option<u64> {
    field("/proc/self/status", name)
}

/// A field in KiB of one of the system's tables, in bytes, where there are such tables (Linux).
fn field(table: &str, name: &str) -> Option<u64> {
    let table = std::fs::read_to_string(table).ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
