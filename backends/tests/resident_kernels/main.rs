//! Every kernel of `resident/kernels`, and the products beside them, against plain f64 loops.
//!
//! They run as the step runs them, through the trait `Card`: on the emulated card (Cargo feature
//! `emulated`, which needs a C++ compiler), or on the one of `NEO_TEST_DEVICE=cuda`. Every run is done
//! twice from fresh memory and must leave the same bits, inputs as they were, and the bytes around
//! each array untouched; outputs begin as NaN. Sizes are odd where kernels allow it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adamw;
mod arrays;
mod attention;
mod bench;
mod cast;
mod cross_entropy;
mod embedding;
mod grad_norm;
mod memory;
mod numbers;
mod product;
#[path = "../oracle/random.rs"]
mod random;
mod rms_norm;
mod rope;
mod swiglu;
