//! An NVIDIA card through the driver: one stream of ours, kernels by NVRTC, products by cuBLASLt.
//!
//! All libraries are opened when the program runs, so a build needs no toolkit and a machine needs
//! the driver, `libnvrtc` and `libcublasLt`, no headers. The context is the one that cubecl uses
//! too, so both see the same memory; the streams know nothing of each other, which is why a whole
//! step stays on this one.

mod compile;
mod products;
mod staging;

pub use compile::{cache_kernels_in, compile};

use std::{cell::RefCell, collections::HashMap, ffi::CString, ffi::c_void, sync::Arc};

use cudarc::driver::{CudaContext, result, sys};

use super::{
    Card, Error, Source,
    card::{Address, Arg, Geometry, Kernel, Product, Recording, TensorMap, TiledArray},
};
use products::Products;
use staging::Staging;

/// A card, its stream, and what was compiled and recorded for it.
pub struct Cuda {
    stream: sys::CUstream,
    name: String,
    capability: (u32, u32),
    n_processors: usize,
    products: RefCell<Products>,
    staging: RefCell<Staging>,
    modules: RefCell<HashMap<String, sys::CUmodule>>,
    kernels: RefCell<Vec<Function>>,
    recordings: RefCell<Vec<sys::CUgraphExec>>,
    /// Dropped last: what is above gives back to it.
    context: Arc<CudaContext>,
}

/// A kernel, and the dynamic shared memory that it was last allowed: some is always asked for, since
/// what a kernel has without asking depends on what it has besides.
struct Function {
    function: sys::CUfunction,
    shared_bytes: u32,
}

impl Cuda {
    /// Opens the card of this index.
    ///
    /// # Errors
    /// No such card, or a library that is missing.
    pub fn open(index: usize) -> Result<Self, Error> {
        if let Some(library) = missing_library() {
            return Err(Error::call(format!("opening `{library}`"), "no such library is found"));
        }
        let context = CudaContext::new(index).map_err(driver("opening the card"))?;
        use sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let processors = context
            .attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(driver("asking the card"))?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(driver("making a stream"))?;
        Ok(Self {
            name: context.name().map_err(driver("asking the card"))?,
            capability: capability_in(&context)?,
            n_processors: processors as usize,
            products: RefCell::new(Products::open()?),
            staging: RefCell::new(Staging::allocate()?),
            modules: RefCell::default(),
            kernels: RefCell::default(),
            recordings: RefCell::default(),
            stream,
            context,
        })
    }

    /// Compiles and loads a source, once.
    fn load(&self, source: &Source, macros: &[(&str, String)]) -> Result<sys::CUmodule, Error> {
        self.bind()?;
        let key = format!("{} {macros:?}", source.name);
        if let Some(&module) = self.modules.borrow().get(&key) {
            return Ok(module);
        }
        let image = compile::cached(source, macros, self.capability)?;
        // SAFETY: a complete image that NVRTC made for this card; modules stay loaded for good.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map_err(|problem| Error::call(format!("loading `{}`", source.name), problem))?;
        self.modules.borrow_mut().insert(key, module);
        Ok(module)
    }

    /// Makes the card's context this thread's.
    fn bind(&self) -> Result<(), Error> {
        self.context.bind_to_thread().map_err(driver("binding the context"))
    }
}

/// Compute capability of the card of this index.
///
/// # Errors
/// No such card.
pub fn capability(index: usize) -> Result<(u32, u32), Error> {
    let context = CudaContext::new(index).map_err(driver("opening the card"))?;
    capability_in(&context)
}

fn capability_in(context: &CudaContext) -> Result<(u32, u32), Error> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    };
    let ask = |attribute| context.attribute(attribute).map_err(driver("asking the card"));
    let major = ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok((major.cast_unsigned(), minor.cast_unsigned()))
}

/// Bytes of memory that are free and that there are on the card of this index.
///
/// # Errors
/// No such card.
pub fn memory(index: usize) -> Result<(u64, u64), Error> {
    let _context = CudaContext::new(index).map_err(driver("opening the card"))?;
    let (free, total) = result::mem_get_info().map_err(driver("asking for free memory"))?;
    Ok((free as u64, total as u64))
}

/// The first library that the step needs and this machine lacks.
pub fn missing_library() -> Option<&'static str> {
    // SAFETY: opens and closes a library.
    let present = unsafe {
        [
            ("libcuda", sys::is_culib_present()),
            ("libnvrtc", cudarc::nvrtc::sys::is_culib_present()),
            ("libcublasLt", cudarc::cublaslt::sys::is_culib_present()),
        ]
    };
    present.into_iter().find_map(|(name, present)| (!present).then_some(name))
}

/// Names the call that a driver's error came from.
fn driver(what: &'static str) -> impl Fn(result::DriverError) -> Error {
    move |problem| Error::call(what, problem)
}

impl Card for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn n_processors(&self) -> usize {
        self.n_processors
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        self.bind()?;
        let (free, _) = result::mem_get_info().map_err(driver("asking for free memory"))?;
        Ok(free as u64)
    }

    fn allocate(&self, bytes: u64) -> Result<Address, Error> {
        self.bind()?;
        // SAFETY: the size is not zero; whoever allocates does not read before writing.
        let at = unsafe { result::malloc_sync(bytes.max(1) as usize) };
        let at = at.map_err(|problem| Error::call(format!("taking {bytes} bytes"), problem))?;
        assert!(at.is_multiple_of(256), "the driver's allocations are aligned");
        Ok(Address(at))
    }

    fn release(&self, at: Address) {
        let released = self.finish().and_then(|()| {
            // SAFETY: allocated by `allocate`; the stream is done, so nothing uses the memory.
            unsafe { result::free_sync(at.0) }.map_err(driver("giving memory back"))
        });
        if let Err(problem) = released {
            tracing::warn!(%problem, "memory of the card was not given back");
        }
    }

    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), Error> {
        self.bind()?;
        self.staging.borrow_mut().write(at, bytes, self.stream)
    }

    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the copy is waited for before `bytes` can go; the source is the caller's buffer.
        unsafe { result::memcpy_dtoh_async(bytes, at.0, self.stream) }
            .map_err(driver("copying from the card"))?;
        self.finish()
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the bytes are the caller's buffer.
        unsafe { result::memset_d8_async(at.0, 0, bytes, self.stream) }
            .map_err(driver("clearing memory"))
    }

    fn kernels(
        &self,
        source: &Source,
        macros: &[(&str, String)],
        names: &[&str],
    ) -> Result<Vec<Kernel>, Error> {
        let module = self.load(source, macros)?;
        let mut kernels = self.kernels.borrow_mut();
        let find = |name: &&str| {
            let symbol = CString::new(*name).map_err(|problem| Error::call(*name, problem))?;
            // SAFETY: the module was just loaded.
            let function = unsafe { result::module::get_function(module, symbol) };
            let function =
                function.map_err(|problem| Error::call(format!("finding `{name}`"), problem))?;
            kernels.push(Function { function, shared_bytes: 0 });
            Ok(Kernel(kernels.len() - 1))
        };
        names.iter().map(find).collect()
    }

    fn launch(&self, kernel: Kernel, geometry: Geometry, args: &[Arg]) -> Result<(), Error> {
        self.bind()?;
        let mut kernels = self.kernels.borrow_mut();
        let Function { function, shared_bytes } = &mut kernels[kernel.0];
        if geometry.shared_bytes > *shared_bytes {
            *shared_bytes = geometry.shared_bytes;
            use sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = *shared_bytes as i32;
            // SAFETY: a function of a loaded module.
            unsafe { result::function::set_function_attribute(*function, attribute, bytes) }
                .map_err(driver("asking for shared memory"))?;
        }
        let mut args = args.to_vec();
        let mut pointers: Vec<*mut c_void> = args.iter_mut().map(Arg::pointer).collect();
        let ([x, y, z], threads) = (geometry.grid, (geometry.threads, 1, 1));
        let shared = geometry.shared_bytes;
        // SAFETY: the pointers lead to values of the kernel's parameters, in order, which the
        // driver copies before it returns; the step's buffers are what the kernel takes them for.
        unsafe {
            result::launch_kernel(*function, (x, y, z), threads, shared, self.stream, &mut pointers)
        }
        .map_err(driver("launching a kernel"))
    }

    fn multiply(&self, product: &Product) -> Result<(), Error> {
        self.bind()?;
        self.products.borrow_mut().queue(product, self.stream)
    }

    fn tensor_map(&self, array: &TiledArray) -> Result<TensorMap, Error> {
        use sys::{
            CUtensorMapDataType, CUtensorMapFloatOOBfill, CUtensorMapInterleave,
            CUtensorMapL2promotion, CUtensorMapSwizzle,
        };
        self.bind()?;
        let mut map = std::mem::MaybeUninit::<sys::CUtensorMap>::zeroed();
        let steps = [1_u32; 4];
        // SAFETY: the arrays have the four (three) entries that a rank of four asks for.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                map.as_mut_ptr(),
                CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                4,
                array.at.0 as *mut c_void,
                array.dims.as_ptr(),
                array.strides.as_ptr(),
                array.tile.as_ptr(),
                steps.as_ptr(),
                CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .map_err(|problem| Error::call(format!("describing {array:?}"), problem))?;
        // SAFETY: both are 128 plain bytes, and all of them were written.
        Ok(TensorMap(unsafe { std::mem::transmute_copy(&map) }))
    }

    fn record(
        &self,
        work: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<Option<Recording>, Error> {
        self.bind()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is ours, and only this thread queues work on it.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(driver("beginning a graph"))?;
        let worked = work();
        // SAFETY: capture was begun above.
        let graph = unsafe { result::stream::end_capture(self.stream) };
        worked?;
        let graph = graph.map_err(driver("ending a graph"))?;
        // SAFETY: the graph is whole; it is not needed once it is instantiated.
        let executable = unsafe {
            let flags = sys::CUgraphInstantiate_flags(0);
            let executable = result::graph::instantiate(graph, flags);
            result::graph::destroy(graph).map_err(driver("dropping a graph"))?;
            executable.map_err(driver("preparing a graph"))?
        };
        let mut recordings = self.recordings.borrow_mut();
        recordings.push(executable);
        Ok(Some(Recording(recordings.len() - 1)))
    }

    fn replay(&self, recording: Recording) -> Result<(), Error> {
        self.bind()?;
        let executable = self.recordings.borrow()[recording.0];
        // SAFETY: instantiated above, and dropped with `self` only.
        unsafe { result::graph::launch(executable, self.stream) }
            .map_err(driver("launching a graph"))
    }

    fn finish(&self) -> Result<(), Error> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.stream) }.map_err(driver("waiting for the card"))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        let _ = self.finish();
        for executable in self.recordings.take() {
            // SAFETY: instantiated by `record`, and the stream is done with it.
            let _ = unsafe { result::graph::exec_destroy(executable) };
        }
        // SAFETY: nothing uses the stream any more.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}
