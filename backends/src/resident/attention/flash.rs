//! The flash kernels for Hopper: how the host describes arrays to them and launches them.
//!
//! How work is cut is decided in `kernels/attention_tiles.cuh` alone; the host reads the numbers
//! that it needs from the table beside the compiled kernels.

use super::{
    super::{
        Card, Error, Settings, Step,
        card::{Address, Arg, Geometry, Kernel, TensorMap, TiledArray},
        memory::{BlockBuffers, Buffers},
        sources,
    },
    Heads,
};

/// Columns of a box: 128 bytes, the width of the swizzle.
const BOX_COLUMNS: u32 = 64;

/// The kernels, in the order of their table.
const NAMES: [&str; 4] = [
    "attention_forward",
    "attention_delta",
    "attention_backward_key_value",
    "attention_backward_query",
];

/// A kernel and how it is launched: `AttentionLaunch` in `kernels/attention_sm90.cu`.
#[derive(Clone, Copy, Debug)]
struct Launch {
    kernel: Kernel,
    /// Rows of a block's own tiles and of their boxes.
    rows: u32,
    /// Rows of the boxes of streamed tiles.
    streamed: u32,
    threads: u32,
    shared_bytes: u32,
}

/// The compiled kernels, and the arrays of every block described to them.
pub(crate) struct Flash {
    forward: Launch,
    delta: Launch,
    key_value: Launch,
    query: Launch,
    maps: Vec<BlockMaps>,
}

/// Queries, keys, values and the gradient of attended values, in the boxes of each kernel.
struct BlockMaps {
    forward: [TensorMap; 3],
    key_value: [TensorMap; 4],
    query: [TensorMap; 4],
}

impl Flash {
    pub(crate) fn new(
        card: &dyn Card,
        settings: &Settings,
        buffers: &Buffers,
    ) -> Result<Self, Error> {
        let macros = [("HEAD_DIM", settings.decoder.head_dim.to_string())];
        let source = &sources::ATTENTION_SM90;
        let kernels = card.kernels(source, &macros, &NAMES)?;
        let table = launches(card, settings.decoder.head_dim)?;
        let launch = |index: usize| {
            let [rows, streamed, threads, shared_bytes] = table[index];
            Launch { kernel: kernels[index], rows, streamed, threads, shared_bytes }
        };
        let [forward, delta, key_value, query] = [0, 1, 2, 3].map(launch);
        let mut flash = Self { forward, delta, key_value, query, maps: Vec::new() };
        for block in &buffers.blocks {
            flash.maps.push(flash.maps_of(card, settings, block, buffers.wide)?);
        }
        Ok(flash)
    }

    fn maps_of(
        &self,
        card: &dyn Card,
        settings: &Settings,
        block: &BlockBuffers,
        d_attended: Address,
    ) -> Result<BlockMaps, Error> {
        let decoder = &settings.decoder;
        let heads = Heads::of(settings, block.qkv);
        let (row, n_heads, n_kv) = (decoder.qkv_width(), decoder.n_heads, decoder.n_kv_heads);
        let map = |at, n_heads, row, rows| {
            card.tensor_map(&heads_array(settings, at, n_heads, row, rows))
        };
        let query = |rows| map(heads.query, n_heads, row, rows);
        let key = |rows| map(heads.key, n_kv, row, rows);
        let value = |rows| map(heads.value, n_kv, row, rows);
        let d_out = |rows| map(d_attended, n_heads, decoder.query_width(), rows);
        let Launch { rows: own, streamed, .. } = self.forward;
        let forward = [query(own)?, key(streamed)?, value(streamed)?];
        let Launch { rows: own, streamed, .. } = self.key_value;
        let key_value = [query(streamed)?, key(own)?, value(own)?, d_out(streamed)?];
        let Launch { rows: own, streamed, .. } = self.query;
        let query = [query(own)?, key(streamed)?, value(streamed)?, d_out(own)?];
        Ok(BlockMaps { forward, key_value, query })
    }
}

/// What the kernels say of their launches, forward, delta, keys and values, queries: rows of a block, rows of
/// streamed tiles, threads, bytes of shared memory.
///
/// # Errors
/// A card that refuses.
pub fn launches(card: &dyn Card, head_dim: usize) -> Result<[[u32; 4]; 4], Error> {
    const BYTES: usize = 64;
    let macros = [("HEAD_DIM", head_dim.to_string())];
    let kernel = card.kernels(&sources::ATTENTION_SM90, &macros, &["attention_launches"])?[0];
    let at = card.allocate(BYTES as u64)?;
    let mut bytes = [0; BYTES];
    let told = card
        .launch(kernel, Geometry::line(1, 32), &[at.into()])
        .and_then(|()| card.read(at, &mut bytes));
    card.release(at);
    told?;
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[4 * i + byte]));
    Ok([0, 1, 2, 3].map(|row| [0, 1, 2, 3].map(|column| word(4 * row + column))))
}

impl Launch {
    /// A block for every piece of its rows of every head.
    fn geometry(&self, settings: &Settings, heads: usize) -> Geometry {
        let blocks = settings.seq.div_ceil(self.rows as usize) * heads * settings.rows;
        let Self { threads, shared_bytes, .. } = *self;
        Geometry { grid: [blocks as u32, 1, 1], threads, shared_bytes }
    }
}

/// `[batch, seq, heads, head_dim]` within rows of `row` numbers, copied by boxes of `rows` positions.
fn heads_array(
    settings: &Settings,
    at: Address,
    n_heads: usize,
    row: usize,
    rows: u32,
) -> TiledArray {
    let head_dim = settings.decoder.head_dim as u64;
    let (seq, row_bytes) = (settings.seq as u64, 2 * row as u64);
    TiledArray {
        at,
        dims: [head_dim, n_heads as u64, seq, settings.rows as u64],
        strides: [2 * head_dim, row_bytes, seq * row_bytes],
        tile: [BOX_COLUMNS, 1, rows, 1],
    }
}

impl Step {
    pub(super) fn flash_forward(&self, flash: &Flash, layer: usize) -> Result<(), Error> {
        let (block, settings) = (&self.buffers.blocks[layer], &self.settings);
        let mut args: Vec<Arg> = flash.maps[layer].forward.map(Into::into).into();
        args.extend::<[Arg; 8]>([
            block.attended.into(),
            block.lse.into(),
            self.buffers.inputs.starts.into(),
            settings.rows.into(),
            settings.seq.into(),
            settings.decoder.n_heads.into(),
            settings.decoder.n_kv_heads.into(),
            self.score_scale().into(),
        ]);
        let geometry = flash.forward.geometry(settings, settings.decoder.n_heads);
        self.run("attention", flash.forward.kernel, geometry, &args)
    }

    pub(super) fn flash_backward(&self, flash: &Flash, layer: usize) -> Result<(), Error> {
        let (block, settings) = (&self.buffers.blocks[layer], &self.settings);
        let gradients = Heads::of(settings, self.buffers.d_qkv);
        let d = &settings.decoder;
        let delta = [
            block.attended.into(),
            self.buffers.wide.into(),
            self.buffers.delta.into(),
            settings.seq.into(),
            d.n_heads.into(),
        ];
        let Launch { kernel, rows, threads, .. } = flash.delta;
        let blocks = (settings.seq * d.n_heads).div_ceil(rows as usize) as u32;
        let grid = [blocks, settings.rows as u32, 1];
        self.run("attention", kernel, Geometry { grid, threads, shared_bytes: 0 }, &delta)?;
        let statistics: [Arg; 2] = [block.lse.into(), self.buffers.delta.into()];
        let sizes: [Arg; 6] = [
            d.qkv_width().into(),
            settings.rows.into(),
            settings.seq.into(),
            d.n_heads.into(),
            d.n_kv_heads.into(),
            self.score_scale().into(),
        ];
        let inputs = &self.buffers.inputs;

        let mut args: Vec<Arg> = flash.maps[layer].key_value.map(Into::into).into();
        args.extend(statistics);
        args.extend::<[Arg; 3]>([inputs.ends, gradients.key, gradients.value].map(Into::into));
        args.extend(sizes);
        let geometry = flash.key_value.geometry(settings, d.n_kv_heads);
        self.run("attention", flash.key_value.kernel, geometry, &args)?;

        let mut args: Vec<Arg> = flash.maps[layer].query.map(Into::into).into();
        args.extend(statistics);
        args.extend::<[Arg; 2]>([inputs.starts, gradients.query].map(Into::into));
        args.extend(sizes);
        let geometry = flash.query.geometry(settings, d.n_heads);
        self.run("attention", flash.query.kernel, geometry, &args)
    }

    fn score_scale(&self) -> f32 {
        (self.settings.decoder.head_dim as f64).sqrt().recip() as f32
    }
}
