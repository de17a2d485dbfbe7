//! Products by cuBLASLt: the library's own choice of algorithm, asked for once a shape.
//!
//! The choice is the heuristic's first, which depends on shape, card and library alone: the same
//! run gives the same bits. Factors in bf16 are summed in f32; in f32 nothing is rounded to TF32.

use std::{collections::HashMap, ffi::c_void, ptr};

use cudarc::{
    cublaslt::{result, sys},
    driver::sys::CUstream,
};

use super::{
    super::{
        Error,
        card::{Address, Element, Matrix, Product},
    },
    driver,
};

/// Memory that an algorithm may work in: NVIDIA's advice for Hopper.
const WORKSPACE_BYTES: usize = 64 << 20;

/// The library's handle, its workspace, and what it chose.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    workspace: Address,
    chosen: HashMap<Key, Chosen>,
}

/// What the choice depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    size: [usize; 3],
    rows: [usize; 3],
    strides: [usize; 3],
    transposed: [bool; 2],
    formats: [bool; 2],
    adds: bool,
    batch: usize,
    /// The largest power of two, up to 256, that all addresses are multiples of.
    alignment: u64,
}

/// A description of a product and the algorithm for it.
struct Chosen {
    description: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Products {
    pub(super) fn open() -> Result<Self, Error> {
        let handle = result::create_handle().map_err(library("opening cuBLASLt"))?;
        // SAFETY: a size above zero; algorithms write what they read.
        let workspace = unsafe { cudarc::driver::result::malloc_sync(WORKSPACE_BYTES) };
        let workspace = Address(workspace.map_err(driver("taking the products' workspace"))?);
        Ok(Self { handle, workspace, chosen: HashMap::new() })
    }

    /// Queues a product; the first of its shape asks for an algorithm.
    pub(super) fn queue(&mut self, product: &Product, stream: CUstream) -> Result<(), Error> {
        let key = Key::of(product);
        if !self.chosen.contains_key(&key) {
            let chosen = choose(self.handle, product, key.alignment)?;
            self.chosen.insert(key, chosen);
        }
        let chosen = &self.chosen[&key];
        let (one, beta) = (1.0_f32, if product.add.is_some() { 1.0_f32 } else { 0.0 });
        let out = product.out.at;
        let pointer = |at: Address| at.0 as *mut c_void;
        // The library is column-major: a row-major product is that of the factors swapped.
        // SAFETY: the layouts describe the caller's buffers; scalars are read before the return.
        unsafe {
            result::matmul(
                self.handle,
                chosen.description,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                pointer(product.b.at),
                chosen.b,
                pointer(product.a.at),
                chosen.a,
                pointer(product.add.unwrap_or(out)),
                chosen.out,
                pointer(out),
                chosen.out,
                &raw const chosen.algorithm,
                pointer(self.workspace),
                WORKSPACE_BYTES,
                stream.cast(),
            )
        }
        .map_err(|problem| Error::call(format!("the product {:?}", product.size), problem))
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // SAFETY: nothing is queued any more, and each was made once.
        unsafe {
            for chosen in self.chosen.values() {
                let _ = result::destroy_matmul_desc(chosen.description);
                for layout in [chosen.a, chosen.b, chosen.out] {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
            let _ = cudarc::driver::result::free_sync(self.workspace.0);
            let _ = result::destroy_handle(self.handle);
        }
    }
}

impl Key {
    fn of(product: &Product) -> Self {
        let &Product { size, a, b, out, add, element, out_element, batch } = product;
        let addresses = a.at.0 | b.at.0 | out.at.0 | add.map_or(0, |at| at.0) | 256;
        Self {
            size,
            rows: [a, b, out].map(|matrix| matrix.row),
            strides: [a, b, out].map(|matrix| matrix.stride),
            transposed: [a, b].map(|matrix| matrix.transposed),
            formats: [element, out_element].map(|format| format == Element::Bf16),
            adds: add.is_some(),
            batch,
            alignment: 1 << addresses.trailing_zeros(),
        }
    }
}

/// Describes a product and takes the heuristic's first algorithm.
fn choose(
    handle: sys::cublasLtHandle_t,
    product: &Product,
    alignment: u64,
) -> Result<Chosen, Error> {
    let [m, n, k] = product.size;
    let description = describe(product)?;
    let (element, out_element) = (data_type(product.element), data_type(product.out_element));
    let a = layout(product.a, [m, k], element, product.batch)?;
    let b = layout(product.b, [k, n], element, product.batch)?;
    let out = layout(product.out, [m, n], out_element, product.batch)?;
    let preference = preference(alignment, product.out_element)?;
    // SAFETY: all of them were just made; the library calls its left factor `a`, ours is its `b`.
    let found = unsafe {
        let found =
            result::get_matmul_algo_heuristic(handle, description, b, a, out, out, preference);
        let _ = result::destroy_matmul_pref(preference);
        found
    };
    let found =
        found.map_err(|problem| Error::call(format!("an algorithm for {product:?}"), problem))?;
    Ok(Chosen { description, a, b, out, algorithm: found.algo })
}

/// Sums in f32, and which factors are transposed.
fn describe(product: &Product) -> Result<sys::cublasLtMatmulDesc_t, Error> {
    use sys::cublasLtMatmulDescAttributes_t::{
        CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB,
    };
    let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
    let description = result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)
        .map_err(library("describing a product"))?;
    for (attribute, matrix) in
        [(CUBLASLT_MATMUL_DESC_TRANSA, product.b), (CUBLASLT_MATMUL_DESC_TRANSB, product.a)]
    {
        let transposed = i32::from(matrix.transposed);
        // SAFETY: the attribute is an `int`: 0 for as it lies, 1 for transposed.
        unsafe {
            result::set_matmul_desc_attribute(
                description,
                attribute,
                (&raw const transposed).cast(),
                size_of::<i32>(),
            )
        }
        .map_err(library("describing a product"))?;
    }
    Ok(description)
}

/// A matrix that is used as `[rows, cols]`, told column by column as the library counts.
fn layout(
    matrix: Matrix,
    [rows, cols]: [usize; 2],
    data_type: sys::cudaDataType,
    batch: usize,
) -> Result<sys::cublasLtMatrixLayout_t, Error> {
    use sys::cublasLtMatrixLayoutAttribute_t::{
        CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
    };
    // Row-major [r, c] is column-major [c, r].
    let [height, width] = if matrix.transposed { [rows, cols] } else { [cols, rows] };
    let failed = || library("describing a matrix");
    let row = matrix.row as i64;
    let layout = result::create_matrix_layout(data_type, height as u64, width as u64, row)
        .map_err(failed())?;
    let (count, stride) = (batch as i32, matrix.stride as i64);
    let attributes: [(_, *const c_void, usize); 2] = [
        (CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, ptr::from_ref(&count).cast(), size_of::<i32>()),
        (
            CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
            ptr::from_ref(&stride).cast(),
            size_of::<i64>(),
        ),
    ];
    for (attribute, value, size) in attributes {
        // SAFETY: the values have the attributes' types.
        unsafe { result::set_matrix_layout_attribute(layout, attribute, value, size) }
            .map_err(failed())?;
    }
    Ok(layout)
}

/// How much workspace there is, what addresses are multiples of, and that parts of a sum are added
/// in f32: nothing is rounded to `out_element` before the sum is whole.
fn preference(
    alignment: u64,
    out_element: Element,
) -> Result<sys::cublasLtMatmulPreference_t, Error> {
    use sys::{
        cublasLtMatmulPreferenceAttributes_t as Attribute, cublasLtReductionScheme_t as Scheme,
    };
    let failed = || library("asking for an algorithm");
    let preference = result::create_matmul_pref().map_err(failed())?;
    let (workspace, alignment) = (WORKSPACE_BYTES, alignment as u32);
    let schemes = match out_element {
        Element::F32 => Scheme::CUBLASLT_REDUCTION_SCHEME_MASK,
        Element::Bf16 => Scheme::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
    } as u32;
    let alignments = [
        Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    ];
    // SAFETY: a size, and else unsigned numbers of 32 bits, as the attributes ask for.
    unsafe {
        result::set_matmul_pref_attribute(
            preference,
            Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const workspace).cast(),
            size_of::<usize>(),
        )
        .map_err(failed())?;
        let numbers = alignments.map(|attribute| (attribute, alignment));
        let scheme = (Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
        for (attribute, number) in numbers.into_iter().chain([scheme]) {
            result::set_matmul_pref_attribute(
                preference,
                attribute,
                (&raw const number).cast(),
                size_of::<u32>(),
            )
            .map_err(failed())?;
        }
    }
    Ok(preference)
}

fn data_type(element: Element) -> sys::cudaDataType {
    match element {
        Element::F32 => sys::cudaDataType::CUDA_R_32F,
        Element::Bf16 => sys::cudaDataType::CUDA_R_16BF,
    }
}

/// Names the call that the library's error came from.
fn library(what: &'static str) -> impl Fn(result::CublasError) -> Error {
    move |problem| Error::call(what, problem)
}
