//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong while a model is trained.
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
    /// A checkpoint could not be written; those before it are untouched.
    #[error("checkpoint `{path}` was not written; {older}")]
    CheckpointNotWritten {
        /// The folder that should have appeared.
        path: PathBuf,
        /// What a run can go on from.
        older: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },
    /// A tensor holds an infinite value or one that is not a number.
    #[error("tensor `{tensor}` is not finite at element {element_idx}")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// The first such element.
        element_idx: usize,
    },
    /// A setting makes no sense; the message names it.
    #[error("{0}")]
    Setting(String),
    /// The data side failed: corpus, tokenizer or recipe file.
    #[error(transparent)]
    Data(#[from] neo_data::Error),
    /// The model side failed: shape or weights.
    #[error(transparent)]
    Model(#[from] neo_model::Error),
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Malformed { .. } | Self::Setting(_) => true,
            Self::CheckpointNotWritten { .. } | Self::NonFinite { .. } => false,
            Self::Data(source) => source.is_input(),
            Self::Model(source) => source.is_input(),
        }
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(source) => source.hint(),
            Self::Model(source) => source.hint(),
            Self::CheckpointNotWritten { source, .. } => source.hint(),
            Self::NonFinite { .. } => None,
            Self::Io { .. } | Self::Malformed { .. } | Self::Setting(_) => None,
        }
    }

    /// Attaches the path to a system error, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
