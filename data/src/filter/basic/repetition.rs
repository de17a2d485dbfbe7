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
        about: "4 (n - 1) / letters and digits, n being how often the most frequent run of 4 of them \
                occurs (MAP-Neo E28, which counts every character)",
        value: |s| s.share(s.n_top_gram.saturating_sub(1) * 4, s.n_alphanumeric),
    },
    Measure {
        name: "repeated_gram_share",
        about: "letters and digits inside runs of 20 that occurred before / letters and digits \
                (MAP-Neo E29 to E34 as meant)",
        value: |s| s.share(s.n_repeated_gram_chars, s.n_alphanumeric),
    },
];
