//! The one error type of this crate.

use std::path::{Path, PathBuf};

use crate::plan::Memory;

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
    /// The loss or the gradient norm is infinite or not a number.
    #[error("step {step} gave loss {loss} and gradient norm {grad_norm}, read from {}", rows.join("; "))]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient norm.
        grad_norm: f64,
        /// Where each row of the batch begins.
        rows: Vec<String>,
    },
    /// The run folder belongs to a run of another recipe.
    #[error("`{run}` holds a run whose recipe differs in {}", quoted(keys))]
    RecipeChanged {
        /// The run folder.
        run: PathBuf,
        /// The keys that differ.
        keys: Vec<String>,
    },
    /// The run folder holds something already.
    #[error("`{run}` exists and is not empty")]
    Occupied {
        /// The folder.
        run: PathBuf,
    },
    /// There are checkpoints, but every one of them is damaged.
    #[error("no checkpoint in `{run}` is sound: {}", joined(unsound))]
    NoSoundCheckpoint {
        /// The run folder.
        run: PathBuf,
        /// What is wrong with each.
        unsound: Vec<Error>,
    },
    /// Another program trains in the run folder.
    #[error("`{run}` is in use by another training process")]
    InUse {
        /// The folder.
        run: PathBuf,
    },
    /// A step takes more than the device has.
    #[error(
        "a step with {rows} row{} in a micro-batch needs {}, the device can give {}:{}",
        if *rows == 1 { "" } else { "s" },
        gib(memory.total()),
        gib(*available),
        table(memory)
    )]
    TooLarge {
        /// Rows of the micro-batch.
        rows: usize,
        /// Bytes that the step needs, by part.
        memory: Box<Memory>,
        /// Bytes that the device can give.
        available: u64,
        /// Settings with which it would fit.
        remedy: Option<String>,
    },
    /// The card that holds the step failed.
    #[error(transparent)]
    Card(#[from] neo_backends::resident::Error),
    /// A setting makes no sense; the message names it.
    #[error("{0}")]
    Setting(String),
    /// The data side failed: corpus, tokenizer or recipe file.
    #[error(transparent)]
    Data(#[from] neo_data::Error),
    /// The model side failed: shape or weights.
    #[error(transparent)]
    Model(#[from] neo_model::Error),
    /// An evaluation failed.
    #[error(transparent)]
    Eval(#[from] neo_eval::Error),
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Malformed { .. }
            | Self::Setting(_)
            | Self::TooLarge { .. }
            | Self::RecipeChanged { .. }
            | Self::Occupied { .. } => true,
            Self::CheckpointNotWritten { .. }
            | Self::NonFinite { .. }
            | Self::Diverged { .. }
            | Self::NoSoundCheckpoint { .. }
            | Self::InUse { .. } => false,
            Self::Card(source) => source.is_input(),
            Self::Eval(source) => source.is_input(),
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
            Self::Card(source) => source.hint(),
            Self::Eval(source) => source.hint(),
            Self::RecipeChanged { .. } => {
                Some("give the new recipe another `--out`, or undo the change".to_owned())
            }
            Self::Occupied { .. } => {
                Some("name another `--out`, or go on with `--resume auto`".to_owned())
            }
            Self::Diverged { .. } => Some(
                "lower the learning rate or look at these rows; the last checkpoint is intact"
                    .to_owned(),
            ),
            Self::TooLarge { remedy: Some(changes), .. } => {
                Some(format!("this fits: `--set {}`", changes.replace(' ', " --set ")))
            }
            Self::TooLarge { .. } => Some(
                "not even one short row fits; take a smaller model or another device".to_owned(),
            ),
            Self::NoSoundCheckpoint { .. } => {
                Some("start again in another `--out`; nothing here was changed".to_owned())
            }
            Self::NonFinite { .. } | Self::InUse { .. } => None,
            Self::Io { .. } | Self::Malformed { .. } | Self::Setting(_) => None,
        }
    }

    /// Attaches the path to a system error, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A size as messages show it.
pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// A line for each part that takes memory.
fn table(memory: &Memory) -> String {
    let parts = memory.parts().into_iter().filter(|(_, bytes)| *bytes > 0);
    parts.map(|(name, bytes)| format!("\n  {name:<16}{:>12}", gib(bytes))).collect()
}

fn quoted(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn joined(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
