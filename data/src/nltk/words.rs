//! Treebank words as NLTK cuts them (`NLTKWordTokenizer`), in one walk over each sentence.
//!
//! NLTK runs some thirty substitutions over a sentence. What they do to a run of characters between white space
//! hangs on little else (the rest is said at [`WordTokenizer::tokenize`]), and to most runs they do nothing, or cut
//! off the mark at its end. Those are told by their characters; the others go through `substitutions.rs`.

use super::substitutions::{Piece, Substituter};
use crate::python::{Class, is_alpha, is_digit, split_words};

/// A token and what it consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The token as NLTK gives it: two backticks or apostrophes for a straight double quote.
    pub text: &'a str,
    /// Its characters.
    pub n_chars: usize,
    /// `str.isalpha`.
    pub is_alpha: bool,
    /// `str.isdigit`.
    pub is_digit: bool,
}

/// The tokenizer with its working memory.
#[derive(Debug, Default)]
pub struct WordTokenizer {
    substituter: Substituter,
}

impl WordTokenizer {
    /// Gives the tokens of a sentence, in order.
    ///
    /// Patterns that reach beyond a run of characters: the opening quote looks at the space before it, so a piece
    /// is substituted with the white space at its sides; the final period may be followed by closing marks and
    /// white space, so all from the run with that period on is one piece.
    pub fn tokenize(&mut self, sentence: &str, mut emit: impl FnMut(Token<'_>)) {
        let tail = tail(sentence);
        let mut start = 0;
        while let Some(run) = Run::next(sentence, start) {
            if run.start >= tail && run.end < sentence.len() {
                self.substitute(sentence, run.start, sentence.len(), &mut emit);
                return;
            }
            if !run.emit_plain(sentence, &mut emit) {
                self.substitute(sentence, run.start, run.end, &mut emit);
            }
            start = run.end;
        }
    }

    /// Gives the tokens of a piece by NLTK's substitutions.
    fn substitute(
        &mut self,
        sentence: &str,
        start: usize,
        end: usize,
        emit: &mut impl FnMut(Token<'_>),
    ) {
        let before = sentence[..start].chars().next_back().map_or(0, char::len_utf8);
        let after = sentence[end..].chars().next().map_or(0, char::len_utf8);
        let piece = Piece {
            text: &sentence[start - before..end + after],
            is_first: start == 0,
            is_last: end == sentence.len(),
        };
        for word in split_words(self.substituter.apply(piece)) {
            let n_chars = word.chars().count();
            emit(Token { text: word, n_chars, is_alpha: is_alpha(word), is_digit: is_digit(word) });
        }
    }
}

/// Start of the run that holds the final period, or of the last run.
fn tail(sentence: &str) -> usize {
    let is_space = |c: char| Class::of(c).is(Class::REGEX_SPACE);
    let is_closing = |c: char| matches!(c, ']' | ')' | '}' | '>' | '"' | '\'' | '»' | '”' | '’');
    let mut rest = sentence.trim_end_matches(|c| is_space(c) || is_closing(c));
    if !rest.ends_with('.') {
        rest = sentence.trim_end_matches(is_space);
    }
    let before = rest.trim_end_matches(|c| !is_space(c));
    before.len()
}

/// Characters between white space, with the kinds of them.
struct Run {
    start: usize,
    end: usize,
    /// Kinds of all characters but the last.
    kinds_before: u16,
    /// Kind of the last character.
    last: u16,
    /// All characters but the last.
    n_chars_before: usize,
}

/// Kinds of characters: those that no substitution touches ..
const LETTER: u16 = 1;
const DIGIT: u16 = 1 << 1;
const WIDE_LETTER: u16 = 1 << 2;
const OTHER: u16 = 1 << 3;
/// .. untouched unless doubled ..
const DASH: u16 = 1 << 4;
const PERIOD: u16 = 1 << 5;
/// .. cut off at the end of a run ..
const MARK: u16 = 1 << 6;
/// .. those that need a closer look ..
const SPECIAL: u16 = 1 << 7;
/// .. and those that may stand inside of a word: `'` and `’`.
const STRAIGHT: u16 = 1 << 10;
const CURLY: u16 = 1 << 11;
/// White space ends a run.
const SPACE: u16 = 1 << 8;
/// A character beyond ASCII.
const WIDE: u16 = 1 << 9;

static KINDS: [u16; 256] = kinds();

const fn kinds() -> [u16; 256] {
    let mut kinds = [WIDE; 256];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' => LETTER,
            b'0'..=b'9' => DIGIT,
            b'-' => DASH,
            b'.' => PERIOD,
            b',' | b':' | b';' | b'?' | b'!' => MARK,
            b'\t'..=b'\r' | b' ' => SPACE,
            b'\'' => STRAIGHT,
            b'"' | b'`' | b'@' | b'#' | b'$' | b'%' | b'&' | b'*' => SPECIAL,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' => SPECIAL,
            0x1c..=0x1f => SPECIAL,
            _ => OTHER,
        };
        byte += 1;
    }
    kinds
}

/// Kind of a character beyond ASCII.
fn wide_kind(c: char) -> u16 {
    match c {
        '’' => CURLY,
        '«' | '“' | '‘' | '„' | '»' | '”' | '\u{2012}'..='\u{2015}' => SPECIAL,
        // Equal to ASCII letters in some patterns.
        'İ' | 'ı' | 'ſ' => SPECIAL,
        _ => {
            let class = Class::of(c);
            match (class.is(Class::REGEX_SPACE), class.is(Class::ALPHA)) {
                (true, _) => SPACE,
                (_, true) => WIDE_LETTER,
                _ => OTHER | WIDE,
            }
        }
    }
}

impl Run {
    /// The first run that begins at or after a place.
    #[inline]
    fn next(sentence: &str, from: usize) -> Option<Self> {
        let bytes = sentence.as_bytes();
        let mut start = from;
        loop {
            let byte = *bytes.get(start)?;
            match KINDS[usize::from(byte)] {
                SPACE => start += 1,
                WIDE => {
                    let c = sentence[start..].chars().next()?;
                    if wide_kind(c) != SPACE {
                        break;
                    }
                    start += c.len_utf8();
                }
                _ => break,
            }
        }
        let mut run = Self { start, end: start, kinds_before: 0, last: 0, n_chars_before: 0 };
        while let Some(&byte) = bytes.get(run.end) {
            let mut kind = KINDS[usize::from(byte)];
            let mut n_bytes = 1;
            if kind == WIDE {
                let c = sentence[run.end..].chars().next()?;
                (kind, n_bytes) = (wide_kind(c), c.len_utf8());
            }
            if kind == SPACE {
                break;
            }
            run.n_chars_before += usize::from(run.last != 0);
            run.kinds_before |= run.last;
            run.last = kind;
            run.end += n_bytes;
        }
        Some(run)
    }

    /// Gives the tokens of a run that is one token, or one and a mark; false if it is none of these.
    #[inline]
    fn emit_plain(&self, sentence: &str, emit: &mut impl FnMut(Token<'_>)) -> bool {
        let text = &sentence[self.start..self.end];
        let is_final_period = self.last == PERIOD && self.end == sentence.len();
        let cuts_mark = self.last == MARK || is_final_period;
        let kinds = if cuts_mark { self.kinds_before } else { self.kinds_before | self.last };
        if kinds & (SPECIAL | MARK) != 0 || cuts_mark && self.n_chars_before == 0 {
            return false;
        }
        let n_chars = self.n_chars_before + usize::from(!cuts_mark);
        let core = &text[..text.len() - usize::from(cuts_mark)];
        if kinds & (DASH | PERIOD) != 0 && has_double(text.as_bytes()) || is_contraction(core) {
            return false;
        }
        match kinds & (STRAIGHT | CURLY) {
            0 => emit(Token {
                text: core,
                n_chars,
                is_alpha: kinds & !(LETTER | WIDE_LETTER) == 0,
                is_digit: kinds == DIGIT || kinds & WIDE != 0 && is_digit(core),
            }),
            _ if kinds & !(LETTER | STRAIGHT | CURLY) != 0 => return false,
            _ => match parts(core) {
                None => return false,
                Some(parts) => parts.into_iter().filter(|part| !part.is_empty()).for_each(|part| {
                    let is_alpha = part.bytes().all(|byte| byte.is_ascii_alphabetic());
                    let n_chars = if part == "’" { 1 } else { part.len() };
                    emit(Token { text: part, n_chars, is_alpha, is_digit: false });
                }),
            },
        }
        if cuts_mark {
            let mark = &text[core.len()..];
            emit(Token { text: mark, n_chars: 1, is_alpha: false, is_digit: false });
        }
        true
    }
}

/// The tokens of ASCII letters with one apostrophe among them, filled up with empty ones; None if there is more
/// to it.
fn parts(core: &str) -> Option<[&str; 3]> {
    let is_apostrophe = |c| matches!(c, '\'' | '’');
    let (before, rest) = core.split_at(core.find(is_apostrophe)?);
    let length = rest.chars().next().map_or(0, char::len_utf8);
    let (apostrophe, after) = rest.split_at(length);
    if before.is_empty() || after.is_empty() || after.contains(is_apostrophe) {
        return None;
    }
    if apostrophe == "’" {
        return Some([before, apostrophe, after]);
    }
    match after {
        "s" | "S" | "m" | "M" | "d" | "D" => return Some([before, rest, ""]),
        "ll" | "LL" | "re" | "RE" | "ve" | "VE" => return Some([before, rest, ""]),
        "t" | "T" => {
            let is_not = before.ends_with(if after == "t" { 'n' } else { 'N' }) && before.len() > 1;
            let end = before.len() - usize::from(is_not);
            return Some(if is_not { [&core[..end], &core[end..], ""] } else { [core, "", ""] });
        }
        _ => {}
    }
    let is_cut =
        |first, second| before.eq_ignore_ascii_case(first) && after.eq_ignore_ascii_case(second);
    (!is_cut("d", "ye") && !is_cut("more", "n")).then_some([core, "", ""])
}

/// `--` or `..`.
fn has_double(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| matches!(pair, b"--" | b".."))
}

/// Whether NLTK may cut a word of the run in two.
#[inline]
fn is_contraction(core: &str) -> bool {
    let bytes = core.as_bytes();
    let cut = |word: &[u8]| {
        let cut_words = ["cannot", "gimme", "gonna", "gotta", "lemme", "wanna"];
        cut_words.iter().any(|cut| {
            word.len() >= cut.len() && word[..cut.len()].eq_ignore_ascii_case(cut.as_bytes())
        })
    };
    let may_begin = |byte: u8| matches!(byte | 0x20, b'c' | b'g' | b'l' | b'w');
    if bytes.len() < 5 {
        return false;
    }
    if may_begin(bytes[0]) && cut(bytes) {
        return true;
    }
    let places = 1..bytes.len() - 4;
    places.into_iter().any(|idx| {
        !bytes[idx - 1].is_ascii_alphanumeric() && may_begin(bytes[idx]) && cut(&bytes[idx..])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(sentence: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        WordTokenizer::default().tokenize(sentence, |token| {
            let text = token.text;
            assert_eq!(token.n_chars, text.chars().count(), "{text:?}");
            assert_eq!(
                (token.is_alpha, token.is_digit),
                (is_alpha(text), is_digit(text)),
                "{text:?}"
            );
            tokens.push(text.to_owned());
        });
        tokens
    }

    fn check(sentence: &str, expected: &str) {
        assert_eq!(tokens(sentence).join(" "), expected, "{sentence:?}");
    }

    #[test]
    fn plain_words_and_marks() {
        check(
            "Good muffins cost $3.88\nin New York.  Please, buy",
            "Good muffins cost $ 3.88 in New York. Please , buy",
        );
        check("They can cannot I-Cannot. x", "They can can not I- Can not . x");
        check("Naïve café’s 汉字, ½ and ² x_y.", "Naïve café ’ s 汉字 , ½ and ² x_y .");
        check(
            "Don't he's WE'RE n't n'T o'er (d'ye) they’ve I'd.",
            "Do n't he 's WE 'RE n't n'T o'er ( d 'ye ) they ’ ve I 'd .",
        );
        check("He left. \" ) ", "He left. `` )");
        check("He left.\" ) ", "He left . '' )");
        check("So \"it\" is\t\"so\"", "So `` it '' is '' so ''");
    }

    proptest! {
        /// The fast way and the slow way over the whole sentence agree.
        #[test]
        fn runs_are_cut_as_the_whole_sentence_is(
            sentence in "([ \n\u{a0}\u{1d}]|[a-d.,:;'\"`(){}\\[\\]*?!@%–“”’«é汉1²_-]|'s|n't|N'T|'ve|a's|o'er|an't|d'ye|d’ye|cannot|wanna|\\.\\.|--|, |\\. ){0,12}"
        ) {
            let mut substituter = Substituter::default();
            let whole = substituter.apply(Piece { text: &sentence, is_first: true, is_last: true });
            let whole: Vec<&str> = split_words(whole).collect();
            prop_assert_eq!(tokens(&sentence), whole);
        }
    }
}
