//! Devices, precision and kernels: the only crate that names hardware.

#[cfg(feature = "cube")]
mod cube;
pub mod device;
pub mod error;
pub mod fallback;
#[cfg(feature = "flex")]
mod flex;
pub mod form;
pub mod host_memory;
pub mod kernels;
pub mod precision;
pub mod probe;
pub mod profile;
pub mod resident;
#[cfg(feature = "tch")]
mod torch;
pub mod vjp;
pub mod zero_sum;

pub use error::Error;
pub use precision::Precision;
