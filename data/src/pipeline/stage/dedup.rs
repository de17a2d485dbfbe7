//! `kind = "dedup"`: of copies one stays, by one of the methods of `dedup`.

use serde::{Deserialize, Serialize};

use super::{Fate, Judge, Kind, Ready};
use crate::{
    Document, Error, Result,
    dedup::{
        Compares, MIN_CHARS, Method, Mode, Outcome,
        exact::Exact,
        lines::Lines,
        minhash::{MinHash, Normalise, Scheme},
        paragraph::Paragraph,
        substring::Substring,
        words::Words,
    },
    filter::Limit,
    write::Value,
};

/// Changes whenever the keys or the verdicts of a method do.
const VERSION: u32 = 1;

/// A way to find copies, with its settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum Dedup {
    /// Documents whose texts are equal.
    Exact {},
    /// Documents whose texts are equal up to whitespace; the first that was read stays.
    Words {},
    /// Documents that are nearly equal.
    Minhash {
        /// How signatures are computed.
        scheme: Scheme,
        /// What is done to texts before.
        normalise: Normalise,
        /// Whether texts too short for a signature are copies of each other.
        mode: Mode,
    },
    /// Paragraphs that occur before in any document.
    Paragraph {
        /// Whether empty paragraphs count.
        mode: Mode,
    },
    /// Stretches of 50 characters that occur before in any document.
    Substring {
        /// Whether a text's last stretch is missed.
        mode: Mode,
    },
    /// Sentences that are nearly equal to an earlier one of the same document.
    Lines {
        /// Edits allowed per character.
        proportion: f64,
    },
}

impl Dedup {
    pub(super) fn validate(&self) -> Result<()> {
        match self {
            Self::Lines { proportion } if !(0.0..=1.0).contains(proportion) => {
                Err(Error::Setting(format!("`proportion` is {proportion}, expected 0 to 1")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn ready(&self) -> Result<Ready> {
        let method = self.method();
        let (name, settings) = (method.name(), method.settings());
        let work = match method.compares() {
            Compares::Nothing => Kind::Judge(Box::new(Alone(method))),
            _ => Kind::Compare(method),
        };
        Ok(Ready::new(name, VERSION, settings, &[], work))
    }

    /// The method, ready to run.
    pub(in crate::pipeline) fn method(&self) -> Box<dyn Method> {
        match *self {
            Self::Exact {} => Box::new(Exact),
            Self::Words {} => Box::new(Words),
            Self::Minhash { scheme, normalise, mode } => {
                Box::new(MinHash::new(scheme, normalise, mode))
            }
            Self::Paragraph { mode } => Box::new(Paragraph { mode }),
            Self::Substring { mode } => Box::new(Substring { mode }),
            Self::Lines { proportion } => Box::new(Lines { proportion }),
        }
    }
}

/// A method that looks within documents only.
struct Alone(Box<dyn Method>);

impl Judge for Alone {
    fn judge(&self, document: &Document) -> Fate {
        fate(self.0.as_ref(), &document.text, &[])
    }
}

/// What becomes of a text whose parts at these positions are repeats.
pub(in crate::pipeline) fn fate(method: &dyn Method, text: &str, repeats: &[u32]) -> Fate {
    match method.take_out(text, repeats) {
        Outcome::Keep => Fate::Keep,
        Outcome::Cut { text, n_parts } => {
            let value = Value::Number(n_parts as f64);
            Fate::Cut { text, rule: method.part().into(), value }
        }
        Outcome::TooShort(n_chars) => Fate::Drop {
            rule: "n_chars".into(),
            value: Value::Number(n_chars as f64),
            limit: Some(Limit::Min(MIN_CHARS as f64)),
        },
    }
}
