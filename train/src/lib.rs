//! Changing a model: recipes, loop, optimizer, schedules, checkpoints.

pub mod bench;
pub mod checkpoint;
mod error;
mod evaluation;
pub mod learner;
mod memory;
pub mod metrics;
pub mod optimizer;
pub mod plan;
pub mod pretrain;
pub mod recipe;
pub mod resident;
pub mod room;
pub mod run_folder;
pub mod schedule;
pub mod step;
mod tfevents;
pub mod trace;

pub use error::Error;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
