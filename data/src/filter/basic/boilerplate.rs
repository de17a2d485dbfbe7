//! Rule family: marks of pages that were laid out but not written.

use super::Measure;

/// The quantities of this family.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "lorem_ipsum_count",
        about: "occurrences of `lorem ipsum` in any case (C4, MAP-Neo E13)",
        value: |s| s.n_lorem_ipsum as f64,
    },
    Measure {
        name: "ellipsis_line_share",
        about: "lines that end in an ellipsis / lines that are not blank, 0 for fewer than 5 lines \
                (Gopher; MAP-Neo E2 divides by characters)",
        value: |s| if s.n_lines < 5 { 0.0 } else { s.share(s.n_ellipsis_lines, s.n_lines) },
    },
    Measure {
        name: "sentences_per_line",
        about: "ends of sentences / lines that are not blank (after C4, which wants every line to end \
                like a sentence)",
        value: |s| s.share(s.n_sentences, s.n_lines),
    },
    Measure {
        name: "bullet_line_share",
        about: "lines that begin with a bullet / lines that are not blank (Gopher, MAP-Neo E3)",
        value: |s| s.share(s.n_bullet_lines, s.n_lines),
    },
];
