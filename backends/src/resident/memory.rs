//! The plan of the step's memory: the place of every buffer, before anything is allocated.
//!
//! One allocation holds all of it, so nothing grows and the plan is what the card is asked for, to
//! the byte. Beside it the driver takes its own share, and products a fixed workspace
//! (`cuda.rs`). Scratch buffers that are never alive together share a place, as told at each.

use std::fmt;

use serde::Serialize;

use super::{
    Settings,
    attention::{self, Composed},
    card::{Address, Element, bytes_of},
    parameters::ParameterTable,
    shape::Keep,
};

/// Buffers begin at multiples of this.
const ALIGNMENT: u64 = 1024;
/// What a card takes beside the plan: compiled kernels, the products' library and its workspace.
pub const BESIDE_THE_PLAN: u64 = 1 << 30;
/// Logits of one chunk of tokens, about, in bytes: each chunk reads and writes the whole gradient of
/// the head.
const LOGITS_BYTES: usize = 1 << 30;
/// Blocks that each leave a share of a norm's gradient.
pub(crate) const NORM_BLOCKS: usize = 528;
/// Blocks that each leave a share of the gradient's square.
pub(crate) const SQUARE_BLOCKS: usize = 1024;
/// Numbers that the update reads: see `kernels/adamw.cu`.
pub(crate) const UPDATE_SETTINGS: usize = 8;

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Master weights, f32.
    Weights,
    /// The copy that is multiplied.
    Copy,
    /// Gradient sums, f32.
    Gradients,
    /// Both moments.
    Moments,
    /// What blocks keep for their backward.
    Kept,
    /// What one block at a time works in.
    Work,
    /// Logits of one chunk of tokens.
    Logits,
    /// Ids, targets, tables and small results.
    Tables,
}

/// Bytes by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Each part that takes any, in order.
    pub parts: Vec<(Part, u64)>,
}

impl MemoryPlan {
    /// The plan of a step; `has_hopper` says whether the card has Hopper's matrix units.
    pub fn new(settings: &Settings, has_hopper: bool) -> Self {
        Buffers::place(settings, has_hopper, Address::NULL).1
    }

    /// All parts.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, bytes) in &self.parts {
            let text = match part {
                Part::Weights => "master weights, f32",
                Part::Copy => "copy of the weights that is multiplied",
                Part::Gradients => "gradient sums, f32",
                Part::Moments => "moments",
                Part::Kept => "kept for the backward",
                Part::Work => "one block at work",
                Part::Logits => "logits of a chunk",
                Part::Tables => "ids, tables, results",
            };
            writeln!(f, "{:>10.3} GiB  {text}", *bytes as f64 / f64::from(1 << 30))?;
        }
        write!(f, "{:>10.3} GiB  together", self.total() as f64 / f64::from(1 << 30))
    }
}

/// Hands out places one behind the other.
struct Places {
    next: u64,
    plan: MemoryPlan,
}

impl Places {
    fn take(&mut self, part: Part, numbers: usize, bytes_each: usize) -> Address {
        let at = Address(self.next);
        let bytes = (numbers as u64 * bytes_each as u64).next_multiple_of(ALIGNMENT);
        self.next += bytes;
        match self.plan.parts.iter_mut().find(|(of, _)| *of == part) {
            Some((_, sum)) => *sum += bytes,
            None => self.plan.parts.push((part, bytes)),
        }
        at
    }

    fn elements(&mut self, part: Part, numbers: usize, element: Element) -> Address {
        self.take(part, numbers, bytes_of(element))
    }

    fn floats(&mut self, part: Part, numbers: usize) -> Address {
        self.take(part, numbers, 4)
    }

    fn ints(&mut self, numbers: usize) -> Address {
        self.take(Part::Tables, numbers, 4)
    }
}

/// Activations of one block; those that it does not keep are the same place for all blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockBuffers {
    /// `[tokens, d_model]`, the residual stream on the way in.
    pub(crate) x: Address,
    /// `[tokens]`.
    pub(crate) x_rstd: Address,
    /// `[tokens, qkv_width]`, after RoPE.
    pub(crate) qkv: Address,
    /// `[tokens, query_width]`.
    pub(crate) attended: Address,
    /// `[rows, n_heads, seq]`, log-sum-exp of scores.
    pub(crate) lse: Address,
    /// `[tokens, d_model]`, the residual stream between attention and feed-forward.
    pub(crate) middle: Address,
    /// `[tokens]`.
    pub(crate) middle_rstd: Address,
    /// `[tokens, 2 d_ff]`, gate before up; in the backward their gradients.
    pub(crate) gate_up: Address,
}

/// Every buffer of the step.
#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    pub(crate) weights: Address,
    /// The weights that are multiplied; in f32 the master weights themselves.
    pub(crate) copy: Address,
    pub(crate) gradients: Address,
    pub(crate) exp_avg: Address,
    pub(crate) exp_avg_sq: Address,
    pub(crate) blocks: Vec<BlockBuffers>,
    /// The last block's output, `[tokens, d_model]`, and its norm's factors.
    pub(crate) top: Address,
    pub(crate) top_rstd: Address,
    /// A norm's output, then the gradient of it; between these the gradient of attended values.
    pub(crate) wide: Address,
    /// `[tokens, d_ff]`, the gated activation, and its gradient.
    pub(crate) gated: Address,
    /// `[tokens, d_model]`, the gradient of the residual stream, changed in place.
    pub(crate) dx: Address,
    /// `[tokens, qkv_width]`.
    pub(crate) d_qkv: Address,
    /// `[rows, n_heads, seq]`, row sums of attended values times their gradient.
    pub(crate) delta: Address,
    /// What attention without Hopper's units works in.
    pub(crate) composed: Option<Composed>,
    pub(crate) norm_partial: Address,
    pub(crate) logits: Address,
    /// Tokens whose logits are there at a time.
    pub(crate) logits_rows: usize,
    pub(crate) log_probs: Address,
    pub(crate) log_sums: Address,
    pub(crate) totals: Address,
    pub(crate) square_partial: Address,
    pub(crate) norm_and_scale: Address,
    pub(crate) update_settings: Address,
    pub(crate) inputs: Inputs,
    pub(crate) cos: Address,
    pub(crate) sin: Address,
}

/// What the host writes for each micro-batch, `[tokens]` each, in one piece of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs {
    pub(crate) ids: Address,
    pub(crate) targets: Address,
    pub(crate) loss_weights: Address,
    /// Absent where attention goes over the row.
    pub(crate) starts: Address,
    pub(crate) ends: Address,
    /// Distinct ids, where their tokens begin in `order`, and tokens by id; see `embedding.cu`.
    pub(crate) id_rows: Address,
    pub(crate) id_first: Address,
    pub(crate) id_order: Address,
}

impl Buffers {
    /// Places every buffer from `base` on.
    pub(crate) fn place(
        settings: &Settings,
        has_hopper: bool,
        base: Address,
    ) -> (Self, MemoryPlan) {
        let mut places = Places { next: base.0, plan: MemoryPlan::default() };
        let table = ParameterTable::new(&settings.decoder);
        let Settings { decoder, element, moments, .. } = *settings;
        let tokens = settings.tokens();
        let d = decoder.d_model;
        let weights = places.floats(Part::Weights, table.total);
        let copy = match element {
            Element::F32 => weights,
            Element::Bf16 => places.elements(Part::Copy, table.total, element),
        };
        let gradients = places.floats(Part::Gradients, table.total);
        let [exp_avg, exp_avg_sq] =
            [(); 2].map(|()| places.elements(Part::Moments, table.total, moments));
        let blocks = place_blocks(&mut places, settings);
        let logits_rows = logits_rows(settings);
        let widest = d.max(decoder.query_width());
        let row_statistics = settings.rows * decoder.n_heads * settings.seq;
        let buffers = Self {
            weights,
            copy,
            gradients,
            exp_avg,
            exp_avg_sq,
            blocks,
            top: places.elements(Part::Kept, tokens * d, element),
            top_rstd: places.floats(Part::Kept, tokens),
            wide: places.elements(Part::Work, tokens * widest, element),
            gated: places.elements(Part::Work, tokens * decoder.d_ff, element),
            dx: places.elements(Part::Work, tokens * d, element),
            d_qkv: places.elements(Part::Work, tokens * decoder.qkv_width(), element),
            delta: places.floats(Part::Work, row_statistics),
            composed: attention::Composed::place(settings, has_hopper, |numbers, element| {
                places.elements(Part::Work, numbers, element)
            }),
            norm_partial: places.floats(Part::Work, NORM_BLOCKS * d),
            logits: places.elements(Part::Logits, logits_rows * decoder.vocab, element),
            logits_rows,
            log_probs: places.floats(Part::Tables, tokens),
            log_sums: places.floats(Part::Tables, tokens),
            totals: places.floats(Part::Tables, 2),
            square_partial: places.take(Part::Tables, SQUARE_BLOCKS, 8),
            norm_and_scale: places.floats(Part::Tables, 2),
            update_settings: places.floats(Part::Tables, UPDATE_SETTINGS),
            inputs: place_inputs(&mut places, settings),
            cos: places.floats(Part::Tables, settings.seq * decoder.head_dim / 2),
            sin: places.floats(Part::Tables, settings.seq * decoder.head_dim / 2),
        };
        (buffers, places.plan)
    }

    /// The residual stream on the way out of a block.
    pub(crate) fn after(&self, layer: usize) -> Address {
        self.blocks.get(layer + 1).map_or(self.top, |next| next.x)
    }
}

fn place_inputs(places: &mut Places, settings: &Settings) -> Inputs {
    let tokens = settings.tokens();
    let mut limits = || if settings.documents { places.ints(tokens) } else { Address::NULL };
    let (starts, ends) = (limits(), limits());
    Inputs {
        ids: places.ints(tokens),
        targets: places.ints(tokens),
        loss_weights: places.floats(Part::Tables, tokens),
        starts,
        ends,
        id_rows: places.ints(tokens),
        id_first: places.ints(tokens + 1),
        id_order: places.ints(tokens),
    }
}

/// Each block's input; the rest for each block or once for all of them.
fn place_blocks(places: &mut Places, settings: &Settings) -> Vec<BlockBuffers> {
    let Settings { decoder, element, keep, .. } = *settings;
    let (tokens, d) = (settings.tokens(), decoder.d_model);
    let row_statistics = settings.rows * decoder.n_heads * settings.seq;
    let attention = |places: &mut Places, part, x| BlockBuffers {
        x,
        x_rstd: places.floats(part, tokens),
        qkv: places.elements(part, tokens * decoder.qkv_width(), element),
        attended: places.elements(part, tokens * decoder.query_width(), element),
        lse: places.floats(part, row_statistics),
        middle: places.elements(part, tokens * d, element),
        middle_rstd: places.floats(part, tokens),
        gate_up: Address::NULL,
    };
    let gate_up =
        |places: &mut Places, part| places.elements(part, 2 * tokens * decoder.d_ff, element);
    let shared_attention =
        (keep == Keep::Input).then(|| attention(places, Part::Work, Address::NULL));
    let shared_gate_up = (keep != Keep::All).then(|| gate_up(places, Part::Work));
    let block = |_| {
        let x = places.elements(Part::Kept, tokens * d, element);
        let block = match shared_attention {
            Some(shared) => BlockBuffers { x, ..shared },
            None => attention(places, Part::Kept, x),
        };
        let gate_up = shared_gate_up.unwrap_or_else(|| gate_up(places, Part::Kept));
        BlockBuffers { gate_up, ..block }
    };
    (0..decoder.n_layers).map(block).collect()
}

/// Tokens of a chunk of logits: few enough for their bytes, chunks of about equal size.
fn logits_rows(settings: &Settings) -> usize {
    let row = settings.decoder.vocab * bytes_of(settings.element);
    let most = (LOGITS_BYTES / row).max(1);
    let n_chunks = settings.tokens().div_ceil(most);
    let rows = settings.tokens().div_ceil(n_chunks);
    rows.next_multiple_of(128).min(most.max(128)).min(settings.tokens())
}
