//! What equality with lm-evaluation-harness owes to CPython: random draws, printed values, literals,
//! regular expressions, string tests.
//!
//! Prompts, shots and marks of that program are made of these, so each is equal to CPython's to the
//! bit where a number or a string comes out.

pub mod literal;
pub mod random;
pub mod regex;
pub mod value;

use neo_data::python::Class;

/// `str.isspace` of one character: also what `\s` matches.
pub fn is_space(c: char) -> bool {
    Class::of(c).is(Class::SPACE)
}

/// `str.rstrip()`.
pub fn rstrip(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

/// `len(re.split(r"\s+", text))`: an empty piece at either end counts.
pub fn count_words(text: &str) -> usize {
    let mut runs = 0;
    let mut in_run = false;
    for c in text.chars() {
        let space = is_space(c);
        runs += usize::from(space && !in_run);
        in_run = space;
    }
    runs + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_pieces_between_runs_of_white_space() {
        let check = |text, expected| assert_eq!(count_words(text), expected, "{text:?}");
        check("", 1);
        check("a", 1);
        check(" a \n b ", 4);
        check("a\u{3000}b\u{1f}c", 3);
    }
}
