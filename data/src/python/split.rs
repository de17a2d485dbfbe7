//! Cutting text as `str.split`, `str.strip` and `str.splitlines` do. For `s.split("\n")` use Rust's `split('\n')`.

use super::Class;

/// The words of a text: `str.split()`, maximal runs of characters that are not white.
pub fn split_words(text: &str) -> SplitWords<'_> {
    SplitWords { rest: text }
}

/// Iterator of [`split_words`].
#[derive(Clone, Debug)]
pub struct SplitWords<'a> {
    rest: &'a str,
}

impl<'a> Iterator for SplitWords<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let start = first(self.rest, false)?;
        let rest = &self.rest[start..];
        let end = first(rest, true).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }
}

/// Place of the first character that is white, or of the first that is not.
#[inline]
fn first(text: &str, white: bool) -> Option<usize> {
    for (idx, &byte) in text.as_bytes().iter().enumerate() {
        if !byte.is_ascii() {
            let rest = text[idx..].char_indices();
            let mut of_kind = rest.filter(|&(_, c)| Class::of(c).is(Class::SPACE) == white);
            return of_kind.next().map(|(place, _)| idx + place);
        }
        if Class::of_ascii(byte).is(Class::SPACE) == white {
            return Some(idx);
        }
    }
    None
}

/// `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(|c| Class::of(c).is(Class::SPACE))
}

/// The lines of a text: `str.splitlines()`, which breaks at ten characters and at CR LF as one, and sees no
/// empty line after the last break.
pub fn split_lines(text: &str) -> SplitLines<'_> {
    SplitLines { rest: text }
}

/// Iterator of [`split_lines`].
#[derive(Clone, Debug)]
pub struct SplitLines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for SplitLines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (end, next) = line_break(self.rest).unwrap_or((self.rest.len(), self.rest.len()));
        let line = &self.rest[..end];
        self.rest = &self.rest[next..];
        Some(line)
    }
}

/// Where the first line ends and where the next begins.
fn line_break(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    for (idx, &byte) in bytes.iter().enumerate() {
        let length = match (byte, bytes.get(idx + 1), bytes.get(idx + 2)) {
            (b'\r', Some(b'\n'), _) => 2,
            (b'\n'..=b'\r' | 0x1c..=0x1e, ..) => 1,
            (0xc2, Some(0x85), _) => 2,
            (0xe2, Some(0x80), Some(0xa8 | 0xa9)) => 3,
            _ => continue,
        };
        return Some((idx, idx + length));
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_words(text: &str, expected: &[&str]) {
        assert_eq!(split_words(text).collect::<Vec<_>>(), expected, "{text:?}");
    }

    fn check_lines(text: &str, expected: &[&str]) {
        assert_eq!(split_lines(text).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn words_stand_between_any_of_the_29() {
        check_words("", &[]);
        check_words(" \u{a0}\u{1f}", &[]);
        check_words("a\u{1c}b\u{85}c\u{2028}汉\u{3000}字 d", &["a", "b", "c", "汉", "字", "d"]);
        check_words("é\u{200b}è\u{feff} \u{180e}", &["é\u{200b}è\u{feff}", "\u{180e}"]);
    }

    #[test]
    fn lines_end_at_ten_characters() {
        check_lines("", &[]);
        check_lines("\n", &[""]);
        check_lines("a\r\nb\rc\n\nd", &["a", "b", "c", "", "d"]);
        check_lines("a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f", &["a", "b", "c", "d", "e", "f"]);
        check_lines("a\u{1f}b\u{85}c\u{2028}é\u{2029}", &["a\u{1f}b", "c", "é"]);
        check_lines("\u{2026}\u{c5}", &["\u{2026}\u{c5}"]);
    }

    #[test]
    fn both_ends_are_stripped() {
        assert_eq!(strip("\u{1f}\u{3000} a b\u{200b}\u{2003}\n"), "a b\u{200b}");
        assert_eq!(strip(" \n"), "");
    }

    proptest! {
        #[test]
        fn words_are_what_a_plain_split_gives(text in "[a é\u{85}\u{1c}\u{3000}汉\n]*") {
            let plain = text.split(|c| Class::of(c).is(Class::SPACE)).filter(|word| !word.is_empty());
            prop_assert_eq!(split_words(&text).collect::<Vec<_>>(), plain.collect::<Vec<_>>());
        }
    }
}
