//! Host access to tensors of the Flex backend, for the fast CPU forms of the kernels.
//!
//! A Flex tensor is a buffer in host memory, so a kernel can take it, work on it in place with
//! rayon and hand it back.

mod thin;

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};
use half::bf16;
use rayon::prelude::*;

/// Values that a thread copies or clears at a time.
const PIECE: usize = 16 * 1024;
/// Multiplications that are worth a thread.
const THREAD_WORK: usize = 1 << 19;
/// Terms that are added in one running sum where a product has one row or one column. `gemm` makes
/// one of all terms there, which over a head of 151,936 rows is wrong by 1.5e-5.
const MOST_TERMS: usize = 8 * 1024;
/// Columns of a product that one thread computes at least: the microkernel's width.
const THREAD_COLS: usize = 64;

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
        Self::in_order(primitive.expect("the tensors of one operation lie on one device"))
    }

    fn in_order(tensor: FlexTensor) -> Self {
        let in_order = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
        Self { tensor: if in_order { tensor } else { in_new_memory(tensor) } }
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
        if !self.tensor.is_unique() {
            let values = self.values();
            let copy =
                by_pieces(n, PIECE, values.par_chunks(PIECE), |to, from| to.copy_from_slice(from));
            self.tensor = flex_tensor(copy, self.tensor.layout().shape().to_vec());
        }
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

/// A copy in order; zeros of [`crate::zero_sum`] are written out on all threads.
fn in_new_memory(tensor: FlexTensor) -> FlexTensor {
    if !is_zero_sum(&tensor) {
        return tensor.to_contiguous();
    }
    let shape = tensor.layout().shape().to_vec();
    let n = tensor.layout().num_elements();
    flex_tensor(
        by_pieces(n, PIECE, rayon::iter::repeat_n((), n.div_ceil(PIECE)), |_, ()| ()),
        shape,
    )
}

/// Whether this is one zero seen everywhere, as [`crate::zero_sum`] makes it.
fn is_zero_sum(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    let mut dims = layout.shape().iter().zip(layout.strides());
    tensor.dtype() == DType::F32
        && dims.all(|(&len, &stride)| len == 1 || stride == 0)
        && tensor.storage::<f32>().get(layout.start_offset()) == Some(&0.0)
}

/// `n` new values. Each piece comes with an item of `others` and is cleared by the thread that then
/// fills it, while it is in that thread's cache.
pub(crate) fn by_pieces<T: Send>(
    n: usize,
    piece: usize,
    others: impl IndexedParallelIterator<Item = T>,
    fill: impl Fn(&mut [f32], T) + Sync,
) -> Vec<f32> {
    assert_eq!(others.len(), n.div_ceil(piece), "an item for each piece");
    let mut values = Vec::with_capacity(n);
    values.spare_capacity_mut()[..n]
        .par_chunks_mut(piece)
        .zip(others)
        .for_each(|(new, other)| fill(cleared(new), other));
    // SAFETY: the capacity is at least n, and every one of the first n values was cleared above:
    // there are as many others as pieces, so none of the pieces was left out.
    unsafe { values.set_len(n) };
    values
}

fn cleared(new: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    new.fill(MaybeUninit::new(0.0));
    // SAFETY: all of it was written in the line above.
    unsafe { new.assume_init_mut() }
}

/// A new Flex tensor from host values.
pub(crate) fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(flex_tensor(values, shape.to_vec()))
}

fn flex_tensor(values: Vec<f32>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
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

    /// Some of the rows and columns, at least one of each.
    fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && cols.end <= self.cols, "a part is inside");
        let from = rows.start * self.down + cols.start * self.across;
        Self { values: &self.values[from..], rows: rows.len(), cols: cols.len(), ..self }
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
    // SAFETY: the assertion bounds all rows of the output, which lie one behind the other.
    unsafe { gemm_on_threads(Output(out.as_mut_ptr()), accumulate, a, b) }
}

/// `out = a b`, or `out += a b`, on this thread.
pub(crate) fn multiply_here(out: Target<'_>, accumulate: bool, a: View<'_>, b: View<'_>) {
    let Target { values, down } = out;
    assert!(a.rows > 0 && down >= b.cols, "rows of the output overlap");
    assert!(values.len() >= (a.rows - 1) * down + b.cols, "output size");
    // SAFETY: the assertions bound every element that the output's stride reaches.
    unsafe { gemm_into(values.as_mut_ptr(), down, accumulate, a, b) }
}

/// `a b` in new memory, which is not cleared first.
pub(crate) fn product(a: View<'_>, b: View<'_>) -> Vec<f32> {
    let n = a.rows * b.cols;
    if thin::fits(a, b) {
        let mut out = vec![0.0; n];
        thin::multiply(&mut out, false, a, b);
        return out;
    }
    let mut out: Vec<f32> = Vec::with_capacity(n);
    if a.cols == 0 {
        out.resize(n, 0.0);
    } else {
        // SAFETY: the capacity holds the whole product, and with an inner size above 0 every
        // element of it is written before the length says so.
        unsafe {
            gemm_on_threads(Output(out.as_mut_ptr()), false, a, b);
            out.set_len(n);
        }
    }
    out
}

/// `sum + a b`; nothing is read back from a sum of [`crate::zero_sum`].
pub(crate) fn add_product(sum: Tensor<2>, a: View<'_>, b: View<'_>) -> Tensor<2> {
    let shape = sum.dims();
    let sum = Sum::of(sum);
    sum.plus(a, b).into_tensor(shape)
}

/// What products are added to.
pub(crate) enum Sum {
    /// Nothing was added yet.
    Zero,
    /// In host memory.
    Values(Host),
}

impl Sum {
    pub(crate) fn of(sum: Tensor<2>) -> Self {
        let sum = sum.try_into_primitive::<Flex>();
        let sum = sum.expect("the tensors of one operation lie on one device");
        if is_zero_sum(&sum) { Self::Zero } else { Self::Values(Host::in_order(sum)) }
    }

    /// `self + a b`.
    pub(crate) fn plus(self, a: View<'_>, b: View<'_>) -> Self {
        let shape = [a.rows, b.cols];
        match self {
            Self::Zero => Self::Values(Host { tensor: flex_tensor(product(a, b), shape.to_vec()) }),
            Self::Values(mut host) => {
                multiply(host.values_mut(), true, a, b);
                Self::Values(host)
            }
        }
    }

    /// The sum as a tensor of `shape`.
    pub(crate) fn into_tensor(self, shape: [usize; 2]) -> Tensor<2> {
        match self {
            Self::Zero => from_vec(vec![0.0; shape[0] * shape[1]], shape),
            Self::Values(host) => host.into_tensor(),
        }
    }
}

/// Where a product goes, for threads that write parts of it.
#[derive(Clone, Copy)]
struct Output(*mut f32);

// SAFETY: the threads of one product write parts of it that do not overlap.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    fn at(self, idx: usize) -> *mut f32 {
        self.0.wrapping_add(idx)
    }
}

/// A product in as many parts as there are threads. Parts are columns, then rows: a thread packs
/// the weight of its own columns, which nobody else needs.
///
/// # Safety
/// `out` must be valid for writing `a.rows` rows of `b.cols` values, one behind the other, and for
/// reading them when accumulating.
unsafe fn gemm_on_threads(out: Output, accumulate: bool, a: View<'_>, b: View<'_>) {
    let (rows, cols) = (a.rows, b.cols);
    let work = rows * cols * a.cols;
    let threads = rayon::current_num_threads().min(work / THREAD_WORK).max(1);
    let wide = threads.min(cols / THREAD_COLS).max(1);
    let tall = threads.div_ceil(wide).min(rows.max(1));
    let stretch = |part: usize, of: usize, n: usize, unit: usize| -> Range<usize> {
        let edge = |part: usize| (part * n.div_ceil(unit) / of * unit).min(n);
        edge(part)..edge(part + 1)
    };
    (0..wide * tall).into_par_iter().with_max_len(1).for_each(|part| {
        let own_cols = stretch(part % wide, wide, cols, 16);
        let own_rows = stretch(part / wide, tall, rows, 1);
        if own_cols.is_empty() || own_rows.is_empty() {
            return;
        }
        let a = a.part(own_rows.clone(), 0..a.cols);
        let b = b.part(0..b.rows, own_cols.clone());
        // SAFETY: the part lies inside the output, and no other part has any element of it.
        unsafe { gemm_into(out.at(own_rows.start * cols + own_cols.start), cols, accumulate, a, b) }
    });
}

/// # Safety
/// `out` must be valid for writing `a.rows` rows of `b.cols` values, `down` apart, and for reading
/// them when accumulating.
unsafe fn gemm_into(out: *mut f32, down: usize, accumulate: bool, a: View<'_>, b: View<'_>) {
    assert_eq!(a.cols, b.rows, "inner sizes");
    if a.cols <= MOST_TERMS || (a.rows > 1 && b.cols > 1) {
        // SAFETY: the caller's promise.
        return unsafe { gemm_terms(out, down, accumulate, a, b) };
    }
    let n = a.rows * b.cols;
    let (mut sum, mut piece) = (vec![0f32; n], vec![0f32; n]);
    for start in (0..a.cols).step_by(MOST_TERMS) {
        let terms = start..(start + MOST_TERMS).min(a.cols);
        let (a, b) = (a.part(0..a.rows, terms.clone()), b.part(terms, 0..b.cols));
        // SAFETY: the piece has the size of the product, its rows one behind the other.
        unsafe { gemm_terms(piece.as_mut_ptr(), b.cols, false, a, b) };
        sum.iter_mut().zip(&piece).for_each(|(sum, piece)| *sum += piece);
    }
    for (idx, sum) in sum.into_iter().enumerate() {
        // SAFETY: the element lies in the output that the caller vouches for.
        unsafe {
            let element = out.add(idx / b.cols * down + idx % b.cols);
            *element = if accumulate { *element + sum } else { sum };
        }
    }
}

/// # Safety
/// As [`gemm_into`].
unsafe fn gemm_terms(out: *mut f32, down: usize, accumulate: bool, a: View<'_>, b: View<'_>) {
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
            gemm::Parallelism::None,
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
