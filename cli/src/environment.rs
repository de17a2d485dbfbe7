//! What a run was made with: version, features, device and host, for `environment.json`.

use serde_json::{Value, json};

/// Describes this program and this machine.
pub(crate) fn describe(device: &str) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("NEO_COMMIT"),
        "device": device,
        "backends": neo_backends::device::compiled_in(),
        "host": {
            "name": std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|n| n.trim().to_owned()),
            "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "processor": processor(),
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
        },
        "arguments": std::env::args().collect::<Vec<_>>(),
    })
}

/// Name of the processor, where the system tells (Linux).
fn processor() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}
