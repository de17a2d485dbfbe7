//! The first token of an id owns its row and adds the gradients of all others, in their order.
//!
//! Adding by atomics would depend on who comes first, a unit for each row of the table would read
//! all tokens for each of its 64,000 rows, and sorting is many launches. So one kernel compares
//! every token with every other, a tile of ids at a time through shared memory, and links each to
//! the next token of its id: 32,768² comparisons of integers are less than a millisecond of a GPU.
//! Then each column of a first token follows the links. The longest chain, of the most frequent
//! id, sets the time of that kernel; its tokens are a few in a hundred of a text.

use burn::backend::{
    Backend, Dispatch, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, Int, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use crate::cube::{
    ELEMENTWISE_UNITS, contiguous, elem_type, elementwise, empty, owned, vector_size,
};

/// Tells in a link that its token is the first of its id; the rest is the next token.
const FIRST: u32 = 1 << 31;

pub(super) fn backward(sum: Tensor<2>, ids: &Tensor<1, Int>, dy: Tensor<2>) -> Tensor<2> {
    let (sum, ids) = (sum.into_dispatch(), ids.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::add_rows(sum, ids, dy.into_dispatch()))
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait AddRows: Backend {
    #[fusion(meta = |sum, _ids, _dy| sum.clone())]
    fn add_rows(
        sum: FloatTensor<Self>,
        ids: IntTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl AddRows for CubeBackend {
    fn add_rows(sum: CubeTensor, ids: CubeTensor, dy: CubeTensor) -> CubeTensor {
        let (sum, ids, dy) = (owned(sum), contiguous(ids), contiguous(dy));
        let [tokens, d] = dy.meta.shape().dims();
        let client = sum.client.clone();
        let links = empty(&sum, [tokens], DType::U32);
        let (count, dim) = elementwise(&client, tokens);
        link_kernel::launch(
            &client,
            count,
            dim,
            ids.clone().into_buffer_arg(),
            links.clone().into_buffer_arg(),
            ELEMENTWISE_UNITS as usize,
            elem_type(&ids),
        );
        let vector_size = vector_size(d);
        let (count, dim) = elementwise(&client, tokens * d / vector_size);
        let dtypes = [elem_type(&ids), elem_type(&sum), elem_type(&dy)];
        add_kernel::launch(
            &client,
            count,
            dim,
            vector_size,
            ids.into_buffer_arg(),
            links.into_buffer_arg(),
            dy.into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            d / vector_size,
            dtypes,
        );
        sum
    }
}

/// Links each token to the next one of its id, or to the number of tokens if it is the last.
#[cube(launch)]
fn link_kernel<I: Numeric>(
    ids: &[I],
    links: &mut [u32],
    #[comptime] units: usize,
    #[define(I)] _dtype: ElemType,
) {
    let tokens = ids.len() as u32;
    let token = ABSOLUTE_POS as u32;
    let mut tile = Shared::<[u32]>::new_slice(units);
    let mut id = 0u32;
    if token < tokens {
        id = u32::cast_from(ids[ABSOLUTE_POS]);
    }
    let mut next = tokens;
    let mut first = FIRST.runtime();
    for start in range_stepped(0u32, tokens, units as u32) {
        let mine = start + UNIT_POS;
        sync_cube();
        if mine < tokens {
            tile[UNIT_POS as usize] = u32::cast_from(ids[mine as usize]);
        }
        sync_cube();
        for i in 0..min(tokens - start, units as u32) {
            let other = start + i;
            if tile[i as usize] == id {
                if other < token {
                    first = 0u32;
                }
                if other > token {
                    next = min(next, other);
                }
            }
        }
    }
    if token < tokens {
        links[ABSOLUTE_POS] = next + first;
    }
}

#[cube(launch)]
fn add_kernel<I: Numeric, S: Float, D: Float, N: Size>(
    ids: &[I],
    links: &[u32],
    dy: &[Vector<D, N>],
    sum: &mut [Vector<S, N>],
    width: usize,
    #[define(I, S, D)] _dtypes: [ElemType; 3],
) {
    let token = ABSOLUTE_POS / width;
    let column = ABSOLUTE_POS % width;
    if token < ids.len() {
        let mut link = links[token];
        if link >= FIRST {
            let at = u32::cast_from(ids[token]) as usize * width + column;
            let mut row = Vector::<f32, N>::cast_from(sum[at]);
            row += Vector::<f32, N>::cast_from(dy[ABSOLUTE_POS]);
            link -= FIRST;
            while (link as usize) < ids.len() {
                row += Vector::<f32, N>::cast_from(dy[link as usize * width + column]);
                link = links[link as usize] % FIRST;
            }
            sum[at] = Vector::cast_from(row);
        }
    }
}
