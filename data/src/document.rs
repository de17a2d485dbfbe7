//! The noun of the cleaning half: one text with its provenance.

use serde::{Deserialize, Serialize};

/// One text on its way from a raw record to tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Stable name: from the record, or `source/file:line` when the record has none.
    pub id: String,
    /// The text itself, valid UTF-8.
    pub text: String,
    /// Name of the source in the data recipe, the key of mixture weights.
    pub source: String,
    /// Address it was read from, if any.
    pub url: Option<String>,
    /// Language as the source declares it or as detected.
    pub language: Language,
    /// The untouched rest of the input record.
    pub meta: serde_json::Map<String, serde_json::Value>,
}

/// Language of a document, by which held-out figures are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
    /// Program text.
    Code,
    /// Anything else.
    Other,
}
