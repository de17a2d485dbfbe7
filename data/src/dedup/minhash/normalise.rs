//! What the original does to English before it takes runs of characters; used for hashing only.
//!
//! Repaired, lower-cased, ASCII punctuation deleted, whitespace runs made one space, ends trimmed.

use crate::dedup::repair::repair;

/// The text in the form in which MinHash sees English.
pub fn english(text: &str) -> String {
    let text = repair(text);
    match text.is_ascii() {
        true => join_words(text.bytes().map(|byte| char::from(byte.to_ascii_lowercase()))),
        false => join_words(text.to_lowercase().chars()),
    }
}

fn join_words(chars: impl Iterator<Item = char>) -> String {
    let mut joined = String::with_capacity(chars.size_hint().0);
    let mut gap = false;
    for c in chars {
        if c.is_ascii_punctuation() {
            continue;
        }
        if is_space(c) {
            gap = !joined.is_empty();
            continue;
        }
        if gap {
            joined.push(' ');
            gap = false;
        }
        joined.push(c);
    }
    joined
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
        /// Not of mojibake: what deleting punctuation leaves may look like it.
        #[test]
        fn a_second_time_changes_nothing(text in "[a-zA-Z ,.\n\t'é]{0,60}") {
            let once = english(&text);
            prop_assert_eq!(english(&once), once);
        }
    }
}
