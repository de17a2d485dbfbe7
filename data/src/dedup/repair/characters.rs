//! Repairs of single characters and of short sequences, in ftfy 6.3.1's order.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::code_page::windows_1252_of_c1;

/// C1 controls, ligatures, widths and quotes, then line ends, terminal escapes and controls.
pub(super) fn fix(text: String) -> String {
    let text = match text.is_ascii() {
        true => text,
        false => fix_each(&text),
    };
    remove_controls(remove_terminal_escapes(fix_line_ends(text)))
}

fn fix_each(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut start = 0;
    for (place, found) in text.char_indices() {
        // ASCII, and from the marks of Chinese to the compatibility forms: most of any text.
        if found.is_ascii() || ('\u{3001}'..'\u{fb00}').contains(&found) {
            continue;
        }
        fixed.push_str(&text[start..place]);
        start = place + found.len_utf8();
        let c = windows_1252_of_c1(found);
        match (parts_of_ligature(c), c) {
            // What a ligature or a wide form stands for may itself be a quote.
            (Some(parts), _) => fixed.extend(parts.chars().map(straight)),
            (None, '\u{3000}') => fixed.push(' '),
            (None, '\u{ff01}'..='\u{ffef}') => {
                fixed.extend(std::iter::once(c).nfkc().map(straight))
            }
            (None, c) => fixed.push(straight(c)),
        }
    }
    fixed.push_str(&text[start..]);
    fixed
}

/// The letters of a Latin ligature or digraph.
fn parts_of_ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "ʼn",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}

/// A curly quote straightened.
fn straight(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        c => c,
    }
}

fn fix_line_ends(text: String) -> String {
    const OTHERS: [char; 4] = ['\r', '\u{2028}', '\u{2029}', '\u{85}'];
    // The first bytes of these.
    let may_hold = memchr::memchr3(b'\r', 0xe2, 0xc2, text.as_bytes()).is_some();
    match may_hold && text.contains(OTHERS) {
        true => text.replace("\r\n", "\n").replace(OTHERS, "\n"),
        false => text,
    }
}

fn remove_terminal_escapes(text: String) -> String {
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\x1b\[[\p{Nd};]*[a-zA-Z]").expect("the pattern is constant and tested")
    });
    match text.contains('\x1b') {
        true => ESCAPE.replace_all(&text, "").into_owned(),
        false => text,
    }
}

fn remove_controls(mut text: String) -> String {
    // White space but the vertical tab stays; beyond ASCII what goes begins with one of two bytes.
    let may_begin = |byte: &u8| match byte {
        b'\t' | b'\n' | 0xc | b'\r' => false,
        byte => byte.is_ascii_control() || matches!(byte, 0xe2 | 0xef),
    };
    if !text.as_bytes().iter().any(may_begin) {
        return text;
    }
    text.retain(|c| {
        !matches!(
            c,
            '\0'..='\u{8}'
                | '\u{b}'
                | '\u{e}'..='\u{1f}'
                | '\u{7f}'
                | '\u{206a}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffc}'
        )
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(fix(text.to_owned()), expected, "{text:?}");
    }

    // Expected values by ftfy 6.3.1.
    #[test]
    fn characters_become_what_they_stand_for() {
        check("ﬂuﬃeﬆ ŉ ﬅ", "fluffiest 'n ſt");
        check("Ｕﾀｰﾝ ￣ ￥", "Uターン  \u{304} ¥");
        check("\u{201c}here\u{2019}s a test\u{201d}", "\"here's a test\"");
        check("\u{80}\u{81}\u{85}", "€\u{81}…");
    }

    #[test]
    fn sequences_are_cleaned() {
        check("a\r\nb\rc\u{2028}d", "a\nb\nc\nd");
        check("\u{1b}[1;31mred\u{1b}[0m \u{1b}[x \u{1b}x", "red  x");
        check("a\0\u{b}\u{c}\u{feff}\u{fffc}\tb", "a\u{c}\tb");
    }
}
