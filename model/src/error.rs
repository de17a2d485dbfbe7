//! The one error type of this crate.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What can go wrong with a model or its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("cannot access `{path}`")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is there but its content is not what it must be.
    #[error("`{path}`: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// A folder holds no weights in a layout that can be read.
    #[error("`{dir}` has neither `{stem}.safetensors` nor `{stem}.safetensors.index.json`")]
    NoWeights {
        /// The folder.
        dir: PathBuf,
        /// What the file name should begin with.
        stem: String,
    },
    /// A folder that is to be made is already there.
    #[error("`{0}` exists and is not an empty folder")]
    Occupied(PathBuf),
    /// The device is not one for this model.
    #[error(transparent)]
    Backend(#[from] neo_backends::Error),
    /// The device could not give its result.
    #[error("the device failed: {0}")]
    Device(String),
    /// A setting makes no sense; the message names it.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == ErrorKind::NotFound,
            Self::Device(_) => false,
            Self::Backend(source) => source.is_input(),
            Self::Malformed { .. }
            | Self::NoWeights { .. }
            | Self::Occupied(_)
            | Self::Setting(_) => true,
        }
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if is_full(source) => {
                Some("free some space on that disk, or name a folder on another one".to_owned())
            }
            Self::NoWeights { dir, .. } if dir.join("pytorch_model.bin").exists() => {
                Some("only safetensors are read; save the model with safetensors first".to_owned())
            }
            Self::Backend(source) => source.hint(),
            Self::Occupied(_) => Some("name a folder that does not exist yet".to_owned()),
            _ => None,
        }
    }

    /// Attaches the path to a system error, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
