//! Memory in use, for the metrics and benchmarks.

use burn::tensor::Device;

/// Bytes in use on the device; on a CPU the resident memory of this process.
pub(crate) fn in_use(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_in_use).or_else(|| process("VmRSS"))
}

/// Bytes that the device has reserved; on a CPU the highest resident memory of this process.
pub(crate) fn peak(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved).or_else(|| process("VmHWM"))
}

/// A field of this process's status, where the system tells (Linux).
fn process(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
