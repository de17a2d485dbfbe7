//! Token embedding: one row of the table per id.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::profile;

/// Looks the ids up.
///
/// # Shapes
/// - `ids`: `[tokens]`, each below `vocab`; `table`: `[vocab, d]`
/// - returns: `[tokens, d]`
pub fn forward(ids: &Tensor<1, Int>, table: &Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("embedding", table);
    table.clone().select(0, ids.clone())
}

/// Adds the gradient of each looked-up row into `sum`, in the order of the tokens.
///
/// # Shapes
/// - `ids`: `[tokens]`, `dy`: `[tokens, d]` in f32
/// - `sum`: `[vocab, d]` in f32, consumed and returned
pub fn backward(sum: Tensor<2>, ids: &Tensor<1, Int>, dy: Tensor<2>) -> Tensor<2> {
    let _timer = profile::timer("embedding", &sum);
    #[cfg(feature = "flex")]
    let (sum, dy) = match host::backward(sum, ids, dy) {
        Ok(done) => return done,
        Err(inputs) => inputs,
    };
    sum.select_assign(0, ids.clone(), dy, IndexingUpdateOp::Add)
}

#[cfg(feature = "flex")]
mod host {
    use burn::tensor::{Int, Tensor};
    use rayon::prelude::*;

    use crate::flex::{self, Host};

    pub(super) fn backward(
        sum: Tensor<2>,
        ids: &Tensor<1, Int>,
        dy: Tensor<2>,
    ) -> Result<Tensor<2>, (Tensor<2>, Tensor<2>)> {
        let [vocab, d] = sum.dims();
        let mut sum = match Host::take("embedding", sum) {
            Ok(sum) => sum,
            Err(sum) => return Err((sum, dy)),
        };
        let dy = match Host::take("embedding", dy) {
            Ok(dy) => dy,
            Err(dy) => return Err((sum.into_tensor(), dy)),
        };
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
        Ok(sum.into_tensor())
    }
}
