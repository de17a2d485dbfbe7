//! Rule family: how much of the text repeats what it has said.

use super::Measure;

/// The quantities of this family.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "duplicate_line_share",
        about: "characters in lines that occurred before / characters in lines (Gopher)",
        value: |s| s.share(s.n_duplicate_line_chars, s.n_line_chars),
    },
    Measure {
        name: "top_gram_share",
        about: "4 (n - 1) / characters, n being how often the most frequent run of 4 characters other than \
                whitespace occurs (MAP-Neo E28 counts whitespace too)",
        value: |s| s.share(s.n_top_gram.saturating_sub(1) * 4, s.n_chars),
    },
    Measure {
        name: "repeated_gram_share",
        about: "characters inside runs of 20 that occurred before / characters (MAP-Neo E29 to E34 as meant)",
        value: |s| s.share(s.n_repeated_gram_chars, s.n_chars),
    },
];
