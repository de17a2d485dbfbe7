//! Vector-Jacobian products by burn's autodiff, for operations without a backward of their own.
//!
//! Training runs explicit forward and backward functions (`kernels/`). Whoever adds an operation
//! can start with its forward alone and call [`of`] where the backward goes; the tests of the
//! kernels use the same function as their oracle.

use burn::tensor::Tensor;

/// Gradient of `sum(f(inputs) * output_gradient)` with respect to each of `inputs`.
///
/// `f` is run again, recorded and thrown away, so nothing of the recording outlives the call.
///
/// # Shapes
/// - `inputs`: any matrices; `output_gradient`: the shape of `f`'s result
/// - returns: one gradient per input, of its shape; zeros where `f` does not depend on it
pub fn of<const N: usize, const D: usize>(
    f: impl FnOnce([Tensor<2>; N]) -> Tensor<D>,
    inputs: [Tensor<2>; N],
    output_gradient: Tensor<D>,
) -> [Tensor<2>; N] {
    let tracked = inputs.map(|input| input.autodiff().require_grad());
    let output = f(tracked.clone());
    let mut gradients = (output * output_gradient.autodiff()).sum().backward();
    tracked.map(|input| {
        input.grad_remove(&mut gradients).unwrap_or_else(|| input.without_autodiff().zeros_like())
    })
}
