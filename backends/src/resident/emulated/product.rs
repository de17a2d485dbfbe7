//! Products of the emulated card: everything in f32 on the CPU, rounded on the way out.

use half::bf16;

use super::super::card::{Element, Matrix, Product, bytes_of};

/// `out = a b (+ add)`, for every product of the batch.
pub(super) fn multiply(product: &Product) {
    let &Product { size: [m, n, k], a, b, out, add, element, out_element, batch } = product;
    for index in 0..batch {
        let left = read(nth(a, index, element), [m, k], element);
        let right = read(nth(b, index, element), [k, n], element);
        let out = nth(out, index, out_element);
        let mut sums = match add {
            None => vec![0.0; m * n],
            Some(at) => {
                let add = nth(Matrix { at, ..product.out }, index, out_element);
                read(add, [m, n], out_element)
            }
        };
        // SAFETY: three dense arrays of these sizes.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                sums.as_mut_ptr(),
                1,
                n as isize,
                true,
                left.as_ptr(),
                1,
                k as isize,
                right.as_ptr(),
                1,
                n as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        write(out, [m, n], out_element, &sums);
    }
}

/// One matrix of a batch.
fn nth(matrix: Matrix, index: usize, element: Element) -> Matrix {
    Matrix { at: matrix.at.offset(index * matrix.stride * bytes_of(element)), ..matrix }
}

/// The matrix as it is used, dense and in f32.
fn read(matrix: Matrix, [rows, cols]: [usize; 2], element: Element) -> Vec<f32> {
    let place = |r: usize, c: usize| {
        if matrix.transposed { c * matrix.row + r } else { r * matrix.row + c }
    };
    let at = matrix.at.0;
    let number = |i: usize| {
        // SAFETY: the step's buffers hold what its products are said to read.
        unsafe {
            match element {
                Element::F32 => (at as *const f32).add(i).read(),
                Element::Bf16 => (at as *const bf16).add(i).read().to_f32(),
            }
        }
    };
    (0..rows).flat_map(|r| (0..cols).map(move |c| number(place(r, c)))).collect()
}

fn write(matrix: Matrix, [rows, cols]: [usize; 2], element: Element, values: &[f32]) {
    for (r, values) in values.chunks_exact(cols).enumerate().take(rows) {
        for (c, &value) in values.iter().enumerate() {
            let i = r * matrix.row + c;
            // SAFETY: the step's buffers hold what its products are said to write.
            unsafe {
                match element {
                    Element::F32 => (matrix.at.0 as *mut f32).add(i).write(value),
                    Element::Bf16 => (matrix.at.0 as *mut bf16).add(i).write(bf16::from_f32(value)),
                }
            }
        }
    }
}
