//! Counts of characters, lines and stretches. Most of what is counted is rare, so it is searched, not walked to.

use memchr::{memchr_iter, memchr2_iter, memchr3_iter};

use crate::python::{Class, split_lines, strip};

/// What lines of lists begin with.
const BULLETS: &str = "•●○■□▪▫※·➢‣▶◀◦–";

/// Counts of a text.
#[derive(Debug, Default, PartialEq)]
pub(in crate::filter) struct Counts {
    /// `{` and `}`.
    pub(in crate::filter) n_curly: u64,
    /// Runs of `#`.
    pub(in crate::filter) n_hash_runs: u64,
    /// Runs of `…` and runs of two or more `.`.
    pub(in crate::filter) n_ellipses: u64,
    /// `#`, `...` and `…`, not overlapping.
    pub(in crate::filter) n_symbols: u64,
    /// Marks of ASCII.
    pub(in crate::filter) n_marks: u64,
    /// Characters that are `\w` or `\s`.
    pub(in crate::filter) n_plain_chars: u64,
    /// Characters of the stripped text but space, LF and TAB.
    pub(in crate::filter) n_dense_chars: u64,
}

impl Counts {
    pub(in crate::filter) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut counts =
            Self { n_curly: memchr2_iter(b'{', b'}', bytes).count() as u64, ..Self::default() };
        counts.add_hashes(bytes);
        counts.add_ellipses(text);
        counts.add_classes(text);
        let stripped = strip(text);
        let is_left_out = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\t');
        counts.n_dense_chars =
            n_chars(stripped) - stripped.as_bytes().iter().filter(is_left_out).count() as u64;
        counts
    }

    fn add_hashes(&mut self, bytes: &[u8]) {
        for place in memchr_iter(b'#', bytes) {
            self.n_symbols += 1;
            self.n_hash_runs += u64::from(place == 0 || bytes[place - 1] != b'#');
        }
    }

    fn add_ellipses(&mut self, text: &str) {
        let mut run = 0..0;
        for place in memchr_iter(b'.', text.as_bytes()) {
            if place > run.end {
                run = place..place;
            }
            run.end += 1;
            self.n_ellipses += u64::from(run.len() == 2);
            self.n_symbols += u64::from(run.len().is_multiple_of(3));
        }
        if text.is_ascii() {
            return;
        }
        let mut end = usize::MAX;
        for (place, ellipsis) in text.match_indices('…') {
            self.n_symbols += 1;
            self.n_ellipses += u64::from(place != end);
            end = place + ellipsis.len();
        }
    }

    fn add_classes(&mut self, text: &str) {
        let plain = Class::WORD.or(Class::SPACE);
        // Sums of bytes over short pieces, which the compiler turns into vector instructions.
        for piece in text.as_bytes().chunks(128) {
            let is_mark = |byte: &u8| u8::from(byte.is_ascii_punctuation());
            let is_plain = |byte: &u8| {
                u8::from(byte.is_ascii_alphanumeric())
                    | u8::from(matches!(byte, b'_' | b' ' | b'\t'..=b'\r' | 0x1c..=0x1f))
            };
            self.n_marks += u64::from(piece.iter().map(is_mark).sum::<u8>());
            self.n_plain_chars += u64::from(piece.iter().map(is_plain).sum::<u8>());
        }
        if !text.is_ascii() {
            let wide = text.chars().filter(|c| !c.is_ascii());
            self.n_plain_chars += wide.filter(|&c| Class::of(c).is(plain)).count() as u64;
        }
    }
}

/// Code points of a text.
pub(in crate::filter) fn n_chars(text: &str) -> u64 {
    text.chars().count() as u64
}

/// Counts of the form NFKC.
#[derive(Debug, Default, PartialEq)]
pub(in crate::filter) struct NormalCounts {
    /// Code points.
    pub(in crate::filter) n_chars: u64,
    /// `lorem ipsum` in any case.
    pub(in crate::filter) n_lorem_ipsum: u64,
    /// Matches of `\b[^.!?]+[.!?]*`: stretches between these marks that hold a word character.
    pub(in crate::filter) n_stretches: u64,
}

impl NormalCounts {
    pub(in crate::filter) fn of(normal: &str) -> Self {
        Self {
            n_chars: n_chars(normal),
            n_lorem_ipsum: lorem_ipsum(normal.as_bytes()),
            n_stretches: stretches(normal),
        }
    }
}

/// Of the letters that lower case makes of others, none is in these words alone.
fn lorem_ipsum(bytes: &[u8]) -> u64 {
    const WANTED: &[u8] = b"lorem ipsum";
    let is_wanted = |p: &usize| {
        let start = p.checked_sub(7);
        let found = start.and_then(|start| bytes.get(start..start + WANTED.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(WANTED))
    };
    memchr2_iter(b'p', b'P', bytes).filter(is_wanted).count() as u64
}

fn stretches(text: &str) -> u64 {
    let has_word = |stretch: &str| stretch.chars().any(|c| Class::of(c).is(Class::WORD));
    let (mut n_stretches, mut start) = (0, 0);
    for mark in memchr3_iter(b'.', b'!', b'?', text.as_bytes()) {
        n_stretches += u64::from(has_word(&text[start..mark]));
        start = mark + 1;
    }
    n_stretches + u64::from(has_word(&text[start..]))
}

/// Counts of lines.
#[derive(Debug, Default, PartialEq)]
pub(in crate::filter) struct Lines {
    /// LF.
    pub(in crate::filter) n_line_feeds: u64,
    /// Lines as `str.splitlines` has them.
    pub(in crate::filter) n_lines: u64,
    /// Of these those that begin with a bullet.
    pub(in crate::filter) n_bullets: u64,
    /// And those that end in `…` or three dots, white space at the end left aside.
    pub(in crate::filter) n_ending_in_ellipsis: u64,
}

impl Lines {
    pub(in crate::filter) fn of(text: &str) -> Self {
        let mut lines = Self {
            n_line_feeds: memchr_iter(b'\n', text.as_bytes()).count() as u64,
            ..Self::default()
        };
        for line in split_lines(text) {
            lines.n_lines += 1;
            // Every bullet begins with one of these bytes.
            if matches!(line.as_bytes().first(), Some(0xc2 | 0xe2)) {
                lines.n_bullets += u64::from(line.starts_with(|c| BULLETS.contains(c)));
            }
            let line = strip(line);
            lines.n_ending_in_ellipsis += u64::from(line.ends_with("...") || line.ends_with('…'));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_symbols() {
        let counts = Counts::of("## # a.. ...... b. …… …{}");
        assert_eq!((counts.n_hash_runs, counts.n_ellipses, counts.n_symbols), (2, 4, 3 + 2 + 3));
        assert_eq!(counts.n_curly, 2);
        assert_eq!(Counts::of(".a..").n_ellipses, 1);
    }

    #[test]
    fn classes() {
        let counts = Counts::of(" a_é½\u{301}\u{1c}1, -…\u{3000}");
        assert_eq!((counts.n_marks, counts.n_plain_chars), (3, 9));
        assert_eq!(counts.n_dense_chars, 10);
        assert_eq!(Counts::of(&"-a".repeat(300)).n_marks, 300);
    }

    #[test]
    fn stretches_and_placeholders() {
        let check = |text: &str, expected| {
            assert_eq!(NormalCounts::of(text).n_stretches, expected, "{text:?}")
        };
        check("", 0);
        check("?! -- . a. b", 2);
        check("One. Two?! (three) _", 3);
        assert_eq!(
            NormalCounts::of("Lorem IPSUM xlorem ipsumlorem ipsum lorem  ipsum ipsum")
                .n_lorem_ipsum,
            3
        );
    }

    #[test]
    fn lines() {
        let lines = Lines::of("• a\r\n·\n - b\n\n–c...\u{2028}é… \u{b}x");
        let expected = Lines { n_line_feeds: 4, n_lines: 7, n_bullets: 3, n_ending_in_ellipsis: 2 };
        assert_eq!(lines, expected);
    }
}
