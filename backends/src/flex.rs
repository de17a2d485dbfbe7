//! Host access to tensors of the Flex backend, for the fast CPU forms of the kernels.
//!
//! A Flex tensor is a buffer in host memory, so a kernel can take it, work on it in place with
//! rayon and hand it back.

mod thin;

use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};
use half::bf16;

/// A matrix or stack of rows in host memory, contiguous.
pub(crate) struct Host {
    tensor: FlexTensor,
}

impl Host {
    /// Takes a float tensor of the Flex device, without copying when it is contiguous.
    ///
    /// # Panics
    /// When it is a tensor of another device: `form::of` has asked.
    pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        let primitive = tensor.try_into_primitive::<Flex>();
        let tensor = primitive.expect("the tensors of one operation lie on one device");
        let in_order = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
        Self { tensor: if in_order { tensor } else { tensor.to_contiguous() } }
    }

    /// Looks at a float tensor of the Flex device, without copying when it is contiguous.
    ///
    /// # Panics
    /// As [`Host::take`].
    pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self::take(tensor.clone())
    }

    /// The number format.
    pub(crate) fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// The values of a matrix.
    pub(crate) fn matrix(&self) -> View<'_> {
        let shape = self.tensor.layout().shape();
        View::new(self.values(), shape[0], shape[1])
    }

    /// The values, row-major.
    pub(crate) fn values(&self) -> &[f32] {
        let n = self.tensor.layout().num_elements();
        &self.tensor.storage::<f32>()[..n]
    }

    /// The values, writable; copied first if another tensor shares them.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        let n = self.tensor.layout().num_elements();
        &mut self.tensor.storage_mut::<f32>()[..n]
    }

    /// The values of a tensor in bf16, row-major and writable.
    pub(crate) fn bf16_values_mut(&mut self) -> &mut [bf16] {
        let n = self.tensor.layout().num_elements();
        &mut self.tensor.storage_mut::<bf16>()[..n]
    }

    /// Back to a tensor of the same shape.
    pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_primitive::<Flex>(self.tensor)
    }
}

/// A new Flex tensor from host values.
pub(crate) fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape)))
}

/// Ids of a Flex tensor on the host.
pub(crate) fn ids(tensor: &Tensor<1, Int>) -> Vec<usize> {
    tensor.to_data().iter::<i64>().map(|id| usize::try_from(id).unwrap_or(usize::MAX)).collect()
}

/// A matrix in host memory: `rows x cols`, steps between neighbours down and across.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    down: usize,
    across: usize,
}

impl<'a> View<'a> {
    /// Row-major values.
    pub(crate) fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} x {cols} matrix");
        Self { values, rows, cols, down: cols, across: 1 }
    }

    /// Rows that begin `down` values apart in a larger array, of which `values` is the rest.
    pub(crate) fn strided(values: &'a [f32], rows: usize, cols: usize, down: usize) -> Self {
        assert!(rows > 0 && values.len() >= (rows - 1) * down + cols, "{rows} rows, {down} apart");
        Self { values, rows, cols, down, across: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, cols, down, across } = self;
        Self { values, rows: cols, cols: rows, down: across, across: down }
    }
}

/// Where a product goes: rows that begin `down` values apart.
pub(crate) struct Target<'a> {
    values: &'a mut [f32],
    down: usize,
}

impl<'a> Target<'a> {
    /// Rows of a larger array, of which `values` is the rest.
    pub(crate) fn strided(values: &'a mut [f32], down: usize) -> Self {
        Self { values, down }
    }
}

/// `out = a b`, or `out += a b`, on all threads; `out` is row-major.
pub(crate) fn multiply(out: &mut [f32], accumulate: bool, a: View<'_>, b: View<'_>) {
    assert_eq!(out.len(), a.rows * b.cols, "output size");
    if thin::fits(a, b) {
        return thin::multiply(out, accumulate, a, b);
    }
    let down = b.cols;
    run_gemm(Target { values: out, down }, accumulate, a, b, gemm::Parallelism::Rayon(0));
}

/// `out = a b`, or `out += a b`, on this thread.
pub(crate) fn multiply_here(out: Target<'_>, accumulate: bool, a: View<'_>, b: View<'_>) {
    run_gemm(out, accumulate, a, b, gemm::Parallelism::None);
}

/// `a b` in new memory, which is not cleared first.
pub(crate) fn product(a: View<'_>, b: View<'_>) -> Tensor<2> {
    let shape = [a.rows, b.cols];
    if thin::fits(a, b) {
        let mut out = vec![0.0; a.rows * b.cols];
        thin::multiply(&mut out, false, a, b);
        return from_vec(out, shape);
    }
    let mut out: Vec<f32> = Vec::with_capacity(a.rows * b.cols);
    if a.cols == 0 {
        out.resize(a.rows * b.cols, 0.0);
    } else {
        // SAFETY: the capacity holds the whole product, and with an inner size above 0 every
        // element of it is written before the length says so.
        unsafe {
            gemm_into(out.as_mut_ptr(), b.cols, false, a, b, gemm::Parallelism::Rayon(0));
            out.set_len(a.rows * b.cols);
        }
    }
    from_vec(out, shape)
}

fn run_gemm(
    out: Target<'_>,
    accumulate: bool,
    a: View<'_>,
    b: View<'_>,
    parallelism: gemm::Parallelism,
) {
    let Target { values, down } = out;
    assert!(a.rows > 0 && down >= b.cols, "rows of the output overlap");
    assert!(values.len() >= (a.rows - 1) * down + b.cols, "output size");
    // SAFETY: the assertions bound every element that the output's stride reaches.
    unsafe { gemm_into(values.as_mut_ptr(), down, accumulate, a, b, parallelism) }
}

/// # Safety
/// `out` must be valid for writing `a.rows` rows of `b.cols` values, `down` apart, and for reading
/// them when accumulating.
unsafe fn gemm_into(
    out: *mut f32,
    down: usize,
    accumulate: bool,
    a: View<'_>,
    b: View<'_>,
    parallelism: gemm::Parallelism,
) {
    assert_eq!(a.cols, b.rows, "inner sizes");
    // SAFETY: the constructors of `View` bound every element that its strides reach; the caller
    // vouches for `out`, which is written through and so overlaps neither input.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out,
            1,
            down as isize,
            accumulate,
            a.values.as_ptr(),
            a.across as isize,
            a.down as isize,
            b.values.as_ptr(),
            b.across as isize,
            b.down as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Runs `$body` compiled for the widest vector unit of this machine.
///
/// `$body` is an `#[inline(always)]` function; each copy is compiled with other target features,
/// so that LLVM vectorises its loops for AVX-512 or AVX2 where the processor has them.
macro_rules! widest_simd {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the features were detected on this processor just above.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were detected on this processor just above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}
pub(crate) use widest_simd;

/// `exp(x)` for x <= 88, without branches or library calls, so that loops over it vectorise.
///
/// Cephes' degree-5 polynomial on `[-ln 2 / 2, ln 2 / 2]`; relative error below 2e-7; 0 below -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.0, 88.0);
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let value = p * r * r + r + 1.0;
    let scale = f32::from_bits((((n as i32) + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { value * scale }
}

/// `sum_i a_i b_i` in 64 independent lanes, so that it keeps up with memory.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 64;
    let mut lanes = [0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    sum(lanes.into_iter())
}

/// Sum in sixteen independent lanes, so that it vectorises and never depends on threads.
#[inline(always)]
pub(crate) fn sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0f32; 16];
    for (i, value) in values.enumerate() {
        lanes[i % 16] += value;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library() {
        let mut x = -86.9f32;
        while x < 88.0 {
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 3e-7, "exp({x}): {ours} against {exact}");
            x += 0.013;
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!((exp(0.0) - 1.0).abs() < 1e-7);
    }
}
