//! The one error type of this crate.

use std::path::PathBuf;

/// What can go wrong while a model is measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data side failed.
    #[error(transparent)]
    Data(#[from] neo_data::Error),
    /// The model side failed.
    #[error(transparent)]
    Model(#[from] neo_model::Error),
    /// A task, its data or what is asked of it is wrong.
    #[error("task `{task}`: {problem}")]
    Task {
        /// Name of the task.
        task: String,
        /// What is wrong.
        problem: String,
        /// The next step to try.
        hint: Option<String>,
    },
    /// A chat template is missing, or does not fit what is said.
    #[error("chat template of `{}`: {problem}", folder.display())]
    Chat {
        /// The tokenizer's folder.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
        /// The next step to try.
        hint: Option<String>,
    },
    /// A judge cannot be asked, or does not answer as one.
    #[error("judge `{address}`: {problem}")]
    Judge {
        /// The endpoint's address.
        address: String,
        /// What went wrong.
        problem: String,
        /// The next step to try.
        hint: Option<String>,
        /// Whether address or key are at fault, and not the endpoint or the network.
        is_input: bool,
    },
    /// Someone asked to stop; what was answered so far is kept.
    #[error("the evaluation was stopped; its answers are kept")]
    Stopped,
    /// A setting makes no sense; the message names it.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        match self {
            Self::Data(source) => source.is_input(),
            Self::Model(source) => source.is_input(),
            Self::Task { .. } | Self::Chat { .. } | Self::Setting(_) => true,
            Self::Judge { is_input, .. } => *is_input,
            Self::Stopped => false,
        }
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Data(source) => source.hint(),
            Self::Model(source) => source.hint(),
            Self::Task { hint, .. } | Self::Chat { hint, .. } | Self::Judge { hint, .. } => {
                hint.clone()
            }
            Self::Setting(_) | Self::Stopped => None,
        }
    }
}
