//! Few rows times a weight: what decoding is made of.
//!
//! Each weight is needed for a handful of multiplications, so a product takes as long as reading
//! the weight. Its rows are read once, in order, each thread a stretch of them, and nothing is
//! packed.

use rayon::prelude::*;

use super::{View, dot, widest_simd};

/// Most rows: beyond, arithmetic takes longer than reading and blocked products win.
const MOST_ROWS: usize = 8;
/// Values of the weight that are worth a task.
const TASK: usize = 32 * 1024;

/// Whether `a b` is a few rows times a weight whose rows are the columns of `b`.
pub(super) fn fits(a: View<'_>, b: View<'_>) -> bool {
    let in_order = |view: View<'_>| view.across == 1 && view.down == view.cols;
    (1..=MOST_ROWS).contains(&a.rows) && a.cols > 0 && in_order(a) && in_order(b.transposed())
}

/// `out = a b`, or `out += a b`, for what [`fits`].
pub(super) fn multiply(out: &mut [f32], accumulate: bool, a: View<'_>, b: View<'_>) {
    let (rows, depth) = (a.rows, a.cols);
    let mut products = vec![0f32; b.cols * rows];
    let weight_rows = TASK.div_ceil(depth);
    products
        .par_chunks_mut(weight_rows * rows)
        .zip(b.values.par_chunks(weight_rows * depth))
        .for_each(|(products, weight)| rows_by_weight(products, a.values, weight, rows));
    for (row, out) in out.chunks_exact_mut(b.cols).enumerate() {
        let products = products[row..].iter().step_by(rows);
        let pairs = out.iter_mut().zip(products);
        if accumulate {
            pairs.for_each(|(out, product)| *out += product);
        } else {
            pairs.for_each(|(out, product)| *out = *product);
        }
    }
}

widest_simd! {
    /// `[weight rows, rows]`: every row of the weight by every row of `x`.
    fn rows_by_weight(products: &mut [f32], x: &[f32], weight: &[f32], rows: usize) = rows_by_weight_body
}

#[inline(always)]
fn rows_by_weight_body(products: &mut [f32], x: &[f32], weight: &[f32], rows: usize) {
    let depth = x.len() / rows;
    for (products, weight) in products.chunks_exact_mut(rows).zip(weight.chunks_exact(depth)) {
        for (product, x) in products.iter_mut().zip(x.chunks_exact(depth)) {
            *product = dot(x, weight);
        }
    }
}
