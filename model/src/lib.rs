//! The network, and what needs only weights: loss, generation, safetensors, Hugging Face names.

mod block;
pub mod branch;
pub mod config;
mod error;
pub mod generate;
pub mod hf;
pub mod init;
pub mod kv_cache;
pub mod load;
pub mod parameters;
pub mod score;
pub mod staged;
pub mod transformer;
pub mod weights;

pub use block::Recompute;
pub use config::ModelConfig;
pub use error::Error;
pub use parameters::Parameters;
pub use transformer::Transformer;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
