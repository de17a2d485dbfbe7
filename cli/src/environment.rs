//! What the environment tells: version, features, device and host for `environment.json`, the way to object
//! stores from the variables that the tools around them share, and the key of a judge.

use std::path::PathBuf;

use neo_data::store::{Keys, Settings, Store};
use serde_json::{Value, json};

/// The way to object stores: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION,
/// AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN.
pub(crate) fn object_store() -> Store {
    let keys = || {
        Some(Keys {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            session: variable("AWS_SESSION_TOKEN"),
        })
    };
    Store::new(Settings {
        endpoint: variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL")),
        region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
        keys: keys(),
    })
}

/// The key of a judge, OPENAI_API_KEY: neither a command line nor a file shows it.
pub(crate) fn judge_key() -> Option<String> {
    variable("OPENAI_API_KEY")
}

/// Where this program keeps what it can make again: XDG_CACHE_HOME or HOME/.cache, `neo` in it.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let caches = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
    Some(caches.join("neo"))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

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
