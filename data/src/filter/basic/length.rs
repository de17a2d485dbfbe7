//! Rule family: how long the text, its words and its lines are.

use super::Measure;

/// The quantities of this family.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "n_chars",
        about: "characters (Unicode code points)",
        value: |s| s.n_chars as f64,
    },
    Measure {
        name: "n_words",
        about: "runs of characters between whitespace",
        value: |s| s.n_words as f64,
    },
    Measure {
        name: "mean_word_length",
        about: "characters per word (Gopher; MAP-Neo E1 counts punctuation marks as words)",
        value: |s| s.share(s.n_word_chars, s.n_words),
    },
    Measure {
        name: "mean_line_length",
        about: "characters per line that is not blank",
        value: |s| s.share(s.n_line_chars, s.n_lines),
    },
    Measure {
        name: "max_line_length",
        about: "characters of the longest line (minified or generated code)",
        value: |s| s.max_line_chars as f64,
    },
];
