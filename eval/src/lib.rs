//! Measuring a model: held-out loss and bits per byte, and n-gram models to compare with.

pub mod compression;
mod error;
pub mod held_out;
pub mod ngram;
pub mod perplexity;
pub mod python;
pub mod template;

pub use error::Error;
pub use held_out::HeldOut;
pub use ngram::NgramModel;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
