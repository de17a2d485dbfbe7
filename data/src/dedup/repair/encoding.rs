//! Undoes the misreading of UTF-8 as a single-byte code page, as far as the text itself shows it.
//!
//! The steps and their order are ftfy 6.3.1's `fix_encoding` (Apache-2.0, Robyn Speer), its quirks included.

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

use super::{
    code_page::{Kind, PAGES, windows_1252_of_c1},
    mojibake::{is_bad, replace_runs},
};

/// The text with its encoding mended, repeated until nothing changes.
pub(super) fn fix(mut text: String) -> String {
    while let Some(fixed) = fix_once(&text) {
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// One layer of misreading taken off; `None` when the text shows none.
fn fix_once(text: &str) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    let misread = PAGES.iter().find_map(|page| {
        let bytes = page.encode(text)?;
        decode(&restore(bytes, page.kind))
    });
    if misread.is_some() {
        return misread;
    }
    let embedded = fix_embedded(text);
    if embedded != text {
        return Some(embedded);
    }
    if PAGES[0].encode(text).is_some()
        && let Some(read_as_windows) = latin_1_as_windows_1252(text)
        && read_as_windows != text
    {
        return Some(read_as_windows);
    }
    text.contains(|c| ('\u{80}'..='\u{9f}').contains(&c))
        .then(|| text.chars().map(windows_1252_of_c1).collect())
}

/// Puts back bytes that a program changed because they looked like spaces or meant nothing to it.
fn restore(mut bytes: Vec<u8>, kind: Kind) -> Vec<u8> {
    if kind != Kind::Macroman && spaces_for_a0().is_match(&bytes) {
        bytes = restore_a0(&bytes);
    }
    if kind == Kind::Sloppy {
        bytes = lossy().replace_all(&bytes, "\u{fffd}".as_bytes()).into_owned();
    }
    bytes
}

/// Sequences that would be UTF-8 if their space were byte A0.
fn spaces_for_a0() -> &'static Regex {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?-u)[\xc2\xc3\xc5\xce\xd0\xd9][ ]|[\xe2\xe3][ ][\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][ ]|\xf0[ ][\x80-\xbf][\x80-\xbf]|\xf0[\x80-\xbf][ ][\x80-\xbf]|\xf0[\x80-\xbf][\x80-\xbf][ ]",
        )
        .expect("the pattern is constant and tested")
    });
    &PATTERN
}

/// UTF-8 and CESU-8 sequences of which bytes were lost.
fn lossy() -> &'static Regex {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?-u)[\xc2-\xdf]\x1a|[\xc2-\xc3][?]|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]|\x1a",
        )
        .expect("the pattern is constant and tested")
    });
    &PATTERN
}

fn restore_a0(bytes: &[u8]) -> Vec<u8> {
    let bytes = split_a_grave(bytes);
    let to_a0 = |found: &Captures<'_>| -> Vec<u8> {
        found[0].iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }).collect()
    };
    spaces_for_a0().replace_all(&bytes, to_a0).into_owned()
}

/// `C3 20` as the word `à`, its space kept, unless what follows shows one of the Portuguese words
/// `àquele, àquela, àquilo, às` or another space.
fn split_a_grave(bytes: &[u8]) -> Vec<u8> {
    const NOT_BEFORE: [&[u8]; 5] = [b" ", b"quele", b"quela", b"quilo", b"s "];
    let mut split = Vec::with_capacity(bytes.len() + 8);
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let next = after
            .strip_prefix(b" ")
            .filter(|next| first == 0xc3 && !NOT_BEFORE.iter().any(|word| next.starts_with(word)));
        match next {
            Some(next) => {
                split.extend_from_slice(b"\xc3\xa0 ");
                rest = next;
            }
            None => {
                split.push(first);
                rest = after;
            }
        }
    }
    split
}

/// UTF-8, or its variants when bytes of them occur.
fn decode(bytes: &[u8]) -> Option<String> {
    match bytes.iter().any(|&byte| byte == 0xed || byte == 0xc0) {
        true => decode_variants(bytes),
        false => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

/// UTF-8 in which Java's two bytes for U+0000 and surrogate pairs of three bytes each may occur.
///
/// As in ftfy, `C0` before a line feed that ends the text counts as U+0000 and takes the line feed along.
fn decode_variants(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if rest.starts_with(b"\xc0\x80") || rest == b"\xc0\n" {
            text.push('\0');
            rest = &rest[2..];
        } else if let Some(c) = surrogate_pair(rest) {
            text.push(c);
            rest = &rest[6..];
        } else {
            let until = rest[1..].iter().position(|&byte| byte == 0xc0 || byte == 0xed);
            let (plain, after) = rest.split_at(until.map_or(rest.len(), |until| until + 1));
            text.push_str(std::str::from_utf8(plain).ok()?);
            rest = after;
        }
    }
    Some(text)
}

fn surrogate_pair(bytes: &[u8]) -> Option<char> {
    let [0xed, b1 @ 0xa0..=0xaf, b2 @ 0x80..=0xbf, 0xed, b4 @ 0xb0..=0xbf, b5 @ 0x80..=0xbf, ..] =
        *bytes
    else {
        return None;
    };
    let bits = |byte: u8, mask: u8, shift: u32| u32::from(byte & mask) << shift;
    let low = bits(b1, 0x0f, 16) + bits(b2, 0x3f, 10) + bits(b4, 0x0f, 6) + bits(b5, 0x3f, 0);
    char::from_u32(0x1_0000 + low)
}

/// Mends runs of mojibake inside a text that is not mojibake as a whole.
fn fix_embedded(text: &str) -> String {
    replace_runs(text, |run| match run.len() < text.len() && is_bad(run) {
        true => fix(run.to_owned()),
        false => run.to_owned(),
    })
}

/// Latin-1 read again as Windows-1252, unless one of its bytes means nothing there.
fn latin_1_as_windows_1252(text: &str) -> Option<String> {
    let free = |c| matches!(c, '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}');
    (!text.contains(free)).then(|| text.chars().map(windows_1252_of_c1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(fix(text.to_owned()), expected, "{text:?}");
    }

    // Expected values by ftfy 6.3.1's `fix_encoding`.
    #[test]
    fn misread_utf_8_is_read_again() {
        check("sÃ³", "só");
        check("voilÃ le travail", "voilà le travail");
        check("âœ” No problems", "✔ No problems");
        check("Ã la mode", "à la mode");
        check("plain, naïve", "plain, naïve");
        check("â€œ like this â€\u{fffd}", "“ like this \u{fffd}");
    }

    #[test]
    fn runs_inside_other_text_are_mended() {
        check("日本語 sÃ³", "日本語 só");
        check("\u{93}quoted\u{94}", "“quoted”");
        check("日\u{91}\u{81}", "日‘\u{81}");
    }

    #[test]
    fn variants_of_utf_8_are_understood() {
        assert_eq!(decode(b"a\xc0\x80b").as_deref(), Some("a\0b"));
        assert_eq!(decode(b"\xed\xa0\xbd\xed\xb2\xa9").as_deref(), Some("💩"));
        assert_eq!(decode(b"\xed\x95\x9c").as_deref(), Some("한"));
        assert_eq!(decode(b"x\xc0\n").as_deref(), Some("x\0"));
        assert_eq!(decode(b"\xed\xa0\xbd"), None);
        assert_eq!(decode(b"\xc0"), None);
    }
}
