//! Which form of an operation runs, decided once for each call.
//!
//! Every operation of `kernels/` has a reference in burn's differentiable operations, which runs
//! anywhere and is what the others are tested against, and a form for each family of devices. The
//! reference also runs where a call is recorded by autodiff, and inside [`with_reference`].

use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(any(feature = "flex", feature = "cube", feature = "tch"))]
use burn::backend::DispatchDevice;
#[cfg(feature = "flex")]
use burn::tensor::DType;
use burn::tensor::Tensor;

static REFERENCES: AtomicUsize = AtomicUsize::new(0);

/// The forms that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Burn's own operations: on any device, recordable.
    Reference,
    /// Host memory, threads and SIMD.
    #[cfg(feature = "flex")]
    Flex,
    /// CubeCL kernels: CUDA, and Vulkan, Metal and DX12 through wgpu.
    #[cfg(feature = "cube")]
    Cube,
    /// ATen's operations.
    #[cfg(feature = "tch")]
    Torch,
}

/// The form in which `operation` runs on `tensor`; a slow one is counted as a fallback.
pub(crate) fn of<const D: usize>(operation: &'static str, tensor: &Tensor<D>) -> Form {
    if REFERENCES.load(Ordering::Relaxed) > 0 {
        return Form::Reference;
    }
    match tensor.device().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) if tensor.dtype() == DType::F32 => Form::Flex,
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => {
            crate::fallback::note(operation, "the fast CPU form is for f32");
            Form::Reference
        }
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(_) => Form::Cube,
        #[cfg(feature = "tch")]
        DispatchDevice::LibTorch(_) => Form::Torch,
        _ => Form::Reference,
    }
}

/// Runs `work` with the reference of every operation, on all threads, for comparisons.
pub fn with_reference<R>(work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            REFERENCES.fetch_sub(1, Ordering::Relaxed);
        }
    }
    REFERENCES.fetch_add(1, Ordering::Relaxed);
    let _leave = Leave;
    work()
}

/// Calls a function of the module `reference`, `flex`, `cube` or `torch` beside the caller,
/// whichever form the operation has on the tensor's device, and times it.
macro_rules! by_form {
    ($operation:literal, $tensor:expr, $function:ident($($arg:expr),* $(,)?)) => {{
        let _timer = $crate::profile::timer($operation, $tensor);
        match $crate::form::of($operation, $tensor) {
            $crate::form::Form::Reference => reference::$function($($arg),*),
            #[cfg(feature = "flex")]
            $crate::form::Form::Flex => flex::$function($($arg),*),
            #[cfg(feature = "cube")]
            $crate::form::Form::Cube => cube::$function($($arg),*),
            #[cfg(feature = "tch")]
            $crate::form::Form::Torch => torch::$function($($arg),*),
        }
    }};
}
pub(crate) use by_form;

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn recorded_calls_and_comparisons_take_the_reference() {
        let tensor = Tensor::<1>::ones([2], (&Device::flex(), DType::F32));
        assert_eq!(of("test", &tensor), Form::Flex);
        assert_eq!(of("test", &tensor.clone().autodiff()), Form::Reference);
        assert_eq!(with_reference(|| of("test", &tensor)), Form::Reference);
        assert_eq!(of("test", &tensor), Form::Flex);
    }
}
