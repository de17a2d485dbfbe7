//! The flash kernels for Hopper: how the host describes arrays to them and how they are launched.
//!
//! `Tiles` mirrors `kernels/attention_tiles.cuh`, where the sizes are explained and tuned; a test
//! reads that file and holds the two together.

use super::{
    super::{
        Card, Error, Settings, Step,
        card::{Address, Arg, Geometry, Kernel, TensorMap, TiledArray},
        memory::Buffers,
        sources,
    },
    Heads,
};

/// Columns of a box: 128 bytes, the width of the swizzle.
const BOX_COLUMNS: u32 = 64;
/// Rows of a consumer's own tile.
const CONSUMER_ROWS: u32 = 64;
/// Bytes behind the tiles for barriers.
const BARRIER_BYTES: u32 = 1024;

/// How a kernel cuts its work, for one width of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tiles {
    /// Warpgroups that multiply.
    consumers: u32,
    /// Rows of a streamed tile.
    rows: u32,
    /// Tiles of each stream in flight.
    stages: u32,
}

/// By width: 64, 128, 192, 256.
const FORWARD: [Tiles; 4] = [tiles(3, 128, 4), tiles(2, 128, 2), tiles(2, 112, 2), tiles(2, 80, 2)];
const KEY_VALUE: [Tiles; 4] = [tiles(2, 64, 4), tiles(2, 64, 3), tiles(2, 96, 2), tiles(2, 64, 2)];
const QUERY: [Tiles; 4] = [tiles(2, 128, 4), tiles(2, 96, 3), tiles(2, 64, 2), tiles(2, 64, 1)];

const fn tiles(consumers: u32, rows: u32, stages: u32) -> Tiles {
    Tiles { consumers, rows, stages }
}

/// The compiled kernels, and the arrays of every block described to them.
pub(crate) struct Flash {
    forward: Kernel,
    delta: Kernel,
    key_value: Kernel,
    query: Kernel,
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
        let names = [
            "attention_forward",
            "attention_delta",
            "attention_backward_key_value",
            "attention_backward_query",
        ];
        let kernels = card.kernels(&sources::ATTENTION_SM90, &macros, &names)?;
        let map = |block: &super::super::memory::BlockBuffers| {
            BlockMaps::new(card, settings, block.qkv, buffers.wide)
        };
        Ok(Self {
            forward: kernels[0],
            delta: kernels[1],
            key_value: kernels[2],
            query: kernels[3],
            maps: buffers.blocks.iter().map(map).collect::<Result<_, _>>()?,
        })
    }
}

impl BlockMaps {
    fn new(
        card: &dyn Card,
        settings: &Settings,
        qkv: Address,
        d_attended: Address,
    ) -> Result<Self, Error> {
        let decoder = &settings.decoder;
        let heads = Heads::of(settings, qkv);
        let (row, n_heads, n_kv) = (decoder.qkv_width(), decoder.n_heads, decoder.n_kv_heads);
        let map = |at, n_heads, row, rows| {
            card.tensor_map(&heads_array(settings, at, n_heads, row, rows))
        };
        let query = |rows| map(heads.query, n_heads, row, rows);
        let key = |rows| map(heads.key, n_kv, row, rows);
        let value = |rows| map(heads.value, n_kv, row, rows);
        let d_out = |rows| map(d_attended, n_heads, decoder.query_width(), rows);
        let width = width_index(settings);
        let (streamed, own) = (FORWARD[width].rows, FORWARD[width].own_queries());
        let forward = [query(own)?, key(streamed)?, value(streamed)?];
        let (streamed, own) = (KEY_VALUE[width].rows, own_keys(width));
        let key_value = [query(streamed)?, key(own)?, value(own)?, d_out(streamed)?];
        let (streamed, own) = (QUERY[width].rows, QUERY[width].own_queries());
        let query = [query(own)?, key(streamed)?, value(streamed)?, d_out(own)?];
        Ok(Self { forward, key_value, query })
    }
}

impl Tiles {
    fn threads(self) -> u32 {
        128 * (self.consumers + 1)
    }

    fn own_queries(self) -> u32 {
        CONSUMER_ROWS * self.consumers
    }

    /// Blocks, threads and memory where a block keeps `own_rows` rows of `n_own` arrays.
    fn geometry(self, settings: &Settings, heads: usize, own_rows: u32, n_own: u32) -> Geometry {
        let width = 64 * (width_index(settings) as u32 + 1);
        let blocks = settings.seq.div_ceil(own_rows as usize) * heads * settings.rows;
        let tile_rows = n_own * own_rows + 2 * self.stages * self.rows;
        let shared_bytes = tile_rows * width * 2 + BARRIER_BYTES;
        Geometry { grid: [blocks as u32, 1, 1], threads: self.threads(), shared_bytes }
    }
}

/// Keys of a block of the key and value kernel: above 128 columns two consumers share theirs.
fn own_keys(width: usize) -> u32 {
    let consumers = KEY_VALUE[width].consumers;
    CONSUMER_ROWS * if width < 2 { consumers } else { consumers / 2 }
}

/// The place of a head's width, rounded up to 64 columns, in the tables.
fn width_index(settings: &Settings) -> usize {
    settings.decoder.head_dim.div_ceil(64) - 1
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
        let tiles = FORWARD[width_index(settings)];
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
        let heads = settings.decoder.n_heads;
        let geometry = tiles.geometry(settings, heads, tiles.own_queries(), 1);
        self.run("attention", flash.forward, geometry, &args)
    }

    pub(super) fn flash_backward(&self, flash: &Flash, layer: usize) -> Result<(), Error> {
        let (block, settings) = (&self.buffers.blocks[layer], &self.settings);
        let gradients = Heads::of(settings, self.buffers.d_qkv);
        let d = &settings.decoder;
        let width = width_index(settings);
        let delta = [
            block.attended.into(),
            self.buffers.wide.into(),
            self.buffers.delta.into(),
            settings.seq.into(),
            d.n_heads.into(),
        ];
        self.run("attention", flash.delta, self.by_row(), &delta)?;
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
        args.extend::<[Arg; 2]>([inputs.starts.into(), inputs.ends.into()]);
        args.extend::<[Arg; 2]>([gradients.key.into(), gradients.value.into()]);
        args.extend(sizes);
        let geometry = KEY_VALUE[width].geometry(settings, d.n_kv_heads, own_keys(width), 2);
        self.run("attention", flash.key_value, geometry, &args)?;

        let mut args: Vec<Arg> = flash.maps[layer].query.map(Into::into).into();
        args.extend(statistics);
        args.extend::<[Arg; 2]>([inputs.starts.into(), gradients.query.into()]);
        args.extend(sizes);
        let tiles = QUERY[width];
        let geometry = tiles.geometry(settings, d.n_heads, tiles.own_queries(), 2);
        self.run("attention", flash.query, geometry, &args)
    }

    fn score_scale(&self) -> f32 {
        (self.settings.decoder.head_dim as f64).sqrt().recip() as f32
    }
}
