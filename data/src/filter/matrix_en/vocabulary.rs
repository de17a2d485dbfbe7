//! What is counted of the words between white space: how many, how many different, of what kind.

use rustc_hash::FxHashMap;

use super::assets::Assets;
use crate::python::{Class, lower};

/// Counts of the words of a text.
#[derive(Debug, Default)]
pub(in crate::filter) struct Vocabulary {
    /// Words.
    pub(in crate::filter) n_words: u64,
    /// Different words.
    pub(in crate::filter) n_distinct: u64,
    /// Words without a letter.
    pub(in crate::filter) n_without_letter: u64,
    /// Words of letters only, in upper case.
    pub(in crate::filter) n_upper: u64,
    /// Words of which something is left without marks.
    pub(in crate::filter) n_words_without_marks: u64,
    /// Of these, stop words.
    pub(in crate::filter) n_stop_words: u64,
    /// Different stop words.
    pub(in crate::filter) n_distinct_stop_words: u64,
    /// Shannon entropy of the words, in nats.
    pub(in crate::filter) entropy: f64,
}

/// A different word.
struct Word {
    count: u64,
    /// Whether something is left of it without marks.
    has_rest: bool,
    stop_word: Option<u32>,
}

impl Vocabulary {
    pub(in crate::filter) fn of(text: &str, assets: &Assets) -> Self {
        let mut vocabulary = Self::default();
        let mut index = FxHashMap::<&str, usize>::default();
        // About as many different words as English has in so many bytes.
        index.reserve(text.len() / 12);
        let mut words: Vec<Word> = Vec::with_capacity(text.len() / 12);
        let mut rest = String::new();
        for (word, kinds) in (Words { text, place: 0 }) {
            vocabulary.add(kinds);
            let idx = *index.entry(word).or_insert_with(|| {
                without_marks(word, &mut rest);
                let stop_word = assets.stop_words.get(&*rest).copied();
                words.push(Word { count: 0, has_rest: !rest.is_empty(), stop_word });
                words.len() - 1
            });
            words[idx].count += 1;
        }
        vocabulary.summarise(&words);
        vocabulary
    }

    #[inline]
    fn add(&mut self, kinds: Kinds) {
        self.n_words += 1;
        self.n_without_letter += u64::from(!kinds.some & ALPHA != 0);
        let is_upper = kinds.some & UPPER != 0 && kinds.some & NOT_UPPER == 0;
        self.n_upper += u64::from(kinds.all & ALPHA != 0 && is_upper);
    }

    /// Sums over the different words, in the order of their first occurrence as Python does.
    fn summarise(&mut self, words: &[Word]) {
        self.n_distinct = words.len() as u64;
        let mut found = Vec::new();
        for word in words {
            let share = word.count as f64 / self.n_words as f64;
            self.entropy -= share * share.ln();
            self.n_words_without_marks += if word.has_rest { word.count } else { 0 };
            if let Some(stop_word) = word.stop_word {
                self.n_stop_words += word.count;
                found.push(stop_word);
            }
        }
        found.sort_unstable();
        found.dedup();
        self.n_distinct_stop_words = found.len() as u64;
    }
}

/// What is left of a word without all that is neither `\w` nor `'` nor `\`, in lower case.
fn without_marks(word: &str, rest: &mut String) {
    rest.clear();
    let is_kept = |c: char| matches!(c, '\'' | '\\') || Class::of(c).is(Class::WORD);
    if word.is_ascii() {
        rest.extend(word.chars().filter(|&c| is_kept(c)).map(|c| c.to_ascii_lowercase()));
    } else {
        let kept: String = word.chars().filter(|&c| is_kept(c)).collect();
        rest.push_str(&lower(&kept));
    }
}

const ALPHA: u8 = 1;
const UPPER: u8 = 1 << 1;
/// Lower or title case.
const NOT_UPPER: u8 = 1 << 2;
const SPACE: u8 = 1 << 3;

/// Kinds that some character of a word has, and that all have.
#[derive(Clone, Copy)]
struct Kinds {
    some: u8,
    all: u8,
}

static KINDS: [u8; 128] = {
    let mut kinds = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b'A'..=b'Z' => ALPHA | UPPER,
            b'a'..=b'z' => ALPHA | NOT_UPPER,
            b'\t'..=b'\r' | b' ' | 0x1c..=0x1f => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

fn wide_kinds(c: char) -> u8 {
    let class = Class::of(c);
    let bit = |test, bit| if class.is(test) { bit } else { 0 };
    bit(Class::ALPHA, ALPHA)
        | bit(Class::UPPER, UPPER)
        | bit(Class::LOWER.or(Class::TITLE), NOT_UPPER)
        | bit(Class::SPACE, SPACE)
}

/// The words of a text with the kinds of their characters.
struct Words<'a> {
    text: &'a str,
    place: usize,
}

impl Words<'_> {
    /// Kinds of the next character and its length.
    #[inline]
    fn peek(&self) -> Option<(u8, usize)> {
        let byte = *self.text.as_bytes().get(self.place)?;
        if byte.is_ascii() {
            return Some((KINDS[usize::from(byte)], 1));
        }
        let c = self.text[self.place..].chars().next()?;
        Some((wide_kinds(c), c.len_utf8()))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, Kinds);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while let Some((SPACE, length)) = self.peek() {
            self.place += length;
        }
        let start = self.place;
        let mut kinds = Kinds { some: 0, all: !0 };
        while let Some((kind, length)) = self.peek().filter(|&(kind, _)| kind != SPACE) {
            kinds = Kinds { some: kinds.some | kind, all: kinds.all & kind };
            self.place += length;
        }
        (self.place > start).then(|| (&self.text[start..self.place], kinds))
    }
}
