//! The one error type of this crate.

/// What can go wrong when a device is chosen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not one of the known forms.
    #[error(
        "unknown device `{name}`, expected `flex`, `wgpu[:n]`, `cuda[:n]`, `tch-cpu`, \
         `tch-cuda[:n]` or `auto`"
    )]
    UnknownDevice {
        /// What was asked for.
        name: String,
    },
    /// The name is known but its Cargo feature is off in this build.
    #[error("device `{name}` needs the Cargo feature `{feature}`, which this build lacks")]
    NotCompiledIn {
        /// What was asked for.
        name: String,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// The device cannot compute in the number format that was asked for.
    #[error("this device cannot compute in {precision}")]
    UnsupportedPrecision {
        /// The number format.
        precision: &'static str,
    },
    /// The driver refused or no such card is there.
    #[error("device `{name}` cannot be opened: {problem}")]
    Unavailable {
        /// What was asked for.
        name: String,
        /// What the driver said.
        problem: String,
    },
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownDevice { .. } => None,
            Self::NotCompiledIn { feature, .. } => {
                Some(format!("build with `cargo build --release --features {feature}`"))
            }
            Self::UnsupportedPrecision { .. } => {
                Some("set `precision = \"f32\"`, or take another device".into())
            }
            Self::Unavailable { .. } => Some("`neo doctor` lists the devices of this build".into()),
        }
    }
}
