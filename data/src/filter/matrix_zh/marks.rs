//! C0: text in Chinese brackets is measured, full-width marks become those of ASCII.

use std::borrow::Cow;

use crate::python::nfkc;

/// Share of the characters of a text, in the form NFKC, that stand between `【` and `】` on one line (C0a).
///
/// Every `【` is closed by the first `】` after it, so an unclosed one reaches into the next pair.
pub(super) fn bracket_share(text: &str) -> f64 {
    // Only these two become `【`.
    if !text.contains(['【', '︻']) {
        return 0.0;
    }
    let normal = nfkc(text);
    let (mut n_chars_inside, mut rest) = (0, &*normal);
    while let Some(open) = rest.find('【') {
        let after = &rest[open + '【'.len_utf8()..];
        let close = after.find(['】', '\n']).filter(|&close| after[close..].starts_with('】'));
        rest = match close {
            Some(close) => {
                n_chars_inside += after[..close].chars().count();
                &after[close + '】'.len_utf8()..]
            }
            None => after,
        };
    }
    n_chars_inside as f64 / normal.chars().count() as f64
}

/// The text with 34 full-width marks as ASCII has them, one character for one (C0b).
pub(super) fn with_plain_marks(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| plain_mark(c).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| plain_mark(c).unwrap_or(c)).collect())
}

/// Of the full-width forms all marks but `＂`, `＇` and `．`.
#[inline]
fn plain_mark(c: char) -> Option<char> {
    match c {
        ..'\u{2018}' | '\u{4e00}'..='\u{9fff}' => None,
        '。' => Some('.'),
        '“' | '”' => Some('"'),
        '‘' | '’' => Some('\''),
        '＂' | '＇' | '．' => None,
        '！'..='～' => {
            char::from_u32(u32::from(c) - FULL_WIDTH_OFFSET).filter(char::is_ascii_punctuation)
        }
        _ => None,
    }
}

/// From a character of ASCII to its full-width form.
const FULL_WIDTH_OFFSET: u32 = '！' as u32 - '!' as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_four_marks_change() {
        let marks = "。！“”＃＄％＆‘’（）＊＋，－／：；＜＝＞？＠［＼］＾＿｀｛｜｝～";
        let plain = ".!\"\"#$%&''()*+,-/:;<=>?@[\\]^_`{|}~";
        assert_eq!(with_plain_marks(marks), plain);
        let n_marks = ('\0'..=char::MAX).filter(|&c| plain_mark(c).is_some()).count();
        assert_eq!(n_marks, 34);
        let others = "、…《》【】·ＡＺ０９．＂＇汉a.";
        assert!(matches!(with_plain_marks(others), Cow::Borrowed(_)));
    }

    #[test]
    fn brackets_close_on_their_line_at_the_first_chance() {
        let check = |text: &str, expected: f64| assert_eq!(bracket_share(text), expected, "{text}");
        check("", 0.0);
        check("甲【乙】丙丁", 1.0 / 6.0);
        check("【【乙】】", 2.0 / 5.0);
        check("【甲\n乙】", 0.0);
        check("【甲\n【乙】丙】", 1.0 / 8.0);
        check("【甲\r乙】", 3.0 / 5.0);
        check("【】【】", 0.0);
        // NFKC makes three dots of one.
        check("︻…︼", 3.0 / 5.0);
    }
}
