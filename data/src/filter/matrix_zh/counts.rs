//! What the rules ask of a rewritten text, counted in one pass over it, one over its form NFKC, and one over its words.

use rustc_hash::FxHashMap;

use crate::{
    jieba::Jieba,
    python::{Class, split_lines, strip},
};

/// What lines of lists begin with.
const BULLETS: [char; 15] =
    ['•', '●', '○', '■', '□', '▪', '▫', '※', '·', '➢', '‣', '▶', '◀', '◦', '–'];

/// What lines end with that only lead to another page. Of the last nothing is left by C0, but NFKC makes `。` of `｡`.
const MORE: [&str; 4] = ["readmore", "展开", "更多", "。。。"];

/// Counts of the text itself.
#[derive(Default)]
pub(super) struct TextCounts {
    /// Code points.
    pub(super) n_chars: u64,
    /// Pieces between sentence marks that are not blank.
    pub(super) n_pieces: u64,
    /// Runs of `#`.
    pub(super) n_hash_runs: u64,
    /// Runs of `…`, and of two or more full stops.
    pub(super) n_ellipses: u64,
}

/// Counts of the text in the form NFKC.
#[derive(Default)]
pub(super) struct NormalCounts {
    /// Code points.
    pub(super) n_chars: u64,
    /// Code points of words and white space.
    pub(super) n_plain_chars: u64,
    /// Digits among them.
    pub(super) n_digits: u64,
    /// Marks of ASCII, and `…`.
    pub(super) n_marks: u64,
    /// Lines.
    pub(super) n_lines: u64,
    /// Lines that end in an invitation to read more.
    pub(super) n_more_lines: u64,
    /// Lines that end in three full stops.
    pub(super) n_dotted_lines: u64,
    /// Lines that begin with a bullet.
    pub(super) n_bullet_lines: u64,
    /// Different code points.
    pub(super) n_distinct: u64,
    /// Entropy of the code points in nats.
    pub(super) entropy: f64,
}

/// Words as jieba cuts them from words and white space, without the white space.
#[derive(Clone, Copy, Default)]
pub(super) struct Words {
    pub(super) n_words: u64,
    pub(super) n_chars: u64,
}

impl TextCounts {
    pub(super) fn of(text: &str) -> Self {
        let mut counts = Self::default();
        let (mut last, mut n_dots, mut is_piece) = ('\0', 0_u64, false);
        for c in text.chars() {
            counts.n_chars += 1;
            if matches!(c, '.' | '!' | '…' | '?' | ';' | '"') {
                is_piece = false;
            } else if !is_piece && !Class::of(c).is(Class::SPACE) {
                is_piece = true;
                counts.n_pieces += 1;
            }
            n_dots = if c == '.' { n_dots + 1 } else { 0 };
            counts.n_ellipses += u64::from(n_dots == 2 || (c == '…' && last != '…'));
            counts.n_hash_runs += u64::from(c == '#' && last != '#');
            last = c;
        }
        counts
    }
}

impl NormalCounts {
    pub(super) fn of(normal: &str) -> Self {
        let mut counts = Self::default();
        counts.add_chars(normal);
        for line in split_lines(normal) {
            counts.n_lines += 1;
            counts.n_more_lines += u64::from(MORE.iter().any(|more| line.ends_with(more)));
            counts.n_dotted_lines += u64::from(line.ends_with("..."));
            counts.n_bullet_lines += u64::from(line.starts_with(BULLETS));
        }
        counts
    }

    fn add_chars(&mut self, normal: &str) {
        let mut frequencies = FxHashMap::<char, u64>::default();
        for c in normal.chars() {
            self.n_chars += 1;
            let class = Class::of(c);
            self.n_plain_chars += u64::from(class.is(PLAIN));
            self.n_digits += u64::from(class.is(Class::DIGIT));
            self.n_marks += u64::from(c.is_ascii_punctuation() || c == '…');
            *frequencies.entry(c).or_default() += 1;
        }
        self.n_distinct = frequencies.len() as u64;
        let shares = frequencies.values().map(|&n| n as f64 / self.n_chars as f64);
        self.entropy = -shares.map(|share| share * share.ln()).sum::<f64>();
    }
}

/// Characters that are not deleted before words are cut and digits counted.
const PLAIN: Class = Class::WORD.or(Class::SPACE);

impl Words {
    pub(super) fn of(normal: &str) -> Self {
        let plain: String = normal.chars().filter(|&c| Class::of(c).is(PLAIN)).collect();
        let mut words = Self::default();
        Jieba::shared().cut(&plain, |word| {
            if !strip(word).is_empty() {
                words.n_words += 1;
                words.n_chars += word.chars().count() as u64;
            }
        });
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::nfkc;

    #[test]
    fn counts_of_the_text() {
        let check = |text: &str, quantity: fn(&TextCounts) -> u64, expected| {
            assert_eq!(quantity(&TextCounts::of(text)), expected, "{text:?}");
        };
        check("甲.乙!\u{3000}?丙\"..;\n", |counts| counts.n_pieces, 3);
        check("…", |counts| counts.n_pieces, 0);
        check("##a# #", |counts| counts.n_hash_runs, 3);
        check("……a…b...c..d.….", |counts| counts.n_ellipses, 5);
        check("a汉", |counts| counts.n_chars, 2);
    }

    #[test]
    fn counts_of_the_normal_form() {
        let check = |text: &str, quantity: fn(&NormalCounts) -> u64, expected| {
            assert_eq!(quantity(&NormalCounts::of(&nfkc(text))), expected, "{text:?}");
        };
        check("ａ…", |counts| counts.n_chars, 4);
        check("ａ…", |counts| counts.n_marks, 3);
        check("①, ½\n", |counts| counts.n_digits, 3);
        check("①, ½\n", |counts| counts.n_plain_chars, 5);
        check("展开\r\nreadmore\n更多 \n｡｡｡\n", |counts| counts.n_lines, 4);
        check("展开\r\nreadmore\n更多 \n｡｡｡\n", |counts| counts.n_more_lines, 3);
        check("a…\n", |counts| counts.n_dotted_lines, 1);
        check("·a\n •b\n–c\n-d", |counts| counts.n_bullet_lines, 2);
        check("aab", |counts| counts.n_distinct, 2);
    }

    #[test]
    fn entropy_and_words() {
        assert!((NormalCounts::of("abab").entropy - 2_f64.ln()).abs() < 1e-12);
        let words = Words::of("我来到，北京\n清华 大学");
        assert_eq!((words.n_chars, words.n_words), (9, 5));
        assert_eq!(Words::of("……").n_words, 0);
    }
}
