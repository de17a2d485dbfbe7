//! Rows added where they lie, in an order that does not depend on threads.

use burn::tensor::{Int, Tensor};

use crate::torch::{give, read, read_ids, take};

pub(super) fn backward(sum: Tensor<2>, ids: &Tensor<1, Int>, dy: Tensor<2>) -> Tensor<2> {
    let (mut sum, ids, dy) = (take(sum), read_ids(ids), read(&dy));
    // On the CPU `index_add_` goes through the tokens in their order; on a GPU it adds atomically,
    // and it is `index_put_` that sorts by id first.
    give(if sum.device() == tch::Device::Cpu {
        sum.index_add_(0, &ids, &dy)
    } else {
        sum.index_put_(&[Some(ids)], &dy, true)
    })
}
