//! The runs of characters of a text, as byte ranges.

use super::SHINGLE_CHARS;

/// Longest run in bytes: four a character.
pub(super) const MAX_SHINGLE_BYTES: usize = 4 * SHINGLE_CHARS;

/// Start and end in bytes of every run of [`SHINGLE_CHARS`] characters.
pub(super) fn shingles(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let starts = text.char_indices().map(|(at, _)| at);
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).skip(SHINGLE_CHARS);
    starts.zip(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = shingles(text).map(|(start, end)| &text[start..end]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn runs_are_of_characters() {
        check("abcdefghijklm", &["abcdefghijklm"]);
        check("abcdefghijklmn", &["abcdefghijklm", "bcdefghijklmn"]);
        check("abcdefghijkl", &[]);
        check("", &[]);
        check("é文🙂defghijklmn", &["é文🙂defghijklm", "文🙂defghijklmn"]);
    }
}
