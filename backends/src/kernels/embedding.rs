//! Token embedding: one row of the table per id.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "tch")]
mod torch;

use burn::tensor::{Int, Tensor};

use crate::{form::by_form, profile};

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
    by_form!("embedding", &sum, backward(sum, ids, dy))
}

mod reference {
    use burn::tensor::{IndexingUpdateOp, Int, Tensor};

    pub(super) fn backward(sum: Tensor<2>, ids: &Tensor<1, Int>, dy: Tensor<2>) -> Tensor<2> {
        sum.select_assign(0, ids.clone(), dy, IndexingUpdateOp::Add)
    }
}
