//! From a device name on the command line to a burn device.
//!
//! Backends are compiled in by Cargo features and picked at run time; this is the one place that
//! knows which names belong to which feature.

use burn::tensor::Device;

use crate::{Error, host_memory};

/// Opens the device called `name`: `flex`, `wgpu[:n]`, `cuda[:n]`, `tch-cpu`, `tch-cuda[:n]`, or
/// `auto` for the fastest one compiled in.
///
/// # Errors
/// An unknown name, a backend that is not compiled in, or a driver that refuses.
pub fn open(name: &str) -> Result<Device, Error> {
    let unknown = || Error::UnknownDevice { name: name.to_owned() };
    let (family, index) = match name.split_once(':') {
        Some((family, index)) => (family, index.parse::<usize>().map_err(|_| unknown())?),
        None => (name, 0),
    };
    match family {
        "auto" if name == family => open(resolve(name)),
        "flex" if name == family => flex(name),
        "wgpu" => wgpu(name, index),
        "cuda" => cuda(name, index),
        "tch-cpu" if name == family => tch_cpu(name),
        "tch-cuda" => tch_cuda(name, index),
        _ => Err(unknown()),
    }
}

/// Names of the backends in this build, fastest first.
pub fn compiled_in() -> Vec<&'static str> {
    [
        ("cuda", cfg!(feature = "cuda")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("tch-cpu", cfg!(feature = "tch")),
        ("flex", cfg!(feature = "flex")),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

/// Whether tensors of this device lie in this process's own memory and are worked on by its threads.
#[cfg_attr(feature = "tch", expect(deprecated, reason = "burn 0.22 has no other LibTorch backend"))]
pub fn is_host(device: &Device) -> bool {
    use burn::backend::DispatchDevice;
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "tch")]
        DispatchDevice::LibTorch(burn::backend::libtorch::LibTorchDevice::Cpu) => true,
        _ => false,
    }
}

/// The index of the NVIDIA card behind a device.
#[cfg(feature = "cuda")]
pub(crate) fn cuda_index(device: &Device) -> Option<usize> {
    use burn::backend::{CubeDevice, DispatchDevice};
    match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Cuda(card)) => Some(card.index),
        _ => None,
    }
}

/// Bytes that the device can give now, where it tells: on the CPU what the system has available.
pub fn free_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if let Some(index) = cuda_index(device) {
        return crate::resident::cuda::memory(index).ok().map(|(free, _)| free);
    }
    if is_host(device) { host_memory::field("/proc/meminfo", "MemAvailable") } else { None }
}

/// Bytes of the device's memory, where it tells.
pub fn total_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if let Some(index) = cuda_index(device) {
        return crate::resident::cuda::memory(index).ok().map(|(_, total)| total);
    }
    if is_host(device) { host_memory::field("/proc/meminfo", "MemTotal") } else { None }
}

/// Runs `work` on one of the threads that compute for `device`, if those are this process's own.
///
/// Operations inside then begin at once; from any other thread each one is first handed over to
/// those threads and waited for. For many small operations only: glibc gives large buffers of
/// threads other than the main one back to the system, whatever `host_memory::keep_freed` says.
pub fn on_its_threads<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        burn::backend::DispatchDevice::Flex(_) => rayon::scope(|_| work()),
        _ => work(),
    }
}

/// The name of the device that `name` opens: itself, or what `auto` stands for in this build.
pub fn resolve(name: &str) -> &str {
    if name == "auto" { fastest() } else { name }
}

fn fastest() -> &'static str {
    let cuda_usable = cfg!(feature = "cuda") && open("cuda").is_ok();
    if cuda_usable {
        "cuda"
    } else if cfg!(feature = "flex") {
        "flex"
    } else {
        compiled_in().first().copied().unwrap_or("flex")
    }
}

/// Makes a device and runs one operation on it. Drivers that are missing panic, some of them on
/// another thread; the first such message is the reason, later ones are its consequences.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn probed(
    name: &str,
    make: impl FnOnce() -> Device + std::panic::UnwindSafe,
) -> Result<Device, Error> {
    use std::sync::{Arc, Mutex, PoisonError};
    let reason: Arc<Mutex<Option<String>>> = Arc::default();
    let panicked = Arc::clone(&reason);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("the driver gave no reason").to_owned();
        panicked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }));
    let device = std::panic::catch_unwind(|| {
        let device = make();
        burn::tensor::Tensor::<1>::ones([1], &device).try_into_data().map(|_| device)
    });
    std::panic::set_hook(usual);
    let reason = reason.lock().unwrap_or_else(PoisonError::into_inner).take();
    let problem = match device {
        Ok(Ok(device)) => return Ok(device),
        Ok(Err(problem)) => reason.unwrap_or_else(|| problem.to_string()),
        Err(_) => reason.unwrap_or_else(|| "the driver gave no reason".to_owned()),
    };
    Err(Error::Unavailable { name: name.to_owned(), problem })
}

#[cfg(feature = "flex")]
fn flex(_name: &str) -> Result<Device, Error> {
    host_memory::keep_freed();
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex(name: &str) -> Result<Device, Error> {
    Err(Error::NotCompiledIn { name: name.to_owned(), feature: "flex" })
}

#[cfg(feature = "wgpu")]
fn wgpu(name: &str, index: usize) -> Result<Device, Error> {
    use burn::tensor::DeviceKind;
    let kind =
        if name == "wgpu" { DeviceKind::DefaultDevice } else { DeviceKind::DiscreteGpu(index) };
    probed(name, move || Device::wgpu(kind))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str, _index: usize) -> Result<Device, Error> {
    Err(Error::NotCompiledIn { name: name.to_owned(), feature: "wgpu" })
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, index: usize) -> Result<Device, Error> {
    probed(name, move || Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _index: usize) -> Result<Device, Error> {
    Err(Error::NotCompiledIn { name: name.to_owned(), feature: "cuda" })
}

#[cfg(feature = "tch")]
#[expect(deprecated, reason = "burn 0.22 has no other LibTorch backend")]
fn tch_cpu(_name: &str) -> Result<Device, Error> {
    Ok(Device::libtorch())
}

#[cfg(not(feature = "tch"))]
fn tch_cpu(name: &str) -> Result<Device, Error> {
    Err(Error::NotCompiledIn { name: name.to_owned(), feature: "tch" })
}

#[cfg(feature = "tch")]
#[expect(deprecated, reason = "burn 0.22 has no other LibTorch backend")]
fn tch_cuda(_name: &str, index: usize) -> Result<Device, Error> {
    Ok(Device::libtorch_cuda(index))
}

#[cfg(not(feature = "tch"))]
fn tch_cuda(name: &str, _index: usize) -> Result<Device, Error> {
    Err(Error::NotCompiledIn { name: name.to_owned(), feature: "tch" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        let check = |name: &str, expected: &str| {
            let message = open(name).expect_err(name).to_string();
            assert!(message.contains(expected), "{name}: {message}");
        };
        for name in ["tpu", "flex:0", "cuda:x", "wgpu:-1", "", "auto:1", "tch-cpu:0"] {
            check(name, "unknown device");
        }
        #[cfg(not(feature = "cuda"))]
        check("cuda:1", "Cargo feature `cuda`");
        #[cfg(not(feature = "tch"))]
        check("tch-cpu", "Cargo feature `tch`");
    }
}
