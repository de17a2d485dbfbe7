//! Copies to the card that nobody waits for: bytes go through memory that the card can read.

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::{super::Error, super::card::Address, driver};

/// Bytes that can be under way at a time.
const BYTES: usize = 64 << 20;

/// A ring of page-locked memory.
pub(super) struct Staging {
    memory: *mut u8,
    next: usize,
}

impl Staging {
    pub(super) fn allocate() -> Result<Self, Error> {
        // SAFETY: a size above zero; the bytes are written before the card reads them.
        let memory = unsafe { result::malloc_host(BYTES, 0) };
        let memory = memory.map_err(driver("taking page-locked memory"))?;
        Ok(Self { memory: memory.cast(), next: 0 })
    }

    /// Queues a copy of `bytes`, which may go as soon as this returns.
    pub(super) fn write(
        &mut self,
        at: Address,
        bytes: &[u8],
        stream: sys::CUstream,
    ) -> Result<(), Error> {
        for (i, piece) in bytes.chunks(BYTES).enumerate() {
            if self.next + piece.len() > BYTES {
                // SAFETY: the stream is the card's; what was copied before has arrived after this.
                unsafe { result::stream::synchronize(stream) }
                    .map_err(driver("waiting for the card"))?;
                self.next = 0;
            }
            // SAFETY: inside the ring, and no copy that is under way reads these bytes.
            let staged = unsafe {
                let place = self.memory.add(self.next);
                place.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                std::slice::from_raw_parts(place, piece.len())
            };
            self.next += piece.len();
            let to = at.offset(i * BYTES);
            // SAFETY: the target is the caller's buffer, the source stays until the ring comes round.
            unsafe { result::memcpy_htod_async(to.0, staged, stream) }
                .map_err(driver("copying to the card"))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SAFETY: allocated above; the card's queue was waited for before it is dropped.
        let _ = unsafe { result::free_host(self.memory.cast::<c_void>()) };
    }
}
