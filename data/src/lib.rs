//! Documents to batches: read, filter, dedup, tokenize, shard, mix, load. No tensors here.
//!
//! Modules in the order in which a document passes them.

mod batch;
pub mod corpus;
pub mod decontaminate;
pub mod dedup;
pub mod document;
pub mod engine;
mod error;
pub mod extract;
pub mod fast_text;
pub mod filter;
pub mod jieba;
pub mod loader;
pub mod megatron;
pub mod mixture;
pub mod nltk;
mod order;
mod pending_file;
pub mod personal;
pub mod pipeline;
pub mod python;
pub mod read;
pub mod sample;
pub mod shard;
pub mod shuffle;
pub mod store;
mod stream;
pub mod tokenizer;
pub mod toml_file;
pub mod write;

pub use document::{Document, Language, Origin};
pub use error::Error;

/// Result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;
