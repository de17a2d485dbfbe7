//! Access to tensors of the LibTorch device, for the forms in ATen's operations.
//!
//! Burn counts the holders of a storage; what somebody else holds is copied before it is written
//! to. No tensor of burn's asks libtorch for gradients, so libtorch records none.

#![expect(deprecated, reason = "burn 0.22 has no other LibTorch backend")]

use burn::backend::{LibTorch, libtorch::TchTensor};
use burn::tensor::{Int, Tensor};
use tch::Kind;

/// Shares the values, for reading: the result is neither written to nor given back.
///
/// # Panics
/// When it is a tensor of another device: `form::of` has asked.
pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> tch::Tensor {
    primitive(tensor.clone()).tensor
}

/// Shares the values in f32, for reading; a copy where they are in another format.
///
/// # Panics
/// As [`read`].
pub(crate) fn read_wide<const D: usize>(tensor: &Tensor<D>) -> tch::Tensor {
    read(tensor).to_kind(Kind::Float)
}

/// Shares ids, for reading.
///
/// # Panics
/// As [`read`].
pub(crate) fn read_ids<const D: usize>(ids: &Tensor<D, Int>) -> tch::Tensor {
    let primitive = ids.clone().try_into_primitive::<LibTorch>();
    primitive.expect("the tensors of one operation lie on one device").tensor
}

/// The values for writing, row-major; a copy where another tensor shares them.
///
/// # Panics
/// As [`read`].
pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> tch::Tensor {
    let primitive = primitive(tensor);
    if primitive.can_mut() {
        return primitive.tensor.contiguous();
    }
    let kind = primitive.tensor.kind();
    primitive.tensor.to_dtype(kind, false, true).contiguous()
}

/// The values in f32 for writing, row-major; a copy where they are shared or in another format.
///
/// # Panics
/// As [`read`].
pub(crate) fn take_wide<const D: usize>(tensor: Tensor<D>) -> tch::Tensor {
    let primitive = primitive(tensor);
    if primitive.tensor.kind() == Kind::Float && primitive.can_mut() {
        return primitive.tensor.contiguous();
    }
    primitive.tensor.to_dtype(Kind::Float, false, true).contiguous()
}

/// Hands back a tensor whose memory belongs to nobody else.
pub(crate) fn give<const D: usize>(tensor: tch::Tensor) -> Tensor<D> {
    Tensor::from_primitive::<LibTorch>(TchTensor::new(tensor))
}

/// Hands back ids whose memory belongs to nobody else.
pub(crate) fn give_ids<const D: usize>(ids: tch::Tensor) -> Tensor<D, Int> {
    Tensor::from_primitive::<LibTorch>(TchTensor::new(ids))
}

/// A vector in pieces of at most `most` values on the CPU, for its caches; in one on a GPU, where
/// every call is a launch.
pub(crate) fn pieces(vector: &tch::Tensor, most: i64) -> impl Iterator<Item = tch::Tensor> + use<> {
    let is_host = vector.device() == tch::Device::Cpu;
    let all = (vector.numel() as i64).max(1);
    vector.split(if is_host { most } else { all }, 0).into_iter()
}

/// Adds `a b` to an f32 sum.
///
/// ATen's `addmm` wants one format for all three, so a product in bf16 is made apart, rounded once
/// and added in f32.
pub(crate) fn add_product(sum: &mut tch::Tensor, a: &tch::Tensor, b: &tch::Tensor) {
    if a.kind() == Kind::Float {
        let _ = sum.addmm_(a, b);
    } else {
        *sum += a.mm(b);
    }
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    let primitive = tensor.try_into_primitive::<LibTorch>();
    primitive.expect("the tensors of one operation lie on one device")
}
