//! Several units a row, which share its sum of squares; the weight's gradient by blocks of rows.

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use crate::cube::{
    Fold, contiguous, cubes, elem_type, elementwise, empty, fold_row, owned, units_of_row,
    vector_size,
};

/// Units of a cube, over one row or several.
const UNITS: usize = 256;
/// Blocks of rows whose parts of the weight's gradient are summed apart, at most.
const BLOCKS: usize = 256;
/// Rows of a block, at least.
const BLOCK_ROWS: usize = 16;
/// Columns, and shares of a column, of the cube that sums the parts.
const SUM_DIM: [usize; 2] = [32, 8];

pub(super) fn forward(x: Tensor<2>, weight: &Tensor<2>, eps: f64) -> (Tensor<2>, Tensor<2>) {
    let weight = weight.clone().into_dispatch();
    let (y, rstd) = Dispatch::rms_norm(x.into_dispatch(), weight, eps);
    (Tensor::from_dispatch(y), Tensor::from_dispatch(rstd))
}

pub(super) fn replay(x: &Tensor<2>, weight: &Tensor<2>, rstd: &Tensor<2>) -> Tensor<2> {
    let [x, weight, rstd] = [x, weight, rstd].map(|tensor| tensor.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::rms_norm_replay(x, weight, rstd))
}

pub(super) fn backward(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    rstd: &Tensor<2>,
    dy: Tensor<2>,
    around: Option<Tensor<2>>,
    dw: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let [x, weight, rstd] = [x, weight, rstd].map(|tensor| tensor.clone().into_dispatch());
    let [dy, dw] = [dy, dw].map(Tensor::into_dispatch);
    let (dx, dw) = match around.map(Tensor::into_dispatch) {
        Some(around) => Dispatch::rms_norm_gradient_around(x, weight, rstd, dy, around, dw),
        None => Dispatch::rms_norm_gradient(x, weight, rstd, dy, dw),
    };
    (Tensor::from_dispatch(dx), Tensor::from_dispatch(dw))
}

/// The launches, deferred by burn's fusion.
#[backend_extension(Cube, Fusion)]
pub(crate) trait RmsNorm: Backend {
    #[fusion(meta = |x, _weight, _eps| {
        let rstd = burn::tensor::Shape::new([x.shape[0], 1]);
        let spec = burn::backend::fusion::custom::TensorSpec::new(rstd, DType::F32);
        (x.clone(), spec)
    })]
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(dtype = x, shape = x)]
    fn rms_norm_replay(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    #[fusion(meta = |x, _weight, _rstd, _dy, dw| (x.clone(), dw.clone()))]
    fn rms_norm_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        dw: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(meta = |x, _weight, _rstd, _dy, _around, dw| (x.clone(), dw.clone()))]
    fn rms_norm_gradient_around(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        rstd: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        around: FloatTensor<Self>,
        dw: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl RmsNorm for CubeBackend {
    fn rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64) -> (CubeTensor, CubeTensor) {
        let [x, weight] = [x, weight].map(contiguous);
        let rows = Rows::of(&x);
        let y = empty(&x, x.meta.shape().clone(), x.dtype);
        let rstd = empty(&x, [rows.n, 1], DType::F32);
        norm_kernel::launch(
            &x.client.clone(),
            rows.cubes(&x.client),
            rows.dim(),
            rows.vector_size,
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            y.clone().into_buffer_arg(),
            rstd.clone().into_buffer_arg(),
            eps as f32,
            rows.width,
            rows.units,
            rows.per_cube,
            [&x, &weight].map(elem_type),
        );
        (y, rstd)
    }

    fn rms_norm_replay(x: CubeTensor, weight: CubeTensor, rstd: CubeTensor) -> CubeTensor {
        let [x, weight, rstd] = [x, weight, rstd].map(contiguous);
        let rows = Rows::of(&x);
        let y = empty(&x, x.meta.shape().clone(), x.dtype);
        let (count, dim) = elementwise(&x.client, rows.n * rows.width);
        replay_kernel::launch(
            &x.client.clone(),
            count,
            dim,
            rows.vector_size,
            x.clone().into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            rstd.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            rows.width,
            [&x, &weight].map(elem_type),
        );
        y
    }

    fn rms_norm_gradient(
        x: CubeTensor,
        weight: CubeTensor,
        rstd: CubeTensor,
        dy: CubeTensor,
        dw: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        let dx = empty(&x, x.meta.shape().clone(), x.dtype);
        gradient([x, weight, rstd, dy], dx, false, dw)
    }

    fn rms_norm_gradient_around(
        x: CubeTensor,
        weight: CubeTensor,
        rstd: CubeTensor,
        dy: CubeTensor,
        around: CubeTensor,
        dw: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        gradient([x, weight, rstd, dy], owned(around), true, dw)
    }
}

/// How the rows of a tensor are given to units.
struct Rows {
    n: usize,
    vector_size: usize,
    /// Vectors of a row.
    width: usize,
    /// Units of a row.
    units: usize,
    /// Rows of a cube.
    per_cube: usize,
}

impl Rows {
    fn of(x: &CubeTensor) -> Self {
        let [n, d] = x.meta.shape().dims();
        let vector_size = vector_size(d);
        let width = d / vector_size;
        let units = units_of_row(&x.client, width, UNITS);
        Self { n, vector_size, width, units, per_cube: (UNITS / units).clamp(1, 8) }
    }

    fn cubes(&self, client: &Client) -> CubeCount {
        cubes(client, self.n.div_ceil(self.per_cube))
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.units as u32, self.per_cube as u32)
    }
}

/// Puts the input's gradient into `dx`, or adds it there, and the weight's to `dw`.
fn gradient(
    inputs: [CubeTensor; 4],
    dx: CubeTensor,
    add: bool,
    dw: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [x, weight, rstd, dy] = inputs.map(contiguous);
    let rows = Rows::of(&x);
    let dw = add_weight_gradient(&rows, [&x, &rstd, &dy], owned(dw));
    gradient_kernel::launch(
        &x.client.clone(),
        rows.cubes(&x.client),
        rows.dim(),
        rows.vector_size,
        x.clone().into_buffer_arg(),
        weight.clone().into_buffer_arg(),
        rstd.into_buffer_arg(),
        dy.clone().into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        rows.width,
        add,
        rows.units,
        rows.per_cube,
        [&x, &weight, &dy].map(elem_type),
    );
    (dx, dw)
}

fn add_weight_gradient(rows: &Rows, inputs: [&CubeTensor; 3], dw: CubeTensor) -> CubeTensor {
    let [x, rstd, dy] = inputs.map(CubeTensor::clone);
    let client = x.client.clone();
    let block_rows = rows.n.div_ceil(BLOCKS).max(BLOCK_ROWS);
    let n_blocks = rows.n.div_ceil(block_rows);
    let parts = empty(&x, [n_blocks, rows.width * rows.vector_size], DType::F32);
    let (count, dim) = elementwise(&client, n_blocks * rows.width);
    let dtypes = [&x, &dy].map(elem_type);
    parts_kernel::launch(
        &client,
        count,
        dim,
        rows.vector_size,
        x.into_buffer_arg(),
        rstd.into_buffer_arg(),
        dy.into_buffer_arg(),
        parts.clone().into_buffer_arg(),
        rows.width,
        block_rows,
        dtypes,
    );
    let [columns, shares] = SUM_DIM;
    sum_kernel::launch(
        &client,
        cubes(&client, rows.width.div_ceil(columns)),
        CubeDim::new_2d(columns as u32, shares as u32),
        rows.vector_size,
        parts.into_buffer_arg(),
        dw.clone().into_buffer_arg(),
        columns,
        shares,
    );
    dw
}

#[cube(launch)]
fn norm_kernel<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    y: &mut [Vector<F, N>],
    rstd: &mut [f32],
    eps: f32,
    width: usize,
    #[comptime] units: usize,
    #[comptime] rows: usize,
    #[define(F, W)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS * rows + UNIT_POS_Y as usize;
    let is_row = row < rstd.len();
    let first = UNIT_POS_X as usize;
    let mut squares = Vector::<f32, N>::new(0f32);
    if is_row {
        for i in range_stepped(first, width, units) {
            let x = Vector::<f32, N>::cast_from(x[row * width + i]);
            squares += x * x;
        }
    }
    let sum = fold_row::<f32>(squares.vector_sum(), Fold::Sum, units, rows);
    let root = 1f32 / (sum / f32::cast_from(width * N::value()) + eps).sqrt();
    if is_row {
        if first == 0 {
            rstd[row] = root;
        }
        for i in range_stepped(first, width, units) {
            let x = Vector::<f32, N>::cast_from(x[row * width + i]);
            let weight = Vector::<f32, N>::cast_from(weight[i]);
            y[row * width + i] = Vector::cast_from(x * Vector::new(root) * weight);
        }
    }
}

#[cube(launch)]
fn replay_kernel<F: Float, W: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    rstd: &[f32],
    y: &mut [Vector<F, N>],
    width: usize,
    #[define(F, W)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS < y.len() {
        let root = Vector::<f32, N>::new(rstd[ABSOLUTE_POS / width]);
        let x = Vector::<f32, N>::cast_from(x[ABSOLUTE_POS]);
        let weight = Vector::<f32, N>::cast_from(weight[ABSOLUTE_POS % width]);
        y[ABSOLUTE_POS] = Vector::cast_from(x * root * weight);
    }
}

#[cube(launch)]
fn gradient_kernel<F: Float, W: Float, D: Float, N: Size>(
    x: &[Vector<F, N>],
    weight: &[Vector<W, N>],
    rstd: &[f32],
    dy: &[Vector<D, N>],
    dx: &mut [Vector<F, N>],
    width: usize,
    #[comptime] add: bool,
    #[comptime] units: usize,
    #[comptime] rows: usize,
    #[define(F, W, D)] _dtypes: [ElemType; 3],
) {
    let row = CUBE_POS * rows + UNIT_POS_Y as usize;
    let is_row = row < rstd.len();
    let first = UNIT_POS_X as usize;
    let mut products = Vector::<f32, N>::new(0f32);
    let mut root = 0f32;
    if is_row {
        root = rstd[row];
        for i in range_stepped(first, width, units) {
            let x = Vector::<f32, N>::cast_from(x[row * width + i]);
            let dy = Vector::<f32, N>::cast_from(dy[row * width + i]);
            products += x * dy * Vector::<f32, N>::cast_from(weight[i]);
        }
    }
    let sum = fold_row::<f32>(products.vector_sum(), Fold::Sum, units, rows);
    let along = Vector::<f32, N>::new(sum / f32::cast_from(width * N::value()) * root * root);
    if is_row {
        for i in range_stepped(first, width, units) {
            let at = row * width + i;
            let x = Vector::<f32, N>::cast_from(x[at]);
            let dy = Vector::<f32, N>::cast_from(dy[at]);
            let scaled = dy * Vector::<f32, N>::cast_from(weight[i]);
            let mut gradient = (scaled - x * along) * Vector::new(root);
            if add {
                gradient += Vector::<f32, N>::cast_from(dx[at]);
            }
            dx[at] = Vector::cast_from(gradient);
        }
    }
}

/// Each unit sums a few columns over the rows of one block.
#[cube(launch)]
fn parts_kernel<F: Float, D: Float, N: Size>(
    x: &[Vector<F, N>],
    rstd: &[f32],
    dy: &[Vector<D, N>],
    parts: &mut [Vector<f32, N>],
    width: usize,
    block_rows: usize,
    #[define(F, D)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS < parts.len() {
        let first = ABSOLUTE_POS / width * block_rows;
        let column = ABSOLUTE_POS % width;
        let mut sum = Vector::<f32, N>::new(0f32);
        for row in first..min(first + block_rows, rstd.len()) {
            let x = Vector::<f32, N>::cast_from(x[row * width + column]);
            let dy = Vector::<f32, N>::cast_from(dy[row * width + column]);
            sum += dy * x * Vector::new(rstd[row]);
        }
        parts[ABSOLUTE_POS] = sum;
    }
}

/// Adds the parts of all blocks to `sum`: along Y each unit a share of the blocks, then the first
/// of them all shares.
#[cube(launch)]
fn sum_kernel<N: Size>(
    parts: &[Vector<f32, N>],
    sum: &mut [Vector<f32, N>],
    #[comptime] columns: usize,
    #[comptime] shares: usize,
) {
    let width = sum.len();
    let column = CUBE_POS * columns + UNIT_POS_X as usize;
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(columns * shares));
    let mut share = Vector::<f32, N>::new(0f32);
    if column < width {
        for block in range_stepped(UNIT_POS_Y as usize, parts.len() / width, shares) {
            share += parts[block * width + column];
        }
    }
    shared[UNIT_POS as usize] = share;
    sync_cube();
    if UNIT_POS_Y == 0 && column < width {
        let mut total = Vector::<f32, N>::new(0f32);
        #[unroll]
        for i in 0..shares {
            total += shared[i * columns + UNIT_POS_X as usize];
        }
        sum[column] += total;
    }
}
