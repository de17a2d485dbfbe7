//! Changing a model: recipes, loop, optimizer, schedules, checkpoints.

pub mod checkpoint;
mod error;
pub mod metrics;
pub mod plan;
pub mod recipe;
pub mod schedule;
mod tfevents;

pub use error::Error;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
