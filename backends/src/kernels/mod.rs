//! The operations of a decoder, one file each: forward, and backward by hand.
//!
//! The public functions of a file say what the operation is; its `reference` does it in burn's
//! differentiable operations, and `flex`, `cube` and `torch` beside it on one family of devices each
//! (`form.rs` chooses). `docs/KERNELS.md` adds one step by step; `tests/parity.rs` holds all of them
//! to plain f64 loops.

pub mod adamw;
pub mod attention;
pub mod embedding;
pub mod grad_norm;
pub mod linear;
pub mod linear_cross_entropy;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;
