//! HTML entities and character references back to characters.
//!
//! Only the forms that end in a semicolon, so that `this&not that` stays; capitalised names of lower-case
//! letters are understood too (`P&EACUTE;REZ`). `entities.txt` has a name and its code points a line:
//! HTML 5's table with ftfy 6.3.1's additions.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::code_page::windows_1252_of_c1;

/// Longest name or number.
const MAX_NAME_BYTES: usize = 24;

/// The text with every entity that means something replaced.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match reference(rest) {
            Some(name) => {
                let whole = &rest[..name.len() + 2];
                plain.push_str(character(name).as_deref().unwrap_or(whole));
                whole.len()
            }
            None => {
                plain.push('&');
                1
            }
        };
        rest = &rest[taken..];
    }
    plain.push_str(rest);
    plain
}

/// What stands between `&` and `;`, if the text begins so.
fn reference(text: &str) -> Option<&str> {
    let inner = &text[1..];
    let sign = usize::from(inner.starts_with('#'));
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric();
    let n_bytes = inner.as_bytes()[sign..].iter().take_while(|byte| is_name(byte)).count();
    let end = sign + n_bytes;
    let whole = (1..=MAX_NAME_BYTES).contains(&n_bytes) && inner[end..].starts_with(';');
    whole.then(|| &inner[..end])
}

fn character(name: &str) -> Option<String> {
    static ENTITIES: LazyLock<FxHashMap<&str, String>> =
        LazyLock::new(|| include_str!("entities.txt").lines().map(entity).collect());
    match name.strip_prefix('#') {
        Some(number) => numbered(number),
        None => ENTITIES.get(name).cloned(),
    }
}

fn entity(line: &'static str) -> (&'static str, String) {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let code_point = |word| u32::from_str_radix(word, 16).ok().and_then(char::from_u32);
    (name, words.filter_map(code_point).collect())
}

/// The character of a decimal or hexadecimal reference by the rules of HTML 5; `None` leaves it as it is.
fn numbered(number: &str) -> Option<String> {
    let value = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u128::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    Some(match value {
        // A semicolon would look like an entity that was half understood.
        0x3b => return None,
        0 => char::REPLACEMENT_CHARACTER.to_string(),
        0x80..=0x9f => windows_1252_of_c1(char::from_u32(value)?).to_string(),
        value if is_noncharacter(value) => String::new(),
        value => char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER).to_string(),
    })
}

/// Controls and code points that HTML 5 forbids.
fn is_noncharacter(value: u32) -> bool {
    matches!(value, 0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef)
        || (value <= 0x10_ffff && value & 0xfffe == 0xfffe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(unescape(text), expected, "{text:?}");
    }

    // Expected values by ftfy 6.3.1's `unescape_html`.
    #[test]
    fn entities_become_characters() {
        check("&lt;tag&gt; &amp;amp; &", "<tag> &amp; &");
        check("P&EACUTE;REZ P&eacute;rez", "PÉREZ Pérez");
        check("BUNDESSTRA&SZLIG;E &nTILDE; this&not that", "BUNDESSTRASSE &nTILDE; this&not that");
        check("&acE;&NewLine;", "\u{223e}\u{333}\n");
    }

    #[test]
    fn numbers_become_characters() {
        check("&#65;&#x42;&#X43;", "ABC");
        check("&#0;&#x80;&#129;&#13;", "\u{fffd}€\u{81}\r");
        check("&#xD800;&#x110000;&#99999999999999999999;", "\u{fffd}\u{fffd}\u{fffd}");
        check("a&#1;b&#xFFFE;c", "abc");
        check("&#59;&#x3b;&#12ab;&#x;&#;&;", "&#59;&#x3b;&#12ab;&#x;&#;&;");
    }
}
