//! C2: addresses and names of files and hosts are deleted from the text.
//!
//! Three regular expressions of the original, each run over what the one before left, written out as scans that
//! take time linear in the text. Each takes the leftmost match and resumes after it.

use std::{borrow::Cow, ops::Range};

use crate::python::Class;

/// The text without what the three patterns match.
pub(super) fn without_links(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = without(text, address_from);
    let text = without(text, |text, from| in_next_run(text, from, dotted_labels));
    without(text, |text, from| in_next_run(text, from, name_with_ending))
}

/// Deletes what `find` finds from each place on.
fn without(text: Cow<'_, str>, find: impl Fn(&str, usize) -> Option<Range<usize>>) -> Cow<'_, str> {
    let (mut kept, mut done) = (String::new(), 0);
    while let Some(found) = find(&text, done) {
        kept.push_str(&text[done..found.start]);
        done = found.end;
    }
    if done == 0 {
        return text;
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// `(?:https?://|www\.)[^\s,\u4e00-\u9fa5]*`, the next at or after a place.
fn address_from(text: &str, from: usize) -> Option<Range<usize>> {
    let begins = |place: &usize| {
        let rest = &text.as_bytes()[*place..];
        ["http://", "https://", "www."].iter().any(|start| rest.starts_with(start.as_bytes()))
    };
    let bytes = text.as_bytes()[from..].iter().enumerate();
    let mut places = bytes.filter(|&(_, byte)| matches!(byte, b'h' | b'w')).map(|(i, _)| from + i);
    let start = places.find(begins)?;
    let ends = |c: char| c == ',' || is_chinese(c) || Class::of(c).is(Class::SPACE);
    let end = text[start..].find(ends).map_or(text.len(), |len| start + len);
    Some(start..end)
}

/// Looks for a match in each run of `[A-Za-z0-9.-]` at or after a place. Both other patterns consist of these
/// characters, and neither can match twice in a run.
fn in_next_run(
    text: &str,
    from: usize,
    find: impl Fn(&str, Range<usize>) -> Option<Range<usize>>,
) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_in_run = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let mut end = from;
    // What a match has left of its run is passed over.
    if from > 0 {
        end += bytes[from..].iter().take_while(|byte| is_in_run(byte)).count();
    }
    loop {
        let start = end + bytes[end..].iter().position(is_in_run)?;
        end = start + bytes[start..].iter().take_while(|byte| is_in_run(byte)).count();
        if let Some(found) = find(text, start..end) {
            return Some(found);
        }
    }
}

/// `[A-Za-z0-9-]+\.[A-Za-z0-9-]+\.[A-Za-z0-9-]+\.[A-Za-z0-9.-]+\.?`: from the first of three labels in a row to the
/// end of the run, if anything follows the third one's dot.
fn dotted_labels(text: &str, run: Range<usize>) -> Option<Range<usize>> {
    let (mut n_labels, mut first, mut label) = (0, run.start, run.start);
    for place in run.clone().filter(|&place| text.as_bytes()[place] == b'.') {
        if place == label {
            (n_labels, first) = (0, place + 1);
        } else {
            n_labels += 1;
        }
        // The labels before the third last are not needed: the first three in a row are the match.
        if n_labels == 3 {
            return (place + 1 < run.end).then_some(first..run.end);
        }
        label = place + 1;
    }
    None
}

/// `(?<![\u4e00-\u9fa5])\b[A-Za-z0-9.-]+\.[a-z]{2,6}\b`: from the first word border to the last ending.
fn name_with_ending(text: &str, run: Range<usize>) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (dot, end) = run.clone().rev().find_map(|dot| Some((dot, ending(text, dot, run.end)?)))?;
    let before = text[..run.start].chars().next_back();
    let starts_at = |&place: &usize| {
        let before = if place > run.start { Some(char::from(bytes[place - 1])) } else { before };
        !before.is_some_and(is_chinese)
            && before.is_some_and(is_word) != bytes[place].is_ascii_alphanumeric()
    };
    let start = (run.start..dot).find(starts_at)?;
    Some(start..end)
}

/// Where `\.[a-z]{2,6}\b` ends if it matches at a place.
fn ending(text: &str, dot: usize, run_end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes[dot] != b'.' {
        return None;
    }
    let letters = &bytes[dot + 1..run_end];
    let n_letters = letters.iter().take(7).take_while(|byte| byte.is_ascii_lowercase()).count();
    let end = dot + 1 + n_letters;
    let is_border = || !text[end..].chars().next().is_some_and(is_word);
    ((2..=6).contains(&n_letters) && is_border()).then_some(end)
}

fn is_word(c: char) -> bool {
    Class::of(c).is(Class::WORD)
}

/// The Chinese characters of Unicode 1.1, at which addresses end.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fa5}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected texts were printed by Python's `re` for the three patterns.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(without_links(Cow::Borrowed(text)), expected);
    }

    #[test]
    fn addresses_end_at_white_space_comma_or_chinese() {
        check("见https://a.com/x,好", "见,好");
        check("hhttp://x!汉www.é\u{3000}b", "h汉\u{3000}b");
        check("www.www.,http:/x", ",http:/x");
    }

    #[test]
    fn four_labels_are_deleted_to_the_end_of_their_run() {
        check("v1.2.3.4 ok", " ok");
        check("版1.2.3.4.5.6..汉", "版汉");
        check("a.b.c. a.b.c.. .a.b.c..d", "a.b.c.  .");
        check("a..b.c.d", "a..b.c.d");
        check("a..b.c.d.e", "a..");
    }

    #[test]
    fn names_with_an_ending_are_deleted_at_word_borders() {
        check("访问 foo.com 了", "访问  了");
        check("访问foo.com了", "访问foo.com了");
        check("End.next sentence", " sentence");
        check("hello.world ok", " ok");
        check("file.txt", "");
        check("e.g. this", "e.g. this");
        check("abc.def中文", "abc.def中文");
        check("汉a-b.txt", "汉a");
        check("汉a.b.txt_ x.html-y.c", "汉a.b.txt_ -y.c");
        check("_-a.abc é-.abcdefg .com", "_ é-.abcdefg .com");
    }
}
