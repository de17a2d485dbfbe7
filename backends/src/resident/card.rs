//! What the step asks of a card: memory, kernels, products, and a queue that runs them in order.
//!
//! Every call queues work and returns, save `read` and `finish`, which wait. Addresses are plain
//! numbers; that a piece of work stays inside its buffers is the business of `memory.rs` and of
//! whoever writes a kernel, as in any program for a card.

use super::{Error, Source};
use crate::Precision;

/// A place in the card's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub u64);

impl Address {
    /// No place: what kernels take as "absent".
    pub const NULL: Self = Self(0);

    /// So many bytes further on.
    #[must_use]
    pub fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// Number format of an array on the card.
pub type Element = Precision;

/// Bytes of one number.
pub(crate) fn bytes_of(element: Element) -> usize {
    match element {
        Precision::F32 => 4,
        Precision::Bf16 => 2,
    }
}

/// A compiled kernel of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub usize);

/// Recorded work of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording(pub usize);

/// Blocks, threads and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory, bytes.
    pub shared_bytes: u32,
}

impl Geometry {
    /// Blocks along x.
    pub fn line(blocks: usize, threads: u32) -> Self {
        Self { grid: [blocks as u32, 1, 1], threads, shared_bytes: 0 }
    }
}

/// Bytes that a thread reads or writes at once.
const ACCESS_BYTES: usize = 16;

/// Numbers that a thread takes at once from rows of this width.
pub(crate) fn numbers_at_once(width: usize, element: Element) -> usize {
    let most = ACCESS_BYTES / bytes_of(element);
    if width.is_multiple_of(most) { most } else { 1 }
}

/// Threads for `accesses` accesses in all, whole warps, at most `most`.
pub(crate) fn threads_for(accesses: usize, most: usize) -> u32 {
    accesses.next_multiple_of(32).clamp(32, most) as u32
}

/// One argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A pointer.
    At(Address),
    /// An `int`.
    Int(i32),
    /// A `u64`.
    Long(u64),
    /// A `float`.
    Float(f32),
    /// A `TensorMap`.
    Map(TensorMap),
}

impl Arg {
    /// Where the value lies, as launches ask for it.
    #[cfg(any(feature = "cuda", feature = "emulated"))]
    pub(crate) fn pointer(&mut self) -> *mut std::ffi::c_void {
        match self {
            Self::At(at) => (&raw mut at.0).cast(),
            Self::Int(value) => (&raw mut *value).cast(),
            Self::Long(value) => (&raw mut *value).cast(),
            Self::Float(value) => (&raw mut *value).cast(),
            Self::Map(map) => (&raw mut map.0).cast(),
        }
    }
}

impl From<Address> for Arg {
    fn from(at: Address) -> Self {
        Self::At(at)
    }
}

impl From<usize> for Arg {
    fn from(size: usize) -> Self {
        Self::Int(i32::try_from(size).expect("sizes of a step fit an int: checked by `Settings`"))
    }
}

impl From<u64> for Arg {
    fn from(size: u64) -> Self {
        Self::Long(size)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<TensorMap> for Arg {
    fn from(map: TensorMap) -> Self {
        Self::Map(map)
    }
}

/// What the bulk copy engine needs to know of an array: an opaque value of the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct TensorMap(pub [u8; 128]);

/// A bf16 array of four dimensions of which boxes are copied; the first dimension is contiguous.
/// Boxes land with the 128-byte swizzle, and what lies outside reads as zero.
#[derive(Clone, Copy, Debug)]
pub struct TiledArray {
    /// Its first element.
    pub at: Address,
    /// Sizes in elements.
    pub dims: [u64; 4],
    /// Distances in bytes along the second to fourth dimension.
    pub strides: [u64; 3],
    /// Sizes of a box in elements.
    pub tile: [u32; 4],
}

/// A matrix of a product, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Its first element.
    pub at: Address,
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one matrix of a batch to the next.
    pub stride: usize,
    /// Whether it is used transposed.
    pub transposed: bool,
}

impl Matrix {
    /// A dense matrix whose rows have `row` elements.
    pub fn new(at: Address, row: usize) -> Self {
        Self { at, row, stride: 0, transposed: false }
    }

    /// The same matrix, used transposed.
    #[must_use]
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// The first of a batch of matrices.
    #[must_use]
    pub fn every(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

/// `out = a b (+ add)`, summed in f32.
///
/// # Shapes
/// - `a`: `[m, k]`, `b`: `[k, n]` in `element`; `out` and `add`: `[m, n]` in `out_element`
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// `[m, n, k]`.
    pub size: [usize; 3],
    /// Left factor.
    pub a: Matrix,
    /// Right factor.
    pub b: Matrix,
    /// Result, never transposed.
    pub out: Matrix,
    /// What is added, with the rows of `out`; may be `out` itself.
    pub add: Option<Address>,
    /// Format of the factors.
    pub element: Element,
    /// Format of the result.
    pub out_element: Element,
    /// Number of products, each `stride` further on.
    pub batch: usize,
}

/// A card and its queue.
pub trait Card {
    /// What it is called.
    fn name(&self) -> &str;

    /// Compute capability, such as `(9, 0)`.
    fn capability(&self) -> (u32, u32);

    /// Multiprocessors.
    fn n_processors(&self) -> usize;

    /// Bytes of memory that can still be had.
    ///
    /// # Errors
    /// A driver that fails; so for all of these.
    fn free_bytes(&self) -> Result<u64, Error>;

    /// Bytes that its driver and libraries take while a step runs.
    fn beside_the_plan(&self) -> u64 {
        super::BESIDE_THE_PLAN
    }

    /// Takes memory, from a multiple of 1024 bytes on; its content is undefined.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn allocate(&self, bytes: u64) -> Result<Address, Error>;

    /// Gives memory back.
    fn release(&self, at: Address);

    /// Copies to the card.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), Error>;

    /// Waits for the queue and copies from the card.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), Error>;

    /// Fills with zero bytes.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn zero(&self, at: Address, bytes: usize) -> Result<(), Error>;

    /// Compiles a source with macros and finds kernels in it.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn kernels(
        &self,
        source: &Source,
        macros: &[(&str, String)],
        names: &[&str],
    ) -> Result<Vec<Kernel>, Error>;

    /// Queues a kernel.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn launch(&self, kernel: Kernel, geometry: Geometry, args: &[Arg]) -> Result<(), Error>;

    /// Queues a product.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn multiply(&self, product: &Product) -> Result<(), Error>;

    /// Describes an array to the bulk copy engine.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn tensor_map(&self, array: &TiledArray) -> Result<TensorMap, Error>;

    /// Queues what `work` queues and keeps it, so that [`Card::replay`] queues it again in one call;
    /// `None` where a card cannot. Work that is recorded must not wait.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn record(
        &self,
        work: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Recording>, Error>;

    /// Queues recorded work again.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn replay(&self, recording: Recording) -> Result<(), Error>;

    /// Waits until all queued work is done.
    #[expect(clippy::missing_errors_doc, reason = "as told at `free_bytes`")]
    fn finish(&self) -> Result<(), Error>;
}
