//! Attention on the card, in one of two forms chosen by what the card has.
//!
//! `flash` is our kernel for Hopper's matrix units in bf16; `composed` takes chunks of queries
//! through products, in any format on any card. Both read queries, keys and values side by side in
//! `[tokens, qkv_width]` and keep memory linear in the length of a row.

mod composed;
mod flash;

pub(crate) use composed::Composed;
pub use flash::launches;

use super::{
    Card, Error, Settings, Step,
    card::{Address, bytes_of},
    memory::Buffers,
};
use crate::Precision;
use composed::ComposedKernels;
use flash::Flash;

/// The form and its kernels.
pub(crate) enum Attention {
    Flash(Flash),
    Composed(ComposedKernels),
}

impl Attention {
    pub(crate) fn new(
        card: &dyn Card,
        settings: &Settings,
        buffers: &Buffers,
    ) -> Result<Self, Error> {
        Ok(match buffers.composed {
            None => Self::Flash(Flash::new(card, settings, buffers)?),
            Some(_) => Self::Composed(ComposedKernels::compile(card, settings)?),
        })
    }
}

/// Whether the flash kernels take this shape.
fn takes_flash(settings: &Settings, has_hopper: bool) -> bool {
    let head_dim = settings.decoder.head_dim;
    let fits = head_dim.is_multiple_of(8) && head_dim <= 256;
    has_hopper && settings.element == Precision::Bf16 && fits
}

/// The heads of queries, keys and values, or of their gradients, in one array.
#[derive(Clone, Copy)]
struct Heads {
    query: Address,
    key: Address,
    value: Address,
}

impl Heads {
    fn of(settings: &Settings, qkv: Address) -> Self {
        let (d, bytes) = (&settings.decoder, bytes_of(settings.element));
        let key = qkv.offset(d.query_width() * bytes);
        Self { query: qkv, key, value: key.offset(d.key_width() * bytes) }
    }
}

impl Step {
    /// Attended values and log-sum-exp of a block, from its queries, keys and values.
    pub(crate) fn attention_forward(&self, layer: usize) -> Result<(), Error> {
        match &self.attention {
            Attention::Flash(flash) => self.flash_forward(flash, layer),
            Attention::Composed(kernels) => self.composed_forward(kernels, layer),
        }
    }

    /// Gradients of queries, keys and values in `d_qkv`, from that of attended values in `wide`.
    pub(crate) fn attention_backward(&self, layer: usize) -> Result<(), Error> {
        match &self.attention {
            Attention::Flash(flash) => self.flash_backward(flash, layer),
            Attention::Composed(kernels) => self.composed_backward(kernels, layer),
        }
    }
}
