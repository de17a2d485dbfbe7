//! Memory in use, for the metrics and benchmarks.

use burn::tensor::Device;
use neo_backends::host_memory;

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
    host_memory::field("/proc/self/status", name)
}
