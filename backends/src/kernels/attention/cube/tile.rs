//! What the kernels do with tiles: stage rows in shared memory, multiply two tiles of rows, add the
//! product of a tile of weights with rows.
//!
//! The units of a cube form a square. Unit `(x, y)` holds 4 rows `4 y..` of a tile of scores and 4
//! columns `x, x + side, ..` in registers, and the same 4 rows of a sum over the whole head
//! dimension, 4 neighbouring channels at a time. Shared memory holds short slices of the rows only,
//! so that it does not grow with the head dimension.

use cubecl::prelude::*;

/// 4 neighbouring channels, or 4 neighbouring rows.
pub(super) type Quad = Vector<f32, Const<4>>;

/// Rows, and columns, of scores that a unit holds.
pub(super) const PATCH: usize = 4;
/// Channels of a slice of rows that is staged for a product of rows, in quads.
const SLICE: usize = 4;
/// The score of a key that a query may not see.
pub(super) const HIDDEN: f32 = -1e30;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) head_dim: usize,
    /// Query heads of one key head.
    pub(super) group: usize,
    /// Units along each side of a cube.
    pub(super) side: usize,
    /// Whether queries are limited to their own document.
    pub(super) documents: bool,
}

impl Plan {
    /// Units of a cube.
    pub(super) const fn units(self) -> usize {
        self.side * self.side
    }

    /// Rows of a tile.
    pub(super) const fn tile(self) -> usize {
        PATCH * self.side
    }

    /// Quads of one head.
    pub(super) const fn quads(self) -> usize {
        self.head_dim.div_ceil(4)
    }

    /// Quads of one head that a unit sums.
    pub(super) const fn columns(self) -> usize {
        self.quads().div_ceil(self.side)
    }

    /// Quads of a slice.
    const fn slice(self) -> usize {
        if self.quads() < SLICE { self.quads() } else { SLICE }
    }

    /// From one staged row to the next; odd, so that units do not meet in one memory bank.
    const fn pitch(self) -> usize {
        self.slice() | 1
    }

    /// Whole rows that are staged at a time.
    const fn stretch(self) -> usize {
        let mut stretch = self.tile();
        while stretch * self.side * self.columns() > 2 * self.tile() * (SLICE + 1) {
            stretch /= 2;
        }
        stretch
    }

    /// Quads of the shared memory for staged rows.
    pub(super) const fn stage_len(self) -> usize {
        let slices = 2 * self.tile() * self.pitch();
        let rows = self.stretch() * self.side * self.columns();
        if slices > rows { slices } else { rows }
    }

    /// From one column of shared weights to the next.
    pub(super) const fn weights_pitch(self) -> usize {
        self.side + 1
    }

    /// Quads of the shared memory for a tile of weights.
    pub(super) const fn weights_len(self) -> usize {
        self.tile() * self.weights_pitch()
    }

    /// Bytes of shared memory.
    pub(super) const fn shared_bytes(self) -> usize {
        (self.stage_len() + self.weights_len()) * 4 * size_of::<f32>()
    }
}

/// Rows of one key head of one sequence: positions, or positions times the heads of the group.
///
/// Row `r` is head `r % group` of position `r / group`, so that a tile of queries holds all heads
/// that share its keys. Steps count vectors of the tensor's width.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Rows {
    base: usize,
    position_step: usize,
    head_step: usize,
    pub(super) n: usize,
    #[cube(comptime)]
    group: usize,
}

#[cube]
impl Rows {
    /// The rows of `[batch, seq, heads, head_dim]` that belong to this cube.
    pub(super) fn of<F: Float, N: Size>(
        x: &Tensor<Vector<F, N>>,
        #[comptime] group: usize,
    ) -> Rows {
        let width = N::value();
        let batch = CUBE_POS_Z as usize;
        let head = CUBE_POS_Y as usize * group;
        Rows {
            base: (batch * x.stride(0) + head * x.stride(2)) / width,
            position_step: x.stride(1) / width,
            head_step: x.stride(2) / width,
            n: x.shape(1) * group,
            group,
        }
    }

    /// The same rows of a new tensor in the shape of `x`.
    pub(super) fn packed<F: Float, N: Size>(
        x: &Tensor<Vector<F, N>>,
        #[comptime] group: usize,
        #[comptime] plan: Plan,
    ) -> Rows {
        let width = N::value();
        let head_step = comptime!(plan.head_dim / width);
        let position_step = x.shape(2) * head_step;
        let (batch, head) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize * group);
        Rows {
            base: batch * x.shape(1) * position_step + head * head_step,
            position_step,
            head_step: head_step.runtime(),
            n: x.shape(1) * group,
            group,
        }
    }

    fn at(&self, row: usize) -> usize {
        let group = comptime!(self.group);
        if comptime!(group == 1) {
            self.base + row * self.position_step
        } else {
            self.base + row / group * self.position_step + row % group * self.head_step
        }
    }
}

/// One quad of one row; zeros outside.
#[cube]
pub(super) fn load<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    rows: &Rows,
    row: usize,
    quad: usize,
    #[comptime] plan: Plan,
) -> Quad {
    let width = N::value();
    let parts = comptime!(4 / width);
    let mut values = Quad::new(0f32);
    if row < rows.n {
        let at = rows.at(row) + quad * parts;
        #[unroll]
        for part in 0..parts {
            if quad * 4 + part * width < plan.head_dim {
                let loaded = Vector::<f32, N>::cast_from(x[at + part]);
                #[unroll]
                for lane in 0..width {
                    values.insert(comptime!(part * width + lane), loaded.extract(lane));
                }
            }
        }
    }
    values
}

/// Writes one quad of one row, as far as both exist.
#[cube]
fn store<F: Float, N: Size>(
    x: &mut [Vector<F, N>],
    rows: &Rows,
    row: usize,
    quad: usize,
    values: Quad,
    #[comptime] plan: Plan,
) {
    let width = N::value();
    let parts = comptime!(4 / width);
    if row < rows.n {
        let at = rows.at(row) + quad * parts;
        #[unroll]
        for part in 0..parts {
            if quad * 4 + part * width < plan.head_dim {
                let mut narrow = Vector::<f32, N>::new(0f32);
                #[unroll]
                for lane in 0..width {
                    narrow.insert(lane, values.extract(comptime!(part * width + lane)));
                }
                x[at + part] = Vector::cast_from(narrow);
            }
        }
    }
}

/// Writes the sums of this unit's rows.
#[cube]
pub(super) fn store_sums<F: Float, N: Size>(
    x: &mut [Vector<F, N>],
    rows: &Rows,
    first_row: usize,
    sums: &Array<Quad>,
    #[comptime] plan: Plan,
) {
    let columns = comptime!(plan.columns());
    #[unroll]
    for i in 0..PATCH {
        #[unroll]
        for column in 0..columns {
            let quad = UNIT_POS_X as usize + column * plan.side;
            let row = first_row + UNIT_POS_Y as usize * PATCH + i;
            store::<F, N>(x, rows, row, quad, sums[i * columns + column], plan);
        }
    }
}

/// Copies a block of rows and quads into shared memory, all units together.
#[cube]
fn stage<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    rows: &Rows,
    first: (usize, usize),
    staged: &mut Shared<[Quad]>,
    #[comptime] at: usize,
    #[comptime] block: (usize, usize, usize),
    #[comptime] plan: Plan,
) {
    let (n_rows, n_quads, pitch) = comptime!(block);
    let units = comptime!(plan.units());
    let n = comptime!(n_rows * n_quads);
    let steps = comptime!(n.div_ceil(units));
    #[unroll]
    for step in 0..steps {
        let cell = UNIT_POS as usize + step * units;
        if cell < n {
            let (row, quad) = (cell / n_quads, cell % n_quads);
            staged[at + row * pitch + quad] =
                load::<F, N>(x, rows, first.0 + row, first.1 + quad, plan);
        }
    }
}

/// Products of a tile of rows of `a` with a tile of rows of `b`: this unit's patch, row-major.
///
/// Waits for whoever still reads shared memory.
#[cube]
pub(super) fn products<F: Float, N: Size>(
    a: (&Tensor<Vector<F, N>>, &Rows, usize),
    b: (&Tensor<Vector<F, N>>, &Rows, usize),
    staged: &mut Shared<[Quad]>,
    #[comptime] plan: Plan,
) -> Array<f32> {
    let (tile, slice, pitch) = comptime!((plan.tile(), plan.slice(), plan.pitch()));
    let n_slices = comptime!(plan.quads().div_ceil(slice));
    let mut sums = Array::<f32>::new(comptime!(PATCH * PATCH));
    #[unroll]
    for i in 0..comptime!(PATCH * PATCH) {
        sums[i] = 0f32;
    }
    for index in 0..n_slices {
        let quad = index * slice;
        sync_cube();
        stage::<F, N>(a.0, a.1, (a.2, quad), staged, 0usize, comptime!((tile, slice, pitch)), plan);
        let at = comptime!(tile * pitch);
        stage::<F, N>(b.0, b.1, (b.2, quad), staged, at, comptime!((tile, slice, pitch)), plan);
        sync_cube();
        add_slice(staged, &mut sums, plan);
    }
    sums
}

#[cube]
fn add_slice(staged: &mut Shared<[Quad]>, sums: &mut Array<f32>, #[comptime] plan: Plan) {
    let (tile, slice, pitch) = comptime!((plan.tile(), plan.slice(), plan.pitch()));
    let a_at = UNIT_POS_Y as usize * PATCH * pitch;
    let b_at = (UNIT_POS_X as usize + tile) * pitch;
    for quad in 0..slice {
        let mut a = Array::<Quad>::new(PATCH);
        #[unroll]
        for i in 0..PATCH {
            a[i] = staged[a_at + i * pitch + quad];
        }
        #[unroll]
        for j in 0..PATCH {
            let b = staged[b_at + j * plan.side * pitch + quad];
            #[unroll]
            for i in 0..PATCH {
                let mut sum = sums[i * PATCH + j];
                #[unroll]
                for lane in 0..4usize {
                    sum = fma(a[i].extract(lane), b.extract(lane), sum);
                }
                sums[i * PATCH + j] = sum;
            }
        }
    }
}

/// Shares this unit's patch of weights, so that each quad holds one column of 4 rows.
#[cube]
pub(super) fn share(patch: &Array<f32>, weights: &mut Shared<[Quad]>, #[comptime] plan: Plan) {
    #[unroll]
    for j in 0..PATCH {
        let mut column = Quad::new(0f32);
        #[unroll]
        for i in 0..PATCH {
            column.insert(i, patch[i * PATCH + j]);
        }
        let at = (UNIT_POS_X as usize + j * plan.side) * comptime!(plan.weights_pitch());
        weights[at + UNIT_POS_Y as usize] = column;
    }
}

/// Adds to the sums of this unit's rows: shared weights times the rows of `x` that their columns
/// stand for.
///
/// Waits for the weights.
#[cube]
pub(super) fn add_weighted<F: Float, N: Size>(
    weights: &Shared<[Quad]>,
    x: (&Tensor<Vector<F, N>>, &Rows, usize),
    staged: &mut Shared<[Quad]>,
    sums: &mut Array<Quad>,
    #[comptime] plan: Plan,
) {
    let stretch = comptime!(plan.stretch());
    let row_len = comptime!(plan.side * plan.columns());
    for index in 0..comptime!(plan.tile() / stretch) {
        let from = index * stretch;
        sync_cube();
        stage::<F, N>(
            x.0,
            x.1,
            (x.2 + from, 0usize),
            staged,
            0usize,
            comptime!((stretch, row_len, row_len)),
            plan,
        );
        sync_cube();
        add_stretch(weights, from, staged, sums, plan);
    }
}

#[cube]
fn add_stretch(
    weights: &Shared<[Quad]>,
    from: usize,
    staged: &mut Shared<[Quad]>,
    sums: &mut Array<Quad>,
    #[comptime] plan: Plan,
) {
    let columns = comptime!(plan.columns());
    let row_len = comptime!(plan.side * columns);
    for n in 0..comptime!(plan.stretch()) {
        let column = weights[(from + n) * comptime!(plan.weights_pitch()) + UNIT_POS_Y as usize];
        #[unroll]
        for j in 0..columns {
            let values = staged[n * row_len + j * plan.side + UNIT_POS_X as usize];
            #[unroll]
            for i in 0..PATCH {
                let weight = Quad::new(column.extract(i));
                sums[i * columns + j] = fma(weight, values, sums[i * columns + j]);
            }
        }
    }
}

/// Sums of this unit's rows, at zero.
#[cube]
pub(super) fn zero_sums(#[comptime] plan: Plan) -> Array<Quad> {
    let n = comptime!(PATCH * plan.columns());
    let mut sums = Array::<Quad>::new(n);
    #[unroll]
    for i in 0..n {
        sums[i] = Quad::new(0f32);
    }
    sums
}

/// Largest value of each of this unit's rows over all units of the row.
///
/// Nobody may be reading `shared`.
#[cube]
pub(super) fn top_of_rows(
    value: Quad,
    shared: &mut Shared<[Quad]>,
    #[comptime] plan: Plan,
) -> Quad {
    let pitch = comptime!(plan.weights_pitch());
    let y = UNIT_POS_Y as usize;
    shared[UNIT_POS_X as usize * pitch + y] = value;
    sync_cube();
    let mut top = value;
    for x in 0..plan.side {
        top = max(top, shared[x * pitch + y]);
    }
    sync_cube();
    top
}

/// Sum of each of this unit's rows over all units of the row, the same in each of them.
///
/// Nobody may be reading `shared`.
#[cube]
pub(super) fn sum_of_rows(
    value: Quad,
    shared: &mut Shared<[Quad]>,
    #[comptime] plan: Plan,
) -> Quad {
    let pitch = comptime!(plan.weights_pitch());
    let y = UNIT_POS_Y as usize;
    shared[UNIT_POS_X as usize * pitch + y] = value;
    sync_cube();
    let mut sum = Quad::new(0f32);
    for x in 0..plan.side {
        sum += shared[x * pitch + y];
    }
    sync_cube();
    sum
}

/// First row of this cube's tile, the last tile first: late queries see most keys and take longest.
#[cube]
pub(super) fn late_first(n_cubes: u32, cube: u32, #[comptime] plan: Plan) -> usize {
    (n_cubes - 1 - cube) as usize * comptime!(plan.tile())
}

/// Whether a query sees a key that is not before its row's start.
#[cube]
pub(super) fn sees(position: usize, first: usize, key: usize, #[comptime] plan: Plan) -> bool {
    let behind = key <= position;
    if comptime!(plan.documents) { behind && key >= first } else { behind }
}

/// Softmax weight of a pair again, from its scaled score and the query's statistics.
#[cube]
pub(super) fn weight(
    score: f32,
    stat: Quad,
    position: usize,
    key: usize,
    #[comptime] plan: Plan,
) -> f32 {
    let visible = sees(position, usize::cast_from(stat.extract(2usize)), key, plan);
    select(visible, score - stat.extract(0usize), HIDDEN).exp()
}
