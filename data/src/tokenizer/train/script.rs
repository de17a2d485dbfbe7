//! Which texts may be pieces: SentencePiece's borders between scripts, digits and spaces.

use unicode_script::{Script, UnicodeScript};

use super::super::sentence_piece::MARKER;

/// Whether a text may become one piece: short enough, one script, no digit beside anything else,
/// U+2581 only in front. Kana count as Han; combining marks take the script before them.
pub(super) fn is_valid_piece(text: &str, max_chars: usize) -> bool {
    let n_chars = text.chars().count();
    if n_chars > max_chars {
        return false;
    }
    let mut before = None;
    for (at, character) in text.chars().enumerate() {
        if character == MARKER {
            if at > 0 {
                return false;
            }
            continue;
        }
        if is_digit(character) && n_chars > 1 {
            return false;
        }
        let script = match character.script() {
            Script::Inherited => before,
            Script::Hiragana | Script::Katakana => Some(Script::Han),
            // The mark of a long vowel is common to both kana.
            _ if character == '\u{30FC}' => Some(Script::Han),
            script => Some(script),
        };
        if before.is_some() && before != script {
            return false;
        }
        before = script;
    }
    true
}

/// ASCII and full-width digits, as SentencePiece's `split_digits` has them.
fn is_digit(character: char) -> bool {
    character.is_ascii_digit() || ('\u{FF10}'..='\u{FF19}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(is_valid_piece(&text.replace('_', "\u{2581}"), 5), expected, "{text:?}");
    }

    #[test]
    fn borders_are_those_of_sentence_piece() {
        check("_ab", true);
        check("_中国", true);
        check("_!?", true);
        check("_ab中", false);
        check("a.", false);
        check("aж", false);
        check("日ひカー", true);
        check("e\u{301}a", true);
        check("中\u{301}a", false);
        check("\u{301}a", true);
    }

    #[test]
    fn digits_stand_alone() {
        check("1", true);
        check("12", false);
        check("_1", false);
        check("１a", false);
        check("①②", true);
    }

    #[test]
    fn markers_stand_in_front_and_length_is_bounded() {
        check("_", true);
        check("__", false);
        check("a_", false);
        check("abcde", true);
        check("abcdef", false);
    }
}
