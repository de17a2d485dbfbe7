//! Repairs text that was read in the wrong encoding or carries traces of markup, as ftfy 6.3.1's
//! `fix_text` does with NFC. MinHash looks at English after this repair, so it has to be the same.
//!
//! Lines are repaired one by one: entities, encoding, controls, ligatures, widths, quotes, line ends,
//! terminal escapes, composition, again until a line stays as it is. A line that is plain ASCII is left
//! alone at once.

mod characters;
mod code_page;
mod encoding;
mod entities;
mod mojibake;

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Longest piece that is repaired at once, in characters; longer lines are cut.
const MAX_PIECE_CHARS: usize = 1_000_000;

/// The text repaired; borrowed when nothing was wrong.
pub fn repair(text: &str) -> Cow<'_, str> {
    // In chunks that are looked at whole, which is many bytes at a time.
    let is_plain_chunk = |chunk: &[u8]| chunk.iter().fold(true, |all, &byte| all & is_plain(byte));
    if text.as_bytes().chunks(256).all(is_plain_chunk) {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len());
    // A `<` says that the text is HTML, from its line on: entities are meant then.
    let mut is_html = false;
    for piece in text.split_inclusive('\n').flat_map(cut) {
        is_html |= piece.contains('<');
        match piece.bytes().all(|byte| is_plain(byte) || (is_html && byte == b'&')) {
            true => repaired.push_str(piece),
            false => repaired.push_str(&repair_piece(piece, is_html)),
        }
    }
    Cow::Owned(repaired)
}

/// Whether no repair concerns a byte, whatever stands beside it.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b' '..=b'~') && byte != b'&'
}

/// A line in pieces that are not too long.
fn cut(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let end = match rest.len() <= MAX_PIECE_CHARS {
            true => rest.len(),
            false => rest.char_indices().nth(MAX_PIECE_CHARS).map_or(rest.len(), |(at, _)| at),
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn repair_piece(piece: &str, is_html: bool) -> String {
    let mut text = piece.to_owned();
    loop {
        let before = text.clone();
        if !is_html {
            text = entities::unescape(&text);
        }
        text = characters::fix(encoding::fix(text));
        if !text.chars().all(is_composed) && !unicode_normalization::is_nfc(&text) {
            text = text.nfc().collect();
        }
        if text == before {
            return text;
        }
    }
}

/// Whether this is one of the characters, most by far, that stand in NFC whatever is beside them.
fn is_composed(c: char) -> bool {
    matches!(c, ..'\u{300}' | '\u{2010}'..='\u{2027}' | '\u{3000}'..='\u{3029}' | '\u{3400}'..='\u{9fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(repair(text), expected, "{text:?}");
    }

    // Expected values by ftfy 6.3.1's `fix_text`.
    #[test]
    fn the_examples_of_ftfy_come_out_the_same() {
        check("âœ” No problems", "✔ No problems");
        check("&macr;\\_(ã\u{83}\u{84})_/&macr;", "¯\\_(ツ)_/¯");
        check("Broken text&hellip; it&#x2019;s ﬂubberiﬁc!", "Broken text… it's flubberific!");
        check("ＬＯＵＤ　ＮＯＩＳＥＳ", "LOUD NOISES");
        check("e\u{301}\r\nx\ry", "é\nx\ny");
        check("\u{1b}[36;44mblue\u{1b}[0m\u{7}\u{feff}", "blue");
    }

    #[test]
    fn html_keeps_its_entities_from_its_first_tag_on() {
        check("&lt;\n&lt;<b>\n&lt;\n", "<\n&lt;<b>\n&lt;\n");
    }

    #[test]
    fn composed_characters_are_in_nfc_beside_any_other() {
        use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};
        for c in ('\0'..=char::MAX).filter(|&c| is_composed(c)) {
            assert_eq!(canonical_combining_class(c), 0, "{c:?}");
            assert!(std::iter::once(c).nfc().eq([c]), "{c:?}");
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let line = "é".repeat(MAX_PIECE_CHARS + 3);
        assert_eq!(
            cut(&line).map(|piece| piece.chars().count()).collect::<Vec<_>>(),
            [1_000_000, 3]
        );
        assert_eq!(repair(&line), line);
    }

    proptest! {
        #[test]
        fn a_repaired_line_stays(text in "[a-zA-Z Ãâ€œé\u{80}-\u{9f}&;#<\n’“]{0,40}") {
            let once = repair(&text).into_owned();
            let html = text.contains('<');
            // Entities that a repair uncovers are taken off by the next one only in other lines.
            prop_assume!(!html && !once.contains('<'));
            prop_assert_eq!(repair(&once).into_owned(), once);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = repair(&text);
        }
    }
}
