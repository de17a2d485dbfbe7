//! What is counted of NLTK's sentences and tokens.

use std::cell::RefCell;

use super::assets::Assets;
use crate::{nltk::WordTokenizer, python::lower};

thread_local! {
    static TOKENIZER: RefCell<WordTokenizer> = RefCell::default();
}

/// Counts of the tokens of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::filter) struct Tokens {
    /// Sentences.
    pub(in crate::filter) n_sentences: u64,
    /// Sentences that end in `read more`.
    pub(in crate::filter) n_read_more: u64,
    /// Tokens.
    pub(in crate::filter) n_tokens: u64,
    /// Code points of all tokens.
    pub(in crate::filter) n_token_chars: u64,
    /// Tokens that are not letters only.
    pub(in crate::filter) n_not_letters: u64,
    /// Tokens that are digits only.
    pub(in crate::filter) n_digits: u64,
    /// The first bad word.
    pub(in crate::filter) bad_word: Option<String>,
}

impl Tokens {
    /// Tokenizes and counts; bad words are looked up as they are, or in lower case.
    pub(in crate::filter) fn of(text: &str, assets: &Assets, in_lower_case: bool) -> Self {
        let mut tokens = Self::default();
        TOKENIZER.with_borrow_mut(|tokenizer| {
            for range in assets.punkt.sentences(text) {
                let sentence = &text[range];
                tokens.n_sentences += 1;
                tokens.n_read_more += u64::from(ends_in_read_more(sentence));
                tokenizer.tokenize(sentence, |token| {
                    tokens.n_tokens += 1;
                    tokens.n_token_chars += token.n_chars as u64;
                    tokens.n_not_letters += u64::from(!token.is_alpha);
                    tokens.n_digits += u64::from(token.is_digit);
                    if tokens.bad_word.is_none() && is_bad(token.text, assets, in_lower_case) {
                        tokens.bad_word = Some(token.text.to_owned());
                    }
                });
            }
        });
        tokens
    }
}

#[inline]
fn is_bad(token: &str, assets: &Assets, in_lower_case: bool) -> bool {
    assets.bad_words.contains(token) || in_lower_case && assets.bad_words.contains(&lower(token))
}

/// `re.match(r".*(read more)$", sentence.lower())`: in the only line, which may end in LF. No other letter than
/// those of ASCII has one of these as its lower case.
pub(in crate::filter) fn ends_in_read_more(sentence: &str) -> bool {
    const WANTED: &[u8] = b"read more";
    let line = sentence.strip_suffix('\n').unwrap_or(sentence).as_bytes();
    let start = line.len().checked_sub(WANTED.len());
    start.is_some_and(|start| line[start..].eq_ignore_ascii_case(WANTED)) && !line.contains(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_its_own_reads_more() {
        for (sentence, expected) in [
            ("Read more", true),
            ("To know it, READ MORE\n", true),
            ("read more.", false),
            ("a\nread more", false),
            ("read more\n\n", false),
            ("more", false),
        ] {
            assert_eq!(ends_in_read_more(sentence), expected, "{sentence:?}");
        }
    }
}
