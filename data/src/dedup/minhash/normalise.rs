//! What the original does to English before it takes runs of characters; used for hashing only.
//!
//! Repaired, lower-cased, ASCII punctuation deleted, whitespace runs made one space, ends trimmed.

use crate::dedup::repair::repair;

/// The text in the form in which MinHash sees English.
pub fn english(text: &str) -> String {
    let text = repair(text);
    match text.is_ascii() {
        true => join_ascii_words(text.as_bytes()),
        false => join_words(text.to_lowercase().chars()),
    }
}

fn join_words(chars: impl Iterator<Item = char>) -> String {
    let mut joined = String::new();
    let mut gap = false;
    for c in chars.filter(|c| !c.is_ascii_punctuation()) {
        if is_space(c) {
            gap = true;
            continue;
        }
        if gap && !joined.is_empty() {
            joined.push(' ');
        }
        gap = false;
        joined.push(c);
    }
    joined
}

/// As [`join_words`], without a branch on what a byte is.
fn join_ascii_words(bytes: &[u8]) -> String {
    const MEANING: [Meaning; 128] = meanings();
    let mut joined = vec![0; bytes.len()];
    let (mut n_joined, mut after_space) = (0, true);
    for &byte in bytes {
        let meaning = MEANING[usize::from(byte)];
        joined[n_joined] = meaning.becomes;
        // A space counts only behind a word, and the next character takes the place of what does not count.
        let counts = meaning.is_kept & !(meaning.is_space & after_space);
        after_space = (after_space & !meaning.is_kept) | meaning.is_space;
        n_joined += usize::from(counts);
    }
    joined.truncate(n_joined);
    if joined.last() == Some(&b' ') {
        joined.pop();
    }
    String::from_utf8(joined).expect("ASCII in, ASCII out")
}

/// What becomes of an ASCII character.
#[derive(Clone, Copy)]
struct Meaning {
    becomes: u8,
    is_space: bool,
    is_kept: bool,
}

const fn meanings() -> [Meaning; 128] {
    let mut meanings = [Meaning { becomes: 0, is_space: false, is_kept: false }; 128];
    let mut byte = 0u8;
    while byte < 128 {
        let is_space = matches!(byte, b'\t'..=b'\r' | 0x1c..=0x1f | b' ');
        meanings[byte as usize] = Meaning {
            becomes: if is_space { b' ' } else { byte.to_ascii_lowercase() },
            is_space,
            is_kept: !byte.is_ascii_punctuation(),
        };
        byte += 1;
    }
    meanings
}

/// Python's idea of whitespace: Unicode's, and four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(english(text), expected, "{text:?}");
    }

    #[test]
    fn only_words_are_left() {
        check("  Hello,\tWorld!\r\n(again)  ", "hello world again");
        check("don\u{2019}t -- \u{201c}STOP\u{201d}", "dont stop");
        check("ΟΔΟΣ\u{3000}ÉTÉ", "οδος été");
        check("a . b", "a b");
        check("...", "");
    }

    proptest! {
        #[test]
        fn ascii_is_no_exception(text in "[\\x00-\\x7f]{0,60}") {
            let chars = text.to_lowercase();
            prop_assert_eq!(join_ascii_words(text.as_bytes()), join_words(chars.chars()));
        }

        /// Not of mojibake: what deleting punctuation leaves may look like it.
        #[test]
        fn a_second_time_changes_nothing(text in "[a-zA-Z ,.\n\t'é]{0,60}") {
            let once = english(&text);
            prop_assert_eq!(english(&once), once);
        }
    }
}
