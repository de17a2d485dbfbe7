//! Chinese words, cut as the Python package jieba 0.42.1 cuts them: default mode, hidden Markov model on.
//!
//! The best path through the dictionary is found by the crate `jieba-rs`, whose dictionary is jieba's. Around it
//! stands what that crate does otherwise than jieba: which characters make a block, what becomes of the single
//! characters that a path leaves, and the model in full precision (`jieba/model.rs`).

mod model;

use std::sync::LazyLock;

use self::model::Model;

/// The frequency of `B超`, which stands twice in jieba's dictionary, counts twice in jieba's total, and is in
/// `jieba-rs` but once. A word that is in no block takes the place of the second.
const COUNTED_TWICE: (&str, usize) = ("\0", 3);

/// Cuts texts into words.
pub struct Jieba {
    dictionary: jieba_rs::Jieba,
    model: Model,
}

impl Jieba {
    /// The cutter with jieba's own dictionary. It is made once, which takes a quarter of a second.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Jieba> = LazyLock::new(Jieba::new);
        &SHARED
    }

    fn new() -> Self {
        let mut dictionary = jieba_rs::Jieba::new();
        let (word, frequency) = COUNTED_TWICE;
        dictionary.add_word(word, Some(frequency), None);
        Self { dictionary, model: Model::new() }
    }

    /// Gives every word of a text in turn: `jieba.cut(text)`. Joined, the words are the text.
    pub fn cut<'a>(&self, text: &'a str, mut on_word: impl FnMut(&'a str)) {
        let mut states = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let block = start_while(rest, is_in_block);
            self.cut_block(block, &mut states, &mut on_word);
            rest = &rest[block.len()..];
            let between = start_while(rest, |c| !is_in_block(c));
            cut_between(between, &mut on_word);
            rest = &rest[between.len()..];
        }
    }

    /// The words of a block: those of the best path through the dictionary, but neighbouring single characters
    /// of the path are looked at again together.
    fn cut_block<'a>(
        &self,
        block: &'a str,
        states: &mut Vec<u8>,
        on_word: &mut impl FnMut(&'a str),
    ) {
        let mut singles = 0;
        for token in self.dictionary.cut(block, false) {
            // The crate joins letters and digits, each of which is a single character of the path: no word of
            // the dictionary consists of them alone.
            let is_single = token.end - token.start == 1
                || token.word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_single {
                continue;
            }
            self.cut_singles(&block[singles..token.byte_start], states, on_word);
            on_word(token.word);
            singles = token.byte_end;
        }
        self.cut_singles(&block[singles..], states, on_word);
    }

    /// What becomes of neighbouring single characters: themselves where together they are a word (which the path
    /// found less likely), else what the model takes for words.
    fn cut_singles<'a>(
        &self,
        singles: &'a str,
        states: &mut Vec<u8>,
        on_word: &mut impl FnMut(&'a str),
    ) {
        let Some(first) = singles.chars().next() else { return };
        if first.len_utf8() == singles.len() {
            on_word(singles);
        } else if self.dictionary.has_word(singles) {
            each_char(singles, on_word);
        } else {
            self.cut_unknown(singles, states, on_word);
        }
    }

    fn cut_unknown<'a>(
        &self,
        singles: &'a str,
        states: &mut Vec<u8>,
        on_word: &mut impl FnMut(&'a str),
    ) {
        let mut rest = singles;
        while !rest.is_empty() {
            let han = start_while(rest, is_han);
            self.model.cut(han, states, on_word);
            rest = &rest[han.len()..];
            let latin = start_while(rest, |c| !is_han(c));
            cut_latin(latin, on_word);
            rest = &rest[latin.len()..];
        }
    }
}

/// The characters that blocks consist of: jieba's `re_han_default`.
fn is_in_block(c: char) -> bool {
    is_han(c) || c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '&' | '.' | '_' | '%' | '-')
}

/// The Chinese characters of jieba; later ones and those outside the first plane are single words to it.
fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fd5}')
}

/// The longest start of a text whose characters pass.
fn start_while(text: &str, passes: impl Fn(char) -> bool) -> &str {
    let end = text.char_indices().find(|&(_, c)| !passes(c));
    end.map_or(text, |(end, _)| &text[..end])
}

fn each_char<'a>(text: &'a str, on_word: &mut impl FnMut(&'a str)) {
    for (start, c) in text.char_indices() {
        on_word(&text[start..start + c.len_utf8()]);
    }
}

/// Between blocks every character is a word, and so is CR LF.
fn cut_between<'a>(text: &'a str, on_word: &mut impl FnMut(&'a str)) {
    let mut rest = text;
    while let Some(line_break) = rest.find("\r\n") {
        each_char(&rest[..line_break], on_word);
        on_word(&rest[line_break..line_break + 2]);
        rest = &rest[line_break + 2..];
    }
    each_char(rest, on_word);
}

/// Cuts single characters of a block that are not Chinese: numbers with their fraction and percent sign and runs
/// of letters and digits are words, and so is what stands between them (jieba's `re_skip` of `finalseg`).
fn cut_latin<'a>(text: &'a str, on_word: &mut impl FnMut(&'a str)) {
    let mut rest = text;
    while !rest.is_empty() {
        let gap = start_while(rest, |c| !c.is_ascii_alphanumeric());
        if !gap.is_empty() {
            on_word(gap);
        }
        let (run, after) = rest[gap.len()..].split_at(latin_len(&rest[gap.len()..]));
        if !run.is_empty() {
            on_word(run);
        }
        rest = after;
    }
}

/// Bytes of `[a-zA-Z0-9]+(?:\.\d+)?%?` at the start of a text.
fn latin_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let count = |from: usize, passes: fn(&u8) -> bool| {
        bytes[from..].iter().take_while(|&byte| passes(byte)).count()
    };
    let mut len = count(0, u8::is_ascii_alphanumeric);
    if len > 0 && bytes.get(len) == Some(&b'.') {
        let fraction = count(len + 1, u8::is_ascii_digit);
        len += if fraction > 0 { 1 + fraction } else { 0 };
    }
    len + usize::from(len > 0 && bytes.get(len) == Some(&b'%'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        Jieba::shared().cut(text, |word| words.push(word));
        words
    }

    /// The expected words are what jieba 0.42.1 gives.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(words(text), expected.split('|').collect::<Vec<_>>());
    }

    #[test]
    fn words_of_the_dictionary_and_of_the_model() {
        check("我来到北京清华大学", "我|来到|北京|清华大学");
        check("他来到了网易杭研大厦", "他|来到|了|网易|杭研|大厦");
        check("在日本京都大学深造", "在|日本京都大学|深造");
        check("交代24口交换机等技术性器件", "交代|24|口|交换机|等|技术性|器件");
    }

    #[test]
    fn letters_digits_and_marks_within_blocks() {
        check("a_b_c人人的_AB型T恤", "a|_|b|_|c|人人|的|_|AB型|T恤");
        check("杭研鼋鼍龑1.5%a.b", "杭研|鼋|鼍|龑|1.5%|a|.|b");
        check("v1.2.3--50%%x", "v1.2|.|3|--|50%|%|x");
        check("用C++写AT&T的B超", "用|C++|写|AT&T|的|B超");
    }

    #[test]
    fn every_character_between_blocks_is_a_word() {
        check("买3台4S店㐀鿖é한국 x\r\ny", "买|3|台|4S店|㐀|鿖|é|한|국| |x|\r\n|y");
        check("\r\r\n\n", "\r|\r\n|\n");
    }

    proptest! {
        #[test]
        fn joined_the_words_are_the_text(text in "([ -~\r\n]|[\u{4e00}-\u{9fff}]|[a-z_.%0-9人的北京大学]|\\PC)*") {
            let words = words(&text);
            prop_assert!(words.iter().all(|word| !word.is_empty()));
            prop_assert_eq!(words.concat(), text);
        }
    }
}
