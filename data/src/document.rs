//! The noun of the cleaning half: one text with its provenance.
//!
//! Also holds the two things decided from a document alone: its size and whether it is held out.

mod origin;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::origin::Origin;

/// One held-out document in this many: by the hash of its id, so no list has to be kept.
const HELD_OUT_ONE_IN: u64 = 50;

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
    /// Where the record lies that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Document {
    /// Whether the document is kept out of training, for held-out figures.
    ///
    /// A pure function of the id: the first 8 bytes (little-endian) of its SHA-256, modulo 50, is 0.
    /// Asked after deduplication, so that no copy of a held-out text is trained on.
    pub fn is_held_out(&self) -> bool {
        let digest = Sha256::digest(self.id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first).is_multiple_of(HELD_OUT_ONE_IN)
    }

    /// Length of the text in Unicode code points.
    pub fn n_chars(&self) -> u64 {
        self.text.chars().count() as u64
    }
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

impl Language {
    /// Every language, in the order of reports.
    pub const ALL: [Self; 4] = [Self::En, Self::Zh, Self::Code, Self::Other];

    /// The name in files and flags: `en`, `zh`, `code`, `other`.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
            Self::Code => "code",
            Self::Other => "other",
        }
    }

    /// The language of that name, the reverse of [`Language::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }
}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_out(id: &str) -> bool {
        let document = Document {
            id: id.to_owned(),
            text: String::new(),
            source: String::new(),
            url: None,
            language: Language::En,
            meta: serde_json::Map::new(),
            origin: None,
        };
        document.is_held_out()
    }

    #[test]
    fn held_out_follows_the_hash_of_the_id() {
        // python: int.from_bytes(hashlib.sha256(id).digest()[:8], "little") % 50 == 0
        let chosen: Vec<usize> = (0..200).filter(|i| held_out(&format!("doc-{i}"))).collect();
        assert_eq!(chosen, [46, 75, 159, 163]);
    }

    #[test]
    fn names_go_both_ways() {
        for language in Language::ALL {
            assert_eq!(Language::from_name(language.name()), Some(language));
        }
        assert_eq!(Language::from_name("EN"), None);
    }
}
