//! The network, and what needs only weights: loss, generation, safetensors, Hugging Face names.

pub mod config;
mod error;
pub mod hf;
pub mod staged;
pub mod weights;

pub use config::ModelConfig;
pub use error::Error;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
