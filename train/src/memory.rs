//! Memory in use, for the metrics and benchmarks.

use burn::tensor::Device;
use neo_backends::{device, host_memory};

/// Bytes in use on the device, all that the driver has given away where it tells; on a CPU the
/// resident memory of this process.
pub(crate) fn in_use(device: &Device) -> Option<u64> {
    given_away(device).or_else(|| pooled(device)).or_else(|| process("VmRSS"))
}

/// A card's memory that is not free: burn's pools, a step's own, and the driver's share.
fn given_away(device: &Device) -> Option<u64> {
    if device::is_host(device) {
        return None;
    }
    Some(device::total_memory(device)? - device::free_memory(device)?)
}

fn pooled(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_in_use)
}

/// Bytes that the device has reserved, or given away; on a CPU the highest resident memory of this process.
pub(crate) fn peak(device: &Device) -> Option<u64> {
    let reserved = || device.memory_pool_usage().map(|usage| usage.bytes_reserved);
    given_away(device).or_else(reserved).or_else(|| process("VmHWM"))
}

/// A field of this process's status.
fn process(name: &str) -> Option<u64> {
    host_memory::field("/proc/self/status", name)
}
