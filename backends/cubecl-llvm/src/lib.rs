//! Stand-in for `cubecl-llvm` 0.11.3: the types that `cubecl-cuda` 0.11.3 names, and nothing else.
//!
//! `cubecl-cuda` depends on `cubecl-llvm` unconditionally, and that crate's build downloads LLVM,
//! so the `cuda` feature would not build offline. neo compiles CUDA kernels with the C++ generator
//! (`cubecl/cuda-cpp`), which never calls LLVM: it only has to name these types. The functions that
//! would compile something panic with the way out. Patched in by the workspace's `Cargo.toml`;
//! when `cubecl` moves, `cargo check --features cuda` tells what has to follow.

/// NVIDIA's part of the real crate.
pub mod nvptx {
    /// Which PTX the driver loads.
    pub mod ptx_version {
        use core::fmt;

        /// The newest PTX version of a driver; here just the driver's own number, as a cache key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(i32);

        impl PtxVersion {
            /// The version for a driver that reports `driver_version` (such as 12080).
            pub fn for_driver(driver_version: i32) -> Option<Self> {
                Some(Self(driver_version))
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "driver-{}", self.0)
            }
        }
    }
}

/// What the real crate shares between its targets.
pub mod shared {
    /// What LLVM cannot lower.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The kind of card to compile for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's PTX.
            Nvptx,
        }

        /// Would take away the features that LLVM cannot lower.
        ///
        /// # Panics
        /// Always: it is called only when the LLVM generator is selected.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {
            crate::absent()
        }
    }
}

use core::ffi::c_char;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_server::compiler::CompilationError;
use cubecl_server::kernel::BufferIOAttr;

use nvptx::ptx_version::PtxVersion;

/// Ends the program where LLVM would be needed.
fn absent() -> ! {
    panic!("built without LLVM: enable the feature `cuda-cpp` of cubecl")
}

/// What the real compiler writes code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's PTX.
    Nvptx,
}

/// The compiler that is not here.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// What it would write code for.
    pub target: LlvmTarget,
}

impl PlironCompiler {
    /// Would compile a kernel.
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// Always.
    pub fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        absent()
    }

    /// Language of the source that would be logged.
    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// Options of the compiler that is not here.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Architecture of an AMD card; never set for CUDA.
    pub arch: Option<()>,
    /// Architecture of the NVIDIA card.
    pub sm_arch: Option<SmArch>,
    /// Newest PTX version that the driver loads.
    pub ptx_version: Option<PtxVersion>,
    /// Whether launch parameters go through grid constants.
    pub grid_constants: bool,
    /// Stands for the fields that `cubecl-cuda` fills from `Default`.
    pub reserved: Option<()>,
}

/// Compiled code for an NVIDIA card.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// NUL-terminated PTX.
    pub ptx: Vec<c_char>,
    /// Name of the kernel.
    pub entrypoint: String,
    /// The intermediate representation, for logs.
    pub ir: String,
    /// Dynamic shared memory of a launch, in bytes.
    pub shared_memory_size: usize,
    /// Which buffers the kernel reads and writes.
    pub io: Vec<BufferIOAttr>,
}

/// What the real compiler returns.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// Code for an NVIDIA card.
    NvptxCode(NvptxModule),
    /// Code for anything else, which CUDA never asks for.
    Other,
}
