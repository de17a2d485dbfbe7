//! A training step that lives on the card: forward, backward and update of the whole network, on
//! memory planned before the first step.
//!
//! Between operations of burn's tensors a card waits for the host, and code of our own would have to
//! cross from cubecl's stream to its own at every call. So on CUDA the step is one program of ours:
//! [`Step`] walks the network in the order of `model/src/block.rs` and queues kernels and products
//! on a [`Card`], without a tensor and without a wait. What flows where:
//!
//! ```text
//! shape.rs       the network and the batch, in numbers
//! parameters.rs  where every parameter lies in the flat arrays of weights, gradients and moments
//! memory.rs      the plan: every buffer's place and size, made before anything is allocated
//! step.rs        forward and backward of a micro-batch (block.rs, head.rs, attention.rs), update.rs
//! card.rs        what is asked of a card; cuda.rs is one, emulated.rs plays one in host memory
//! kernels/*.cu   the operations, in CUDA C++, compiled when the card is opened
//! ```
//!
//! The oracle is the same network in burn's tensors: `train` holds losses, gradients and whole
//! trajectories of the two against each other, on the emulated card where there is no other.

mod attention;
mod block;
pub mod card;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "emulated")]
pub mod emulated;
mod error;
mod head;
mod library;
mod memory;
mod parameters;
mod shape;
pub mod sources;
mod step;
mod update;

pub use card::Card;
pub use error::Error;
pub use memory::{MemoryPlan, Part};
pub use parameters::ParameterTable;
pub use shape::{Decoder, Keep, Settings};
pub use sources::Source;
pub use step::{MicroBatch, Step};
pub use update::{State, UpdateSettings};

/// The card behind a device, if that can hold the whole step.
///
/// # Errors
/// A card whose driver, compiler or libraries refuse.
pub fn card_of(device: &burn::tensor::Device) -> Result<Option<Box<dyn Card>>, Error> {
    #[cfg(feature = "cuda")]
    if let Some(index) = crate::device::cuda_index(device) {
        return Ok(Some(Box::new(cuda::Cuda::open(index)?)));
    }
    let _ = device;
    Ok(None)
}
