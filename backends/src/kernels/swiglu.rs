//! SwiGLU gate: `silu(gate) * up` (arXiv 2002.05202), computed in f32.

use burn::tensor::{DType, Tensor, activation::sigmoid};

use crate::profile;

/// Gates `up` by `silu(gate)`.
///
/// # Shapes
/// - `gate`, `up`: `[tokens, d_ff]`, same dtype
/// - returns: `[tokens, d_ff]`
pub fn forward(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("swiglu", &gate);
    #[cfg(feature = "flex")]
    let (gate, up) = match host::forward(gate, up) {
        Ok(done) => return done,
        Err(inputs) => inputs,
    };
    let dtype = gate.dtype();
    let gate = gate.cast(DType::F32);
    (gate.clone() * sigmoid(gate) * up.cast(DType::F32)).cast(dtype)
}

/// The output again, and the gradients with respect to `gate` and `up`, from the inputs.
///
/// # Shapes
/// - `dy`: `[tokens, d_ff]`; returns `(output, d_gate, d_up)`, all `[tokens, d_ff]`
pub fn backward(
    gate: Tensor<2>,
    up: Tensor<2>,
    dy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let _timer = profile::timer("swiglu", &gate);
    #[cfg(feature = "flex")]
    let (gate, up, dy) = match host::backward(gate, up, dy) {
        Ok(done) => return done,
        Err(inputs) => inputs,
    };
    let dtype = gate.dtype();
    let [gate, up, dy] = [gate, up, dy].map(|x| x.cast(DType::F32));
    let s = sigmoid(gate.clone());
    let silu = gate.clone() * s.clone();
    let slope = s.clone() + silu.clone() * (s.neg() + 1.0);
    let d_gate = dy.clone() * up.clone() * slope;
    ((silu.clone() * up).cast(dtype), d_gate.cast(dtype), (dy * silu).cast(dtype))
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::Tensor;
    use rayon::prelude::*;

    use crate::flex::{Host, exp, widest_simd};

    const PIECE: usize = 16 * 1024;

    pub(super) fn forward(
        gate: Tensor<2>,
        up: Tensor<2>,
    ) -> Result<Tensor<2>, (Tensor<2>, Tensor<2>)> {
        let mut gate = match Host::take("swiglu", gate) {
            Ok(gate) => gate,
            Err(gate) => return Err((gate, up)),
        };
        let up = match Host::take("swiglu", up) {
            Ok(up) => up,
            Err(up) => return Err((gate.into_tensor(), up)),
        };
        gate.values_mut()
            .par_chunks_mut(PIECE)
            .zip(up.values().par_chunks(PIECE))
            .for_each(|(gate, up)| gate_piece(gate, up));
        Ok(gate.into_tensor())
    }

    widest_simd! { fn gate_piece(gate: &mut [f32], up: &[f32]) = gate_piece_body }

    #[inline(always)]
    fn gate_piece_body(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }

    type Three = (Tensor<2>, Tensor<2>, Tensor<2>);

    /// In place: `dy` becomes the output, `gate` and `up` become their gradients.
    pub(super) fn backward(gate: Tensor<2>, up: Tensor<2>, dy: Tensor<2>) -> Result<Three, Three> {
        let mut gate = match Host::take("swiglu", gate) {
            Ok(gate) => gate,
            Err(gate) => return Err((gate, up, dy)),
        };
        let mut up = match Host::take("swiglu", up) {
            Ok(up) => up,
            Err(up) => return Err((gate.into_tensor(), up, dy)),
        };
        let mut dy = match Host::take("swiglu", dy) {
            Ok(dy) => dy,
            Err(dy) => return Err((gate.into_tensor(), up.into_tensor(), dy)),
        };
        gate.values_mut()
            .par_chunks_mut(PIECE)
            .zip(up.values_mut().par_chunks_mut(PIECE))
            .zip(dy.values_mut().par_chunks_mut(PIECE))
            .for_each(|((gate, up), dy)| gradient_piece(gate, up, dy));
        Ok((dy.into_tensor(), gate.into_tensor(), up.into_tensor()))
    }

    widest_simd! {
        fn gradient_piece(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) = gradient_piece_body
    }

    #[inline(always)]
    fn gradient_piece_body(gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
        for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
            let s = 1.0 / (1.0 + exp(-*gate));
            let silu = *gate * s;
            let d_output = *dy;
            *dy = silu * *up;
            *gate = d_output * *up * (s + silu * (1.0 - s));
            *up = d_output * silu;
        }
    }
}
