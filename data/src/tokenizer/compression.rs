//! How a tokenizer cuts texts: what two of them are compared by.

use std::ops::AddAssign;

use serde::Serialize;
use unicode_script::{Script, UnicodeScript};

use super::Tokenizer;

/// Sums over texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compression {
    /// Number of texts.
    pub texts: u64,
    /// UTF-8 bytes.
    pub bytes: u64,
    /// Unicode code points.
    pub chars: u64,
    /// Words: runs of letters, digits and marks; each Chinese character is one by itself.
    pub words: u64,
    /// Ids, without bos and eos.
    pub tokens: u64,
    /// Ids that stand for a byte.
    pub byte_tokens: u64,
    /// Ids of `<unk>`.
    pub unknown_tokens: u64,
}

impl Compression {
    /// Of one text.
    pub fn measure(tokenizer: &Tokenizer, text: &str) -> Self {
        let ids = tokenizer.encode(text);
        let n_of = |is_counted: fn(&Tokenizer, u32) -> bool| {
            ids.iter().filter(|&&id| is_counted(tokenizer, id)).count() as u64
        };
        Self {
            texts: 1,
            bytes: text.len() as u64,
            chars: text.chars().count() as u64,
            words: n_words(text),
            tokens: ids.len() as u64,
            byte_tokens: n_of(Tokenizer::is_byte),
            unknown_tokens: n_of(Tokenizer::is_unknown),
        }
    }

    /// UTF-8 bytes per token.
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes as f64 / self.tokens as f64
    }

    /// Code points per token.
    pub fn chars_per_token(&self) -> f64 {
        self.chars as f64 / self.tokens as f64
    }

    /// Tokens per word.
    pub fn fertility(&self) -> f64 {
        self.tokens as f64 / self.words as f64
    }

    /// Share of the tokens that stand for a byte.
    pub fn byte_rate(&self) -> f64 {
        self.byte_tokens as f64 / self.tokens as f64
    }

    /// Share of the tokens that are `<unk>`.
    pub fn unknown_rate(&self) -> f64 {
        self.unknown_tokens as f64 / self.tokens as f64
    }
}

impl AddAssign for Compression {
    fn add_assign(&mut self, other: Self) {
        self.texts += other.texts;
        self.bytes += other.bytes;
        self.chars += other.chars;
        self.words += other.words;
        self.tokens += other.tokens;
        self.byte_tokens += other.byte_tokens;
        self.unknown_tokens += other.unknown_tokens;
    }
}

fn n_words(text: &str) -> u64 {
    let (mut n_words, mut is_inside) = (0, false);
    for character in text.chars() {
        if character.script() == Script::Han {
            n_words += 1;
            is_inside = false;
            continue;
        }
        let is_mark = || character.script() == Script::Inherited;
        let goes_on = character.is_alphanumeric() || is_inside && is_mark();
        n_words += u64::from(goes_on && !is_inside);
        is_inside = goes_on;
    }
    n_words
}

#[cfg(test)]
mod tests {
    use super::super::sentence_piece::{MARKER, ModelProto, TrainerSpec};
    use super::*;

    #[test]
    fn words_are_runs_of_letters_or_single_chinese_characters() {
        let check = |text: &str, expected| assert_eq!(n_words(text), expected, "{text:?}");
        check("", 0);
        check("don't stop, 2 of them", 6);
        check("中文abc字", 4);
        check("e\u{301}te\u{301} \u{301}", 1);
        check("fn main() { x_1 += 2; }", 5);
    }

    #[test]
    fn tokens_are_counted_by_kind() {
        let merged = [format!("{MARKER}a")];
        let model = ModelProto::in_neo_layout(merged, [MARKER, 'a'], TrainerSpec::default());
        let tokenizer = Tokenizer::from_model(model).unwrap();
        let mut sums = Compression::measure(&tokenizer, "a aé");
        sums += Compression::measure(&tokenizer, "a");
        let expected = Compression {
            texts: 2,
            bytes: 6,
            chars: 5,
            words: 3,
            tokens: 5,
            byte_tokens: 2,
            unknown_tokens: 0,
        };
        assert_eq!(sums, expected);
        assert_eq!((sums.bytes_per_token(), sums.byte_rate()), (1.2, 0.4));
    }
}
