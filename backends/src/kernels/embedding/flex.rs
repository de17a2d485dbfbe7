//! Each thread owns a range of rows and reads all ids, so sums are made in the order of the tokens.

use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

use crate::flex::{self, Host};

pub(super) fn backward(sum: Tensor<2>, ids: &Tensor<1, Int>, dy: Tensor<2>) -> Tensor<2> {
    let [vocab, d] = sum.dims();
    let (mut sum, dy) = (Host::take(sum), Host::take(dy));
    let ids = flex::ids(ids);
    let rows = vocab.div_ceil(rayon::current_num_threads());
    sum.values_mut().par_chunks_mut(rows * d).enumerate().for_each(|(part, sum)| {
        let first = part * rows;
        for (&id, dy) in ids.iter().zip(dy.values().chunks_exact(d)) {
            if let Some(row) =
                id.checked_sub(first).and_then(|row| sum.chunks_exact_mut(d).nth(row))
            {
                row.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
            }
        }
    });
    sum.into_tensor()
}
