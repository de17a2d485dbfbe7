//! The stages of a recipe: settings as they are typed, and what they make ready to run.
//!
//! A kind of stage is a file here. Most look at one document at a time and are a [`Judge`]; one that compares
//! documents with each other is a [`Method`], which `deduplicate` runs.

pub(super) mod decontaminate;
pub(super) mod dedup;
mod filter;
mod mask;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use self::{dedup::Dedup, filter::Filter};
use crate::{
    Document, Language, Result,
    decontaminate::Settings,
    dedup::Method,
    engine::Fingerprint,
    filter::Limit,
    personal::{Kinds, Masked},
    write::Value,
};

/// One `[[stage]]` of a recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Stage {
    /// Rules that judge documents.
    Filter(Filter),
    /// Copies go.
    Dedup(Dedup),
    /// Documents that repeat evaluation sets go.
    Decontaminate(Settings),
    /// Personal data gives way to placeholders.
    Mask(Kinds),
}

/// A stage whose settings were checked and whose assets are loaded.
pub struct Ready {
    /// What it is called in accounts.
    pub name: &'static str,
    /// Everything that its work depends on besides its input, as accounts show it.
    pub settings: serde_json::Value,
    /// The same, with the code's version and the contents of the files that it looks things up in.
    pub key: Fingerprint,
    /// How it works.
    pub work: Kind,
}

/// How a stage works.
pub enum Kind {
    /// Document by document.
    Judge(Box<dyn Judge>),
    /// By comparing documents.
    Compare(Box<dyn Method>),
}

/// Decides on one document at a time; from any thread.
pub trait Judge: Sync {
    /// What becomes of a document.
    fn judge(&self, document: &Document) -> Fate;

    /// What a user should know of how documents of a language are judged.
    fn caveat(&self, _language: Language) -> Option<String> {
        None
    }
}

/// What becomes of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It stays as it is.
    Keep,
    /// It stays with another text.
    Rewrite(String),
    /// It stays with placeholders for personal data, which are counted.
    Mask(Masked),
    /// It stays without some of its parts, which count as dropped.
    Cut {
        /// What is left.
        text: String,
        /// The rule by which they go, or what they are called.
        rule: Cow<'static, str>,
        /// How many there were, or what was found.
        value: Value,
    },
    /// It goes.
    Drop {
        /// The rule by which it goes.
        rule: Cow<'static, str>,
        /// What was measured or found.
        value: Value,
        /// The limit that was crossed, if there is one.
        limit: Option<Limit>,
    },
}

impl Stage {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub(super) fn validate(&self) -> Result<()> {
        match self {
            Self::Dedup(dedup) => dedup.validate(),
            Self::Filter(_) | Self::Decontaminate(_) | Self::Mask(_) => Ok(()),
        }
    }

    /// Loads what the stage needs.
    ///
    /// # Errors
    /// A file that it needs cannot be used.
    pub fn ready(&self) -> Result<Ready> {
        match self {
            Self::Filter(filter) => filter.ready(),
            Self::Dedup(dedup) => dedup.ready(),
            Self::Decontaminate(settings) => decontaminate::ready(settings),
            Self::Mask(kinds) => mask::ready(kinds),
        }
    }

    /// Applies a function to every path.
    pub(super) fn map_paths(&mut self, map: impl Fn(&str) -> String) {
        match self {
            Self::Filter(filter) => filter.map_paths(map),
            Self::Dedup(_) | Self::Mask(_) => (),
            Self::Decontaminate(settings) => decontaminate::map_paths(settings, map),
        }
    }
}

impl Ready {
    /// A stage with its identity: its name, the version of its code, its settings, and `contents` of other files.
    fn new(
        name: &'static str,
        version: u32,
        settings: serde_json::Value,
        contents: &[Fingerprint],
        work: Kind,
    ) -> Self {
        let (version, text) = (version.to_string(), settings.to_string());
        let contents = Fingerprint::of_all(contents);
        let key = Fingerprint::of(&[name, &version, &text, contents.as_str()]);
        Self { name, settings, key, work }
    }
}
