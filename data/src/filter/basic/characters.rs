//! Rule family: what kinds of characters and words the text is made of.

use super::Measure;

/// The quantities of this family.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "alphabetic_char_share",
        about: "letters / characters that are not whitespace",
        value: |s| s.share(s.n_letters, s.n_word_chars),
    },
    Measure {
        name: "alphabetic_word_share",
        about: "words with at least one letter / words (Gopher; MAP-Neo E4 divides by characters)",
        value: |s| s.share(s.n_words_with_letter, s.n_words),
    },
    Measure {
        name: "han_share",
        about: "Chinese characters / letters",
        value: |s| s.share(s.n_han, s.n_letters),
    },
    Measure {
        name: "digit_share",
        about: "digits / characters that are not whitespace (MAP-Neo C8)",
        value: |s| s.share(s.n_digits, s.n_word_chars),
    },
    Measure {
        name: "upper_case_word_share",
        about: "words of two or more letters, all upper case / words (MAP-Neo E15 counts `I` and `A`)",
        value: |s| s.share(s.n_upper_words, s.n_words),
    },
    Measure {
        name: "symbol_word_share",
        about: "hash signs and ellipses / words (Gopher, MAP-Neo E7)",
        value: |s| s.share(s.n_symbols, s.n_words),
    },
    Measure {
        name: "curly_bracket_share",
        about: "curly brackets / characters (C4, MAP-Neo E12)",
        value: |s| s.share(s.n_curly, s.n_chars),
    },
    Measure {
        name: "code_mark_share",
        about: "brackets, `;`, `=` and `_` / characters that are not whitespace",
        value: |s| s.share(s.n_code_marks, s.n_word_chars),
    },
    Measure {
        name: "distinct_chars",
        about: "different characters (MAP-Neo C12 divides by the length, which drops long texts)",
        value: |s| s.n_distinct_chars as f64,
    },
];
