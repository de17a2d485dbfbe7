//! NLTK's English tokenizers, token for token: Punkt sentences, then Treebank words within each.
//!
//! Written after NLTK 3.10, as scanners without a regular-expression engine. NLTK matches with the `regex` package,
//! so `\s`, `\w` and `\d` are that package's here, save where NLTK itself uses `re` (contractions).

mod punkt;
mod substitutions;
mod words;

pub use self::punkt::Punkt;
pub use self::words::{Token, WordTokenizer};
