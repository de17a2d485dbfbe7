//! A card in host memory, for tests: the kernels' own sources, compiled by the machine's C++
//! compiler against `emulator/`, and products on the CPU.
//!
//! It computes what a card computes, block after block, and knows nothing of its speed. Threads of
//! a block run in order or in reverse, and asynchronous copies and products as soon or as late as
//! the language allows; results that differ between these point at a missing barrier or wait.

mod compile;
mod product;

use std::{
    alloc::Layout,
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    ffi::c_void,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use libloading::Library;

use super::{
    Card, Error, Source,
    card::{Address, Arg, Geometry, Kernel, Product, Recording, TensorMap, TiledArray},
};

/// Allocations begin at multiples of this.
const ALIGNMENT: usize = 1024;
/// The emulator holds one block at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How the emulated card behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Compute capability that it claims.
    pub capability: (u32, u32),
    /// Threads of a block run from the last to the first.
    pub reversed: bool,
    /// Asynchronous work is done when it is waited for, and not when it is asked for.
    pub late: bool,
}

impl Behaviour {
    /// A Hopper card: `(9, 0)`.
    pub const HOPPER: Self = Self { capability: (9, 0), reversed: false, late: false };
    /// An Ampere card: `(8, 0)`.
    pub const AMPERE: Self = Self { capability: (8, 0), ..Self::HOPPER };
}

/// The emulated card.
pub struct Emulated {
    behaviour: Behaviour,
    memory: RefCell<HashMap<u64, Layout>>,
    libraries: RefCell<HashMap<PathBuf, Library>>,
    kernels: RefCell<Vec<Launch>>,
}

/// `launch_NAME` of a compiled source.
type Launch = unsafe extern "C" fn(Dim3, Dim3, usize, *mut *mut c_void);

#[derive(Clone, Copy)]
#[repr(C)]
struct Dim3 {
    x: u32,
    y: u32,
    z: u32,
}

impl Emulated {
    /// A card with nothing on it.
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            memory: RefCell::default(),
            libraries: RefCell::default(),
            kernels: RefCell::default(),
        }
    }
}

impl Card for Emulated {
    fn name(&self) -> &str {
        "emulated card"
    }

    fn capability(&self) -> (u32, u32) {
        self.behaviour.capability
    }

    fn n_processors(&self) -> usize {
        2
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        Ok(4 << 30)
    }

    fn beside_the_plan(&self) -> u64 {
        0
    }

    fn allocate(&self, bytes: u64) -> Result<Address, Error> {
        let layout = Layout::from_size_align(bytes.max(1) as usize, ALIGNMENT)
            .map_err(|problem| Error::call("allocation", problem))?;
        // SAFETY: the layout is not empty.
        let at = unsafe { std::alloc::alloc(layout) };
        if at.is_null() {
            return Err(Error::call("allocation", format!("{bytes} bytes")));
        }
        // SAFETY: just allocated; NaN in both formats, so that reading before writing shows.
        unsafe { at.write_bytes(0xff, layout.size()) };
        self.memory.borrow_mut().insert(at as u64, layout);
        Ok(Address(at as u64))
    }

    fn release(&self, at: Address) {
        if let Some(layout) = self.memory.borrow_mut().remove(&at.0) {
            // SAFETY: allocated with this layout above, and forgotten here.
            unsafe { std::alloc::dealloc(at.0 as *mut u8, layout) };
        }
    }

    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), Error> {
        self.slice(at, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.copy_from_slice(self.slice(at, bytes.len()));
        Ok(())
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), Error> {
        self.slice(at, bytes).fill(0);
        Ok(())
    }

    fn kernels(
        &self,
        source: &Source,
        macros: &[(&str, String)],
        names: &[&str],
    ) -> Result<Vec<Kernel>, Error> {
        let path = self.load(source, macros)?;
        let libraries = self.libraries.borrow();
        let library = &libraries[&path];
        let mut kernels = self.kernels.borrow_mut();
        let find = |name: &&str| {
            let symbol = format!("launch_{name}");
            // SAFETY: `EXPORT` of emulator.h defines every such symbol with this signature.
            let launch = unsafe { library.get::<Launch>(symbol.as_bytes()) };
            let launch = launch.map_err(|problem| Error::call(symbol, problem))?;
            kernels.push(*launch);
            Ok(Kernel(kernels.len() - 1))
        };
        names.iter().map(find).collect()
    }

    fn launch(&self, kernel: Kernel, geometry: Geometry, args: &[Arg]) -> Result<(), Error> {
        let launch = self.kernels.borrow()[kernel.0];
        let [x, y, z] = geometry.grid;
        let (grid, threads) = (Dim3 { x, y, z }, Dim3 { x: geometry.threads, y: 1, z: 1 });
        let mut args = args.to_vec();
        let mut pointers: Vec<*mut c_void> = args.iter_mut().map(Arg::pointer).collect();
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the library stays loaded as long as `self`; the pointers lead to values of the
        // kernel's parameters, in order, and the step's buffers are what the kernel takes them for.
        unsafe { launch(grid, threads, geometry.shared_bytes as usize, pointers.as_mut_ptr()) };
        Ok(())
    }

    fn multiply(&self, product: &Product) -> Result<(), Error> {
        product::multiply(product);
        Ok(())
    }

    /// The layout that `kernels/hopper.cuh` tells.
    fn tensor_map(&self, array: &TiledArray) -> Result<TensorMap, Error> {
        const MAGIC: u32 = 0x7061_6d74;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend([MAGIC, 2].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend(array.at.0.to_le_bytes());
        bytes.extend(array.dims.into_iter().flat_map(|dim| (dim as u32).to_le_bytes()));
        bytes.extend(array.strides.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(array.tile.into_iter().flat_map(u32::to_le_bytes));
        bytes.resize(128, 0);
        Ok(TensorMap(bytes.try_into().expect("just resized")))
    }

    fn record(
        &self,
        _work: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Recording>, Error> {
        Ok(None)
    }

    fn replay(&self, _recording: Recording) -> Result<(), Error> {
        Err(Error::call("replay", "this card records nothing"))
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Emulated {
    /// Compiles and loads a source; returns the library's name.
    fn load(&self, source: &Source, macros: &[(&str, String)]) -> Result<PathBuf, Error> {
        let path = compile::library(source, macros, self.behaviour)?;
        if let Entry::Vacant(entry) = self.libraries.borrow_mut().entry(path.clone()) {
            // SAFETY: a library that was compiled from our sources; loading runs no code of its own.
            let library = unsafe { Library::new(&path) };
            entry.insert(library.map_err(|problem| Error::call("loading a source", problem))?);
        }
        Ok(path)
    }

    /// Bytes of the card, as the host sees them.
    #[expect(clippy::mut_from_ref, reason = "the memory of a card is behind addresses")]
    fn slice(&self, at: Address, len: usize) -> &mut [u8] {
        let memory = self.memory.borrow();
        let is_inside = |(&first, layout): (&u64, &Layout)| {
            at.0 >= first && at.0 + len as u64 <= first + layout.size() as u64
        };
        assert!(memory.iter().any(is_inside), "{len} bytes at {at:?} are not this card's");
        // SAFETY: inside an allocation of ours, as just checked, whose bytes are all written; calls
        // on a card come from one thread, and no slice outlives the call that asked for it.
        unsafe { std::slice::from_raw_parts_mut(at.0 as *mut u8, len) }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let left: Vec<u64> = self.memory.borrow().keys().copied().collect();
        left.into_iter().for_each(|at| self.release(Address(at)));
    }
}
