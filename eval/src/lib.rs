//! Measuring a model: held-out loss and bits per byte, n-gram models to compare with, and the
//! benchmarks of MAP-Neo with lm-evaluation-harness's numbers.

pub mod cache;
pub mod compression;
mod error;
pub mod evaluation;
pub mod filter;
pub mod held_out;
pub mod in_loop;
pub mod judge;
pub mod language_model;
pub mod metric;
pub mod mt_bench;
pub mod network;
pub mod ngram;
pub mod opencompass;
pub mod paired;
pub mod perplexity;
pub mod program;
pub mod python;
pub mod report;
pub mod sandbox;
pub mod task;
pub mod template;

pub use error::Error;
pub use held_out::HeldOut;
pub use ngram::NgramModel;

/// Result of the fallible calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
