//! Memory in use, for the metrics.

use burn::tensor::Device;

/// Bytes in use on the device; on a CPU the resident memory of this process.
pub(crate) fn in_use(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_in_use).or_else(resident)
}

/// Resident bytes of this process, where the system tells (Linux).
fn resident() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
