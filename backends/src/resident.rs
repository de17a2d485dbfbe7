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
pub mod facts;
mod head;
mod library;
mod memory;
mod parameters;
mod shape;
pub mod sources;
mod step;
mod update;

pub use attention::launches as attention_launches;
pub use card::Card;
pub use error::Error;
pub use memory::{BESIDE_THE_PLAN, MemoryPlan, Part};
pub use parameters::ParameterTable;
pub use shape::{Decoder, Keep, Settings};
pub use sources::Source;
pub use step::{MicroBatch, Step};
pub use update::{State, UpdateSettings};

use burn::tensor::Device;

use crate::fallback;

/// The card behind a device that holds whole steps of these settings; what keeps an NVIDIA card from
/// it is told once, and the step is then done in tensors.
///
/// # Errors
/// A card whose driver refuses.
pub fn card_for(device: &Device, settings: &Settings) -> Result<Option<Box<dyn Card>>, Error> {
    let Some(card) = card_of(device)? else { return Ok(None) };
    match settings.check() {
        Ok(()) => Ok(Some(card)),
        Err(problem) => {
            fallback::note("resident step", &problem.to_string());
            Ok(None)
        }
    }
}

/// The card behind a device, where there is one with its libraries.
///
/// # Errors
/// As [`card_for`].
pub fn card_of(device: &Device) -> Result<Option<Box<dyn Card>>, Error> {
    #[cfg(feature = "cuda")]
    if let Some(index) = crate::device::cuda_index(device) {
        if let Some(library) = cuda::missing_library() {
            fallback::note("resident step", &format!("`{library}` is not found"));
            return Ok(None);
        }
        return Ok(Some(Box::new(cuda::Cuda::open(index)?)));
    }
    let _ = device;
    Ok(None)
}

/// Keeps compiled kernels in a folder from now on, so that the next start compiles nothing.
pub fn cache_kernels_in(folder: std::path::PathBuf) {
    #[cfg(feature = "cuda")]
    cuda::cache_kernels_in(folder);
    #[cfg(not(feature = "cuda"))]
    drop(folder);
}

/// Compute capability of the card behind a device, where that holds whole steps.
pub fn capability_of(device: &Device) -> Option<(u32, u32)> {
    #[cfg(feature = "cuda")]
    if let Some(index) = crate::device::cuda_index(device)
        && cuda::missing_library().is_none()
    {
        return cuda::capability(index).ok();
    }
    let _ = device;
    None
}
