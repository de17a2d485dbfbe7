//! `kind = "mask"`: personal data gives way to placeholders, and every document stays.

use super::{Fate, Judge, Kind, Ready};
use crate::{
    Document, Result,
    personal::{Kinds, mask},
};

/// Changes whenever other data are found, or placeholders change.
const VERSION: u32 = 2;

pub(super) fn ready(kinds: &Kinds) -> Result<Ready> {
    let settings = serde_json::json!(kinds);
    Ok(Ready::new("mask", VERSION, settings, &[], Kind::Judge(Box::new(*kinds))))
}

impl Judge for Kinds {
    fn judge(&self, document: &Document) -> Fate {
        mask(&document.text, self).map_or(Fate::Keep, Fate::Mask)
    }
}
