//! Text as CPython 3.11 sees it: what counts as a letter, a space, a line or a word there.
//!
//! MAP-Neo's filters are Python, and their verdicts hang on its notions: 29 white characters, ten line breaks, a
//! `\w` without combining marks, Unicode 14.0. Rust's own notions differ in each of these, so the filters use
//! only what is here. Everything is a function of characters or `&str`; nothing is allocated where nothing changes.

mod class;
mod mersenne;
mod normal;
mod split;

pub use self::class::{Class, is_alpha, is_digit, is_punctuation, is_upper};
pub use self::mersenne::MersenneTwister;
pub use self::normal::{lower, nfkc};
pub use self::split::{SplitLines, SplitWords, split_lines, split_words, strip};
