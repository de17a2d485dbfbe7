//! Long documents, such as whole books, to parts of a size at which hold-out by document works.

use crate::Document;

/// Smallest part that may be asked for, in characters.
pub const MIN_PART_CHARS: usize = 16;

/// Cuts a document longer than `max_chars` into parts `id#0001`, `id#0002`, ...; a shorter one stays as it is.
///
/// The cut falls between paragraphs where one ends in the second half of the part, else between lines, else
/// after a sentence, else after a space, else anywhere. The parts joined are the text; every other field is
/// copied.
pub fn split(document: Document, max_chars: usize) -> Vec<Document> {
    let ranges = cuts(&document.text, max_chars.max(MIN_PART_CHARS));
    if ranges.len() < 2 {
        return vec![document];
    }
    let part = |(index, range): (usize, std::ops::Range<usize>)| Document {
        id: format!("{}#{:04}", document.id, index + 1),
        text: document.text[range].to_owned(),
        source: document.source.clone(),
        url: document.url.clone(),
        language: document.language,
        meta: document.meta.clone(),
        origin: document.origin.clone(),
    };
    ranges.into_iter().enumerate().map(part).collect()
}

/// Byte ranges of the parts, all of about the same length, none above `max_chars`.
fn cuts(text: &str, max_chars: usize) -> Vec<std::ops::Range<usize>> {
    let mut chars_left = text.chars().count();
    let (mut start, mut ranges) = (0, Vec::new());
    while chars_left > max_chars {
        // Cuts lie at 3/4 of the part on average, for they are sought in its second half.
        let n_parts = (chars_left * 4).div_ceil(max_chars * 3).max(2);
        let aim = (chars_left.div_ceil(n_parts) * 4).div_ceil(3).clamp(2, max_chars);
        let window_end = byte_of_char(&text[start..], aim);
        let window = &text[start..start + window_end];
        let end = start + best_cut(window, byte_of_char(window, aim / 2));
        chars_left -= text[start..end].chars().count();
        ranges.push(start..end);
        start = end;
    }
    if start < text.len() {
        ranges.push(start..text.len());
    }
    ranges
}

fn byte_of_char(text: &str, n_chars: usize) -> usize {
    text.char_indices().nth(n_chars).map_or(text.len(), |(at, _)| at)
}

/// Where to end a part that may reach to the end of `window` and should not end before `least` bytes.
fn best_cut(window: &str, least: usize) -> usize {
    let tail = &window[least..];
    let after = |separator: &str| tail.rfind(separator).map(|at| least + at + separator.len());
    let after_mark = || {
        let (at, mark) = tail.char_indices().rfind(|&(_, c)| matches!(c, '。' | '！' | '？'))?;
        Some(least + at + mark.len_utf8())
    };
    after("\n\n")
        .or_else(|| after("\n"))
        .or_else(after_mark)
        .or_else(|| after(". "))
        .or_else(|| after(" "))
        .filter(|&cut| cut > 0)
        .unwrap_or(window.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Language;

    fn parts(text: &str, max_chars: usize) -> Vec<(String, String)> {
        let document = Document {
            id: "d".into(),
            text: text.into(),
            source: "s".into(),
            url: None,
            language: Language::En,
            meta: serde_json::Map::new(),
            origin: None,
        };
        split(document, max_chars).into_iter().map(|part| (part.id, part.text)).collect()
    }

    fn check(text: &str, max_chars: usize, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|&(id, text)| (id.to_owned(), text.to_owned())).collect();
        assert_eq!(parts(text, max_chars), expected);
    }

    #[test]
    fn cuts_fall_between_paragraphs_lines_sentences_words() {
        check("short", 16, &[("d", "short")]);
        check(
            "first para\n\nsecond\npara",
            16,
            &[("d#0001", "first para\n\n"), ("d#0002", "second\npara")],
        );
        check(
            "first line\nsecond line",
            16,
            &[("d#0001", "first line\n"), ("d#0002", "second line")],
        );
        check(
            "一二三四五六七八。九十一二三四五六七八",
            16,
            &[("d#0001", "一二三四五六七八。"), ("d#0002", "九十一二三四五六七八")],
        );
        check(
            "one two three four five",
            16,
            &[("d#0001", "one two three "), ("d#0002", "four five")],
        );
    }

    proptest! {
        #[test]
        fn parts_join_to_the_text(text in "([a-z]{0,9}[ .\n甲。]){0,60}", max_chars in 16_usize..80) {
            let parts = parts(&text, max_chars);
            prop_assert_eq!(parts.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
            prop_assert!(parts.iter().all(|(_, text)| text.chars().count() <= max_chars));
            prop_assert!(parts.len() == 1 || parts.iter().all(|(_, text)| !text.is_empty()));
        }
    }
}
