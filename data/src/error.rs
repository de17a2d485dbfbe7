//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong between a raw file and a batch. Bad documents are not errors: they are counted.
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
    /// A path that a setting names is not there.
    #[error("{key} is `{path}`, which does not exist")]
    Missing {
        /// The setting, and whose it is.
        key: String,
        /// The path.
        path: PathBuf,
    },
    /// An object store did not give what was asked for.
    #[error("`{address}`: {problem}")]
    Store {
        /// The address as given.
        address: String,
        /// What happened.
        problem: String,
        /// What to look at.
        hint: &'static str,
        /// Whether the address is wrong or its keys are, and not the store or the way to it.
        is_input: bool,
    },
    /// A setting makes no sense; the message names it.
    #[error("{0}")]
    Setting(String),
    /// Another run works in a folder that only one may work in.
    #[error("another run works in `{path}`")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Asked to stop; what was done so far is kept.
    #[error("interrupted; what was done is kept")]
    Interrupted,
    /// The text of a stage was removed, since nobody needed it, and is needed again; a run then makes it once more.
    #[error("`{path}` was removed after its use, as `engine.keep_intermediates = false` says")]
    Spent {
        /// The file.
        path: PathBuf,
    },
    /// A query over keys failed.
    #[error("a query over the keys of documents failed: {problem}")]
    Query {
        /// What the query engine said.
        problem: String,
    },
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Store { is_input, .. } => *is_input,
            Self::Malformed { .. }
            | Self::Missing { .. }
            | Self::Setting(_)
            | Self::Busy { .. } => true,
            Self::Interrupted | Self::Spent { .. } | Self::Query { .. } => false,
        }
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { hint, .. } => Some((*hint).to_owned()),
            Self::Busy { .. } => {
                Some("wait until it has ended, or give another folder with `--out`".to_owned())
            }
            _ => None,
        }
    }

    /// Where a path is missing, says which setting named it.
    pub(crate) fn asked_by(self, key: impl FnOnce() -> String) -> Self {
        match self {
            Self::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::Missing { key: key(), path }
            }
            other => other,
        }
    }

    /// Says which stage of a recipe a missing path or a setting belongs to.
    pub(crate) fn in_stage(self, index: usize) -> Self {
        match self {
            Self::Missing { key, path } => {
                Self::Missing { key: format!("`stage.{index}`: {key}"), path }
            }
            Self::Setting(problem) => Self::Setting(format!("`stage.{index}`: {problem}")),
            other => other,
        }
    }

    /// What an error of reading a stream means: the error that a store hid in it, else the system's.
    pub(crate) fn reading(path: &Path, error: std::io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::io(path))
    }

    /// Attaches the path to a system error, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
