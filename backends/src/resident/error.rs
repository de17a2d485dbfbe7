//! What can go wrong between us and a card.

use super::memory::MemoryPlan;

/// A card that refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A driver, compiler or library call failed.
    #[error("{what} failed: {problem}")]
    Call {
        /// What was asked for.
        what: String,
        /// What came back.
        problem: String,
    },
    /// A kernel's source was refused by the compiler.
    #[error("`{source_name}` does not compile for {target}:\n{log}")]
    Compile {
        /// The file in `kernels/`.
        source_name: String,
        /// What it was compiled for.
        target: String,
        /// What the compiler said.
        log: String,
    },
    /// The plan does not fit into the memory that is free.
    #[error("the step needs {needed} bytes on the card, {free} are free\n{plan}")]
    Memory {
        /// Bytes of the plan.
        needed: u64,
        /// Bytes that the card has left.
        free: u64,
        /// The plan, part by part.
        plan: Box<MemoryPlan>,
    },
    /// A shape that the kernels do not take.
    #[error("{0}")]
    Shape(String),
}

impl Error {
    /// A failed call.
    pub(crate) fn call(what: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Call { what: what.into(), problem: problem.to_string() }
    }

    /// Whether the user's input is at fault (exit code 2) and not the machine (exit code 1).
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Memory { .. } | Self::Shape(_))
    }

    /// The next step to try, when there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Memory { .. } => Some(
                "lower `batch.micro_batch_sequences` (or set it to \"auto\"), or set `recompute = \
                 \"block\"` and `optimizer.moments = \"bf16\"`"
                    .into(),
            ),
            Self::Call { .. } => Some("`neo doctor` tells what this card and driver offer".into()),
            Self::Compile { .. } | Self::Shape(_) => None,
        }
    }
}
