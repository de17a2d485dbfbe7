//! `str.lower` and `unicodedata.normalize("NFKC", ..)` of Unicode 14.0.
//!
//! Rust's tables are of a later version. On characters that version 14 knows both agree (normalisation is stable by
//! promise, lower case has only grown); the others are left as they are, as Python does.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::Class;

/// `str.lower()`: the full mapping, with `İ` in two characters and `ς` at the end of a word.
pub fn lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    Cow::Owned(map_assigned(text, |known, out| out.push_str(&known.to_lowercase())))
}

/// NFKC, the text itself where it has that form already.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    // Characters that stay as they are and move past no mark can be left out of the question.
    let others = text.chars().filter(|c| !c.is_ascii() && !matches!(c, '\u{4e00}'..='\u{9fff}'));
    if is_nfkc_quick(others) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(map_assigned(text, |known, out| out.extend(known.nfkc())))
}

/// Maps the runs of characters that Unicode 14 knows. The others are to Python starters without case, over
/// which neither composition nor the rule of the final sigma reaches, so the runs can be mapped apart.
fn map_assigned(text: &str, map: impl Fn(&str, &mut String)) -> String {
    let mut mapped = String::with_capacity(text.len());
    let is_unknown = |c: char| !Class::of(c).is(Class::ASSIGNED);
    let mut start = 0;
    for (place, unknown) in text.match_indices(is_unknown) {
        map(&text[start..place], &mut mapped);
        mapped.push_str(unknown);
        start = place + unknown.len();
    }
    map(&text[start..], &mut mapped);
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_is_the_full_mapping() {
        let check = |text: &str, expected: &str| assert_eq!(lower(text), expected, "{text:?}");
        check("Read MORE", "read more");
        check("ÀİǅẞⅧ", "ài\u{307}ǆßⅷ");
        check("ΑΣ ΣΑ Σ ΑΣ. ΑΣ\u{301}Α", "ας σα σ ας. ασ\u{301}α");
        // Assigned in Unicode 16, with a lower case there.
        check("A\u{1c89}B", "a\u{1c89}b");
        check("ΑΣ\u{1c89}", "ας\u{1c89}");
        assert!(matches!(lower("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn compatibility_forms_are_composed() {
        let check = |text: &str, expected: &str| assert_eq!(nfkc(text), expected, "{text:?}");
        check("a\u{a0}b…c", "a b...c");
        check("ｆｕｌｌ①½ﬁ㍻", "full11\u{2044}2fi平成");
        check("e\u{301}", "é");
        check("ㄱㅏ", "가");
        assert!(matches!(nfkc("“quoted” — é汉"), Cow::Borrowed(_)));
    }
}
