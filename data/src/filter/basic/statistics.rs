//! The counts of a text from which every rule is computed, taken in one pass over its characters.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// Characters in the runs whose repetition is measured: long enough that language itself does not repeat them.
const LONG_GRAM: usize = 20;
/// Characters in the runs of which the most frequent is counted.
const SHORT_GRAM: usize = 4;
/// Bullets of Gopher's rule, as MAP-Neo lists them (spec E3).
const BULLETS: &str = "•●○■□▪▫※·➢‣▶◀◦–";

/// Counts of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// All characters.
    pub n_chars: u64,
    /// Runs of characters between whitespace.
    pub n_words: u64,
    /// Characters in words: those that are not whitespace.
    pub n_word_chars: u64,
    /// Words with at least one letter.
    pub n_words_with_letter: u64,
    /// Words with two or more letters, none of them lower case.
    pub n_upper_words: u64,
    /// Letters of any script.
    pub n_letters: u64,
    /// Chinese characters.
    pub n_han: u64,
    /// Letters and digits.
    pub n_alphanumeric: u64,
    /// Digits of any script.
    pub n_digits: u64,
    /// Hash signs, `…`, and runs of three or more dots.
    pub n_symbols: u64,
    /// Curly brackets.
    pub n_curly: u64,
    /// Brackets, `;`, `=` and `_`.
    pub n_code_marks: u64,
    /// Different characters.
    pub n_distinct_chars: u64,
    /// Lines that are not blank.
    pub n_lines: u64,
    /// Characters in them, whitespace at both ends left aside.
    pub n_line_chars: u64,
    /// Characters of the longest of them.
    pub max_line_chars: u64,
    /// Characters in lines that occurred before.
    pub n_duplicate_line_chars: u64,
    /// Lines that end in an ellipsis.
    pub n_ellipsis_lines: u64,
    /// Ends of sentences: `.`, `!` or `?` before whitespace, a closing mark or the end of the line, and their
    /// Chinese forms anywhere; a run of them counts once, an ellipsis not at all.
    pub n_sentences: u64,
    /// Lines that begin with a bullet.
    pub n_bullet_lines: u64,
    /// Occurrences of the most frequent run of 4 letters or digits with nothing between them.
    pub n_top_gram: u64,
    /// Letters and digits inside runs of 20 that occurred before, all other characters left out.
    pub n_repeated_gram_chars: u64,
    /// Occurrences of `lorem ipsum` in any case.
    pub n_lorem_ipsum: u64,
}

impl Statistics {
    /// Measures a text.
    pub fn of(text: &str) -> Self {
        let mut statistics = Self::default();
        let mut seen_lines = Set::default();
        for line in text.lines() {
            statistics.add_line(line.trim(), &mut seen_lines);
        }
        statistics.add_characters(text);
        statistics
    }

    /// `part / whole`, 0 for a whole of 0.
    pub(super) fn share(&self, part: u64, whole: u64) -> f64 {
        if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
    }

    fn add_line(&mut self, line: &str, seen: &mut Set) {
        let Some(first) = line.chars().next() else { return };
        let n_chars = line.chars().count() as u64;
        self.n_lines += 1;
        self.n_line_chars += n_chars;
        self.max_line_chars = self.max_line_chars.max(n_chars);
        let hash = line.bytes().fold(0, |hash, byte| push(hash, u64::from(byte)));
        if !seen.insert(mix(hash)) {
            self.n_duplicate_line_chars += n_chars;
        }
        self.n_ellipsis_lines += u64::from(line.ends_with("...") || line.ends_with('…'));
        self.n_sentences += sentence_ends(line);
        self.n_bullet_lines += u64::from(BULLETS.contains(first));
    }

    fn add_characters(&mut self, text: &str) {
        let mut word = Word::default();
        let (mut distinct, mut ascii, mut dots) = (Set::default(), 0_u128, 0_u64);
        let mut phrase = Phrase::default();
        let mut grams = Grams::default();
        for c in text.chars() {
            self.n_chars += 1;
            if c.is_ascii() {
                ascii |= 1 << (c as u32);
            } else {
                distinct.insert(mix(u64::from(c)));
            }
            if c.is_whitespace() {
                self.end_word(std::mem::take(&mut word));
            } else {
                word.add(c);
            }
            dots = if c == '.' { dots + 1 } else { 0 };
            self.n_symbols += u64::from(c == '#' || c == '…' || dots == 3);
            self.n_curly += u64::from(c == '{' || c == '}');
            self.n_code_marks += u64::from("()[]{};=_".contains(c));
            self.n_digits += u64::from(c.is_numeric());
            self.n_letters += u64::from(c.is_alphabetic());
            self.n_alphanumeric += u64::from(c.is_alphanumeric());
            self.n_han += u64::from(is_han(c));
            self.n_lorem_ipsum += u64::from(phrase.ends_with(c));
            grams.add(c);
        }
        self.end_word(word);
        self.n_distinct_chars = u64::from(ascii.count_ones()) + distinct.len() as u64;
        self.n_top_gram = grams.short_counts.values().copied().max().unwrap_or(0);
        self.n_repeated_gram_chars = grams.n_repeated_chars;
    }

    fn end_word(&mut self, word: Word) {
        if word.n_chars == 0 {
            return;
        }
        self.n_words += 1;
        self.n_word_chars += word.n_chars;
        self.n_words_with_letter += u64::from(word.n_letters > 0);
        self.n_upper_words += u64::from(word.n_upper >= 2 && word.n_upper == word.n_letters);
    }
}

/// How many sentences end in a line.
fn sentence_ends(line: &str) -> u64 {
    let (mut n_ends, mut run) = (0, String::new());
    for c in line.chars().chain(['\n']) {
        if matches!(c, '.' | '!' | '?' | '。' | '！' | '？') {
            run.push(c);
            continue;
        }
        let is_chinese = run.contains(['。', '！', '？']);
        let is_before_gap = c.is_whitespace() || "\"')]*”’」』）》".contains(c);
        n_ends +=
            u64::from(!run.is_empty() && !run.contains("..") && (is_chinese || is_before_gap));
        run.clear();
    }
    n_ends
}

#[derive(Default)]
struct Word {
    n_chars: u64,
    n_letters: u64,
    n_upper: u64,
}

impl Word {
    fn add(&mut self, c: char) {
        self.n_chars += 1;
        self.n_letters += u64::from(c.is_alphabetic());
        self.n_upper += u64::from(c.is_uppercase());
    }
}

/// Follows how much of `lorem ipsum` the last characters are.
#[derive(Default)]
struct Phrase {
    matched: usize,
}

impl Phrase {
    const WANTED: &[u8] = b"lorem ipsum";

    fn ends_with(&mut self, c: char) -> bool {
        let c = c.to_ascii_lowercase();
        let next = |matched: usize| char::from(Self::WANTED[matched]) == c;
        // No proper start of the phrase is also an end of another start, so a mismatch begins afresh.
        self.matched = if next(self.matched) { self.matched + 1 } else { usize::from(next(0)) };
        let complete = self.matched == Self::WANTED.len();
        self.matched %= Self::WANTED.len();
        complete
    }
}

/// Runs of characters that occurred, by rolling hash.
#[derive(Default)]
struct Grams {
    n_chars: usize,
    /// The last [`LONG_GRAM`] characters, as a ring.
    last: [u64; LONG_GRAM],
    long_hash: u64,
    long_seen: Set,
    /// Characters before this place are already counted as repeated.
    counted_to: usize,
    n_repeated_chars: u64,
    short: u128,
    short_chars: usize,
    short_counts: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
}

impl Grams {
    fn add(&mut self, c: char) {
        if !c.is_alphanumeric() {
            // Indentation and the rules of tables repeat in good texts too.
            self.short_chars = 0;
            return;
        }
        self.add_short(c);
        let place = self.n_chars % LONG_GRAM;
        let leaving = std::mem::replace(&mut self.last[place], u64::from(c));
        self.n_chars += 1;
        let left = if self.n_chars > LONG_GRAM { leaving.wrapping_mul(LEAVING_FACTOR) } else { 0 };
        self.long_hash = push(self.long_hash, u64::from(c)).wrapping_sub(left);
        if self.n_chars >= LONG_GRAM && !self.long_seen.insert(mix(self.long_hash)) {
            let from = self.counted_to.max(self.n_chars - LONG_GRAM);
            self.n_repeated_chars += (self.n_chars - from) as u64;
            self.counted_to = self.n_chars;
        }
    }

    fn add_short(&mut self, c: char) {
        // 21 bits hold any character, so four of them fit exactly.
        self.short = (self.short << 21 | u128::from(u32::from(c))) & ((1 << 84) - 1);
        self.short_chars += 1;
        if self.short_chars >= SHORT_GRAM {
            let key = mix(self.short as u64 ^ mix((self.short >> 64) as u64));
            *self.short_counts.entry(key).or_default() += 1;
        }
    }
}

/// Base of the rolling hash: an odd number with mixed bits (the golden ratio of 64 bits).
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// `BASE` to the power of the run's length: the weight of the character that leaves the run.
const LEAVING_FACTOR: u64 = BASE.wrapping_pow(LONG_GRAM as u32);

fn push(hash: u64, value: u64) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(value)
}

/// Spreads the bits of a hash (finaliser of SplitMix64).
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

type Set = HashSet<u64, BuildHasherDefault<Hashed>>;

/// Takes a number that is a hash already as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| push(hash, u64::from(byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Whether a character is a Chinese character (the Unified Ideographs with their extensions, and `〇`).
fn is_han(c: char) -> bool {
    matches!(u32::from(c),
        0x3007 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, quantity: fn(&Statistics) -> u64, expected: u64) {
        assert_eq!(quantity(&Statistics::of(text)), expected, "{text:?}");
    }

    #[test]
    fn words_and_letters() {
        check("one two\u{3000}three\n", |s| s.n_words, 3);
        check("one 2 -- a1", |s| s.n_words_with_letter, 2);
        check("NASA I a USA. B2B x", |s| s.n_upper_words, 3);
        check("汉字ab1", |s| s.n_letters, 4);
        check("汉字ab1〇", |s| s.n_han, 3);
        check("1２x", |s| s.n_digits, 2);
        check("aab汉汉", |s| s.n_distinct_chars, 3);
        check("{ }", |s| s.n_curly, 2);
        check("f(x) = [a_1];", |s| s.n_code_marks, 7);
    }

    #[test]
    fn symbols() {
        check("# a... b.. c…", |s| s.n_symbols, 3);
        check("......", |s| s.n_symbols, 1);
        check("Lorem Ipsum, lorem ipsumlorem ipsum", |s| s.n_lorem_ipsum, 3);
        check("lolorem ipsum", |s| s.n_lorem_ipsum, 1);
        check("lorem  ipsum", |s| s.n_lorem_ipsum, 0);
    }

    #[test]
    fn lines() {
        check("a\n\n  b \n", |s| s.n_lines, 2);
        check("a\n\n  bcd \n", |s| s.n_line_chars, 4);
        check("abc\nx\n abc\nabc", |s| s.n_duplicate_line_chars, 6);
        check("so...\nthen…\nend.", |s| s.n_ellipsis_lines, 2);
        check("• a\n - b\n● c", |s| s.n_bullet_lines, 2);
        check("Yes. No?! So...\n“是。”他说。\nsee more ...\nver 1.2\n(no?)", |s| s.n_sentences, 5);
        check("ab\nabcd\na", |s| s.max_line_chars, 4);
    }

    #[test]
    fn repetition() {
        let run = "abcdefghijklmnopqrst";
        check(run, |s| s.n_repeated_gram_chars, 0);
        check(&format!("{run}{run}"), |s| s.n_repeated_gram_chars, 20);
        check(&format!("{run}-{run}uvw-{run}u"), |s| s.n_repeated_gram_chars, 41);
        check(&"x".repeat(30), |s| s.n_repeated_gram_chars, 29);
        check("abcd abcd abc d ----------", |s| s.n_top_gram, 2);
    }

    proptest! {
        #[test]
        fn counts_stay_within_the_text(text in any::<String>()) {
            let s = Statistics::of(&text);
            prop_assert_eq!(s.n_chars, text.chars().count() as u64);
            prop_assert_eq!(s.n_words, text.split_whitespace().count() as u64);
            prop_assert!(s.n_repeated_gram_chars <= s.n_alphanumeric);
            prop_assert!(s.n_duplicate_line_chars <= s.n_line_chars);
            prop_assert_eq!(s.n_distinct_chars, text.chars().collect::<HashSet<_>>().len() as u64);
        }
    }
}
