//! The operations of a decoder, one file each: forward, and backward by hand.
//!
//! Every `forward` is written in burn's differentiable operations, so recording it with autodiff
//! gives the oracle that the `backward` is tested against (`tests/parity.rs`). On the Flex device
//! the operations that cost most have a second form on host memory; it is taken by itself.

pub mod adamw;
pub mod attention;
pub mod embedding;
pub mod grad_norm;
pub mod linear;
pub mod linear_cross_entropy;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;
