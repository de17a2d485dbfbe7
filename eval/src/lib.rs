//! Measuring a model: held-out loss and bits per byte, and n-gram models to compare with.

mod error;
pub mod held_out;
pub mod perplexity;

pub use error::Error;
pub use held_out::HeldOut;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
