//! Punkt: where sentences end, told from abbreviations, collocations and the case of words (Kiss and Strunk 2006).
//!
//! Parameters are read from the four files of NLTK's `punkt_tab`. Only places after `.`, `?` and `!` are looked at,
//! each with the word before and the token after it, as NLTK's `sentences_from_text` does.

use std::{ops::Range, path::Path};

use memchr::memchr3_iter;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    Error, Result,
    python::{Class, lower, strip},
};

/// What numbers are called.
const NUMBER: &str = "##number##";
/// Orthographic contexts: inside of a sentence in upper case, anywhere in upper case, at the beginning in lower
/// case, anywhere in lower case.
const INSIDE_UPPER: u32 = 1 << 2;
const ANY_UPPER: u32 = 1 << 1 | 1 << 2 | 1 << 3;
const FIRST_LOWER: u32 = 1 << 4;
const ANY_LOWER: u32 = 1 << 4 | 1 << 5 | 1 << 6;

/// A sentence splitter with its parameters.
#[derive(Debug, Default)]
pub struct Punkt {
    abbreviations: FxHashSet<Box<str>>,
    /// Words after a first word with which they make a collocation.
    collocations: FxHashMap<Box<str>, Vec<Box<str>>>,
    sentence_starters: FxHashSet<Box<str>>,
    contexts: FxHashMap<Box<str>, u32>,
}

impl Punkt {
    /// Reads the parameters from a folder such as `punkt_tab/english`.
    ///
    /// # Errors
    /// One of the four files cannot be read or has lines of another form.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut punkt = Self::default();
        let words = |name: &str| lines(&folder.join(name));
        let boxed = |lines: Vec<String>| lines.into_iter().map(String::into_boxed_str).collect();
        punkt.abbreviations = boxed(words("abbrev_types.txt")?);
        punkt.sentence_starters = boxed(words("sent_starters.txt")?);
        for (first, second) in pairs(&folder.join("collocations.tab"))? {
            punkt.collocations.entry(first).or_default().push(second);
        }
        let path = folder.join("ortho_context.tab");
        for (word, context) in pairs(&path)? {
            let context = context.parse().map_err(|_| Error::Malformed {
                path: path.clone(),
                problem: format!("`{context}` after `{word}`, expected a number"),
            })?;
            punkt.contexts.insert(word, context);
        }
        Ok(punkt)
    }

    /// The sentences of a text, in order, as ranges of bytes.
    pub fn sentences(&self, text: &str) -> Vec<Range<usize>> {
        realign(text, &self.slices(text))
    }

    /// The sentences before closing marks are moved to the sentence that they close.
    fn slices(&self, text: &str) -> Vec<Range<usize>> {
        let mut slices = Vec::new();
        let mut start = 0;
        let mut decide = |end: &PossibleEnd| {
            if self.is_end(&text[end.word_start..end.context_end]) {
                slices.push(start..end.mark + 1);
                start = end.next_token.unwrap_or(end.mark + 1);
            }
        };
        let mut previous: Option<PossibleEnd> = None;
        let mut searched = 0..0;
        for mark in memchr3_iter(b'.', b'?', b'!', text.as_bytes()) {
            let Some((context_end, next_token)) = token_after(text, mark + 1) else { continue };
            let before = &text.as_bytes()[searched.end..mark];
            let space = before.iter().rposition(|byte| byte.is_ascii_whitespace() || *byte == 0xb);
            // NLTK takes a space at the very start for none, and then the word before reaches back too far.
            let word_start = match space {
                Some(place) if place > 0 => searched.end + place + 1,
                _ => searched.start,
            };
            if let Some(previous) = previous.filter(|previous| previous.mark <= word_start) {
                decide(&previous);
            }
            searched = word_start..mark;
            previous = Some(PossibleEnd { word_start, mark, context_end, next_token });
        }
        if let Some(previous) = previous {
            decide(&previous);
        }
        slices.push(start..text.trim_end_matches(|c| Class::of(c).is(Class::SPACE)).len());
        slices
    }

    /// Whether a sentence ends in a context at a token that is not its last.
    fn is_end(&self, context: &str) -> bool {
        let mut previous: Option<PunktToken<'_>> = None;
        for line in context.split('\n').filter(|line| !strip(line).is_empty()) {
            let mut rest = line;
            while let Some((token, after)) = next_token(rest) {
                rest = after;
                let token = self.first_pass(token);
                if let Some(previous) = previous.replace(token)
                    && self.ends_before(&previous, &token)
                {
                    return true;
                }
            }
        }
        false
    }

    /// What the token alone tells.
    fn first_pass<'a>(&self, text: &'a str) -> PunktToken<'a> {
        let mut token =
            PunktToken { text, is_end: false, is_abbreviation: false, is_ellipsis: false };
        if matches!(text, "." | "?" | "!") {
            token.is_end = true;
        } else if text.len() > 1 && text.bytes().all(|byte| byte == b'.') {
            token.is_ellipsis = true;
        } else if text.ends_with('.') && !text.ends_with("..") {
            let word = lower(&text[..text.len() - 1]);
            let last_part = word.rsplit('-').next().unwrap_or_default();
            token.is_abbreviation =
                self.abbreviations.contains(&*word) || self.abbreviations.contains(last_part);
            token.is_end = !token.is_abbreviation;
        }
        token
    }

    /// Whether a sentence ends after a token, with what the next token tells.
    fn ends_before(&self, token: &PunktToken<'_>, next: &PunktToken<'_>) -> bool {
        if !token.text.ends_with('.') {
            return token.is_end;
        }
        let kind = kind(token.text);
        let kind = without_period(&kind);
        let next_kind = self::kind(next.text);
        let next_kind = if next.is_end { without_period(&next_kind) } else { &next_kind };
        let is_initial = is_initial(token.text);
        let seconds = self.collocations.get(kind);
        if seconds.is_some_and(|seconds| seconds.iter().any(|second| **second == *next_kind)) {
            return false;
        }
        let first = next.text.chars().next().map_or(Class::of('\0'), Class::of);
        let next_is_upper = first.is(Class::UPPER);
        if (token.is_abbreviation || token.is_ellipsis) && !is_initial {
            let is_known_starter = next_is_upper && self.sentence_starters.contains(next_kind);
            if self.begins_sentence(next.text, next_kind) == Some(true) || is_known_starter {
                return true;
            }
        }
        if is_initial || kind == NUMBER {
            match self.begins_sentence(next.text, next_kind) {
                Some(false) => return false,
                None if is_initial && next_is_upper && self.context(next_kind) & ANY_LOWER == 0 => {
                    return false;
                }
                _ => {}
            }
        }
        token.is_end
    }

    fn context(&self, kind: &str) -> u32 {
        self.contexts.get(kind).copied().unwrap_or_default()
    }

    /// The orthographic heuristic; None where it cannot tell.
    fn begins_sentence(&self, token: &str, kind: &str) -> Option<bool> {
        if matches!(token, ";" | ":" | "," | "." | "!" | "?") {
            return Some(false);
        }
        let context = self.context(kind);
        let first = token.chars().next().map(Class::of)?;
        if first.is(Class::UPPER) && context & ANY_LOWER != 0 && context & INSIDE_UPPER == 0 {
            return Some(true);
        }
        let is_known = context & ANY_UPPER != 0 || context & FIRST_LOWER == 0;
        (first.is(Class::LOWER) && is_known).then_some(false)
    }
}

/// A mark at which a sentence may end.
#[derive(Clone, Copy)]
struct PossibleEnd {
    /// Start of the word before the mark.
    word_start: usize,
    mark: usize,
    /// End of the token after the mark.
    context_end: usize,
    /// Start of that token, if white space is before it.
    next_token: Option<usize>,
}

/// A token of a context.
#[derive(Clone, Copy)]
struct PunktToken<'a> {
    text: &'a str,
    is_end: bool,
    is_abbreviation: bool,
    is_ellipsis: bool,
}

/// Marks that no word of Punkt holds.
fn is_non_word(c: char) -> bool {
    matches!(c, ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '?' | '!')
        || matches!(c, '‘' | '’' | '“' | '”' | '«' | '»')
}

fn is_space(c: char) -> bool {
    Class::of(c).is(Class::REGEX_SPACE)
}

/// What follows a mark: the end of the token after it, and its start if white space is between.
fn token_after(text: &str, place: usize) -> Option<(usize, Option<usize>)> {
    let rest = &text[place..];
    let first = rest.chars().next()?;
    if is_non_word(first) {
        return Some((place + first.len_utf8(), None));
    }
    if !is_space(first) {
        return None;
    }
    let start = rest.find(|c| !is_space(c))?;
    let token = &rest[start..];
    let end = token.find(is_space).unwrap_or(token.len());
    Some((place + start + end, Some(place + start)))
}

/// Moves closing marks after an end to the sentence they close, and leaves out what is empty.
fn realign(text: &str, slices: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut sentences = Vec::with_capacity(slices.len());
    let mut moved = 0;
    for (idx, slice) in slices.iter().enumerate() {
        let start = slice.start + moved;
        let next = slices.get(idx + 1);
        let closing = next.and_then(|next| Some((next.start, closing(text.get(next.clone())?)?)));
        moved = 0;
        if let Some((next_start, (n_marks, n_moved))) = closing {
            sentences.push(start..next_start + n_marks);
            moved = n_moved;
        } else if start < slice.end {
            sentences.push(start..slice.end);
        }
    }
    sentences
}

/// Bytes of the closing marks that a text begins with, alone and with the white space after them.
fn closing(text: &str) -> Option<(usize, usize)> {
    let is_closing =
        |c| matches!(c, '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»');
    let n_marks = text.find(|c| !is_closing(c)).unwrap_or(text.len());
    let rest = &text[n_marks..];
    let n_spaces = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
    let is_followed = rest.is_empty() || n_spaces > 0 || rest.starts_with("--");
    (n_marks > 0 && is_followed).then_some((n_marks, n_marks + n_spaces))
}

/// The next token of a line and what is after it.
fn next_token(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(is_space);
    let first = line.chars().next()?;
    let n_bytes = multi_char_mark(line).unwrap_or_else(|| match can_start_word(first) {
        true => word_length(line, first),
        false => first.len_utf8(),
    });
    Some(line.split_at(n_bytes))
}

fn can_start_word(c: char) -> bool {
    !matches!(c, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@')
        && !matches!(c, ')' | '}' | ']' | '-' | ',')
}

/// Length of the word that a line begins with, at least its first character.
fn word_length(line: &str, first: char) -> usize {
    let ends_word =
        |rest: &str, c: char| is_space(c) || is_non_word(c) || multi_char_mark(rest).is_some();
    let mut rest = &line[first.len_utf8()..];
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let is_last = match c {
            ',' => after.chars().next().is_none_or(|next| ends_word(after, next)),
            _ => false,
        };
        if is_last || ends_word(rest, c) {
            break;
        }
        rest = after;
    }
    line.len() - rest.len()
}

/// Length of a dash, an ellipsis or a spaced ellipsis that a text begins with.
fn multi_char_mark(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let first = *bytes.first().filter(|byte| matches!(byte, b'-' | b'.'))?;
    let run = bytes.iter().take_while(|&&byte| byte == first).count();
    if run > 1 {
        return Some(run);
    }
    if first == b'-' {
        return None;
    }
    spaced_ellipsis(text)
}

/// Length of `(?:\.\s){2,}\.`.
fn spaced_ellipsis(text: &str) -> Option<usize> {
    let (mut rest, mut n_pairs, mut end) = (text, 0, None);
    while let Some(after) = rest.strip_prefix('.') {
        if n_pairs >= 2 {
            end = Some(text.len() - after.len());
        }
        let Some(space) = after.chars().next().filter(|&c| is_space(c)) else { break };
        rest = &after[space.len_utf8()..];
        n_pairs += 1;
    }
    end
}

/// The case-folded form of a token, under which it is looked up.
fn kind(token: &str) -> std::borrow::Cow<'_, str> {
    let lower = lower(token);
    if is_number(&lower) { NUMBER.into() } else { lower }
}

/// `^-?[\.,]?\d[\d,\.-]*\.?$`.
fn is_number(word: &str) -> bool {
    let is_decimal = |c| Class::of(c).is(Class::REGEX_DECIMAL);
    let word = word.strip_prefix('-').unwrap_or(word);
    let word = word.strip_prefix(['.', ',']).unwrap_or(word);
    word.starts_with(is_decimal)
        && word.chars().all(|c| matches!(c, ',' | '.' | '-') || is_decimal(c))
}

fn without_period(kind: &str) -> &str {
    match kind.strip_suffix('.') {
        Some(shorter) if !shorter.is_empty() => shorter,
        _ => kind,
    }
}

/// One letter (or mark, or underscore) and a period.
fn is_initial(token: &str) -> bool {
    let mut letters = token.strip_suffix('.').unwrap_or_default().chars();
    let first = letters.next().map(Class::of);
    letters.next().is_none()
        && first.is_some_and(|first| first.is(Class::REGEX_WORD) && !first.is(Class::REGEX_DECIMAL))
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Lines of two words with a tab between.
fn pairs(path: &Path) -> Result<Vec<(Box<str>, Box<str>)>> {
    let pair = |(idx, line): (usize, String)| {
        let (first, second) = line.split_once('\t').ok_or_else(|| Error::Malformed {
            path: path.to_owned(),
            problem: format!("line {}: no tab, expected two words with one between", idx + 1),
        })?;
        Ok((first.into(), second.into()))
    };
    lines(path)?.into_iter().enumerate().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn punkt() -> Punkt {
        let words = |words: &[&str]| words.iter().map(|&word| word.into()).collect();
        let mut punkt = Punkt {
            abbreviations: words(&["mr", "e.g", "u.s"]),
            sentence_starters: words(&["the"]),
            ..Punkt::default()
        };
        punkt.collocations.insert("j".into(), vec!["ross".into()]);
        punkt.contexts.extend([
            ("it".into(), 126),
            ("they".into(), 1 << 1 | 1 << 5),
            ("bach".into(), 1 << 2),
        ]);
        punkt
    }

    /// Expected values are those of NLTK with the same parameters.
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> =
            punkt().sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn plain_ends() {
        check("One here. Two here? Three!", &["One here.", "Two here?", "Three!"]);
        check("", &[]);
        check("  \n", &[]);
        check("No mark at all \n", &["No mark at all"]);
        check("Wait... what? Yes!!! I do.", &["Wait... what?", "Yes!!!", "I do."]);
    }

    #[test]
    fn abbreviations_initials_and_numbers_do_not_end() {
        check("Mr. Smith came. He left.", &["Mr. Smith came.", "He left."]);
        check("In the U.S. They won.", &["In the U.S.", "They won."]);
        check("By J. Bach. End.", &["By J. Bach.", "End."]);
        check("At 3. p.m. it rang.", &["At 3. p.m.", "it rang."]);
    }

    #[test]
    fn closing_marks_go_with_their_sentence() {
        check(
            "\"So it is.\" \"Is it?\" (Yes.) No.",
            &["\"So it is.\"", "\"Is it?\"", "(Yes.)", "No."],
        );
        check("It is.” Then.", &["It is.”", "Then."]);
    }

    #[test]
    fn spaced_ellipses_are_one_token() {
        assert_eq!(multi_char_mark(". . . x"), Some(5));
        assert_eq!(multi_char_mark(". . x"), None);
        assert_eq!(multi_char_mark(". . ."), Some(5));
        assert_eq!(multi_char_mark(". . . .a"), Some(7));
        assert_eq!(multi_char_mark("---a"), Some(3));
    }

    #[test]
    fn a_folder_without_parameters_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Punkt::read(folder.path()).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("abbrev_types.txt"), "{error}");
        for name in
            ["abbrev_types.txt", "sent_starters.txt", "collocations.tab", "ortho_context.tab"]
        {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(Punkt::read(folder.path()).is_ok());
        std::fs::write(folder.path().join("ortho_context.tab"), "a\t1\nb\tx\n").unwrap();
        assert!(Punkt::read(folder.path()).unwrap_err().to_string().contains("`x` after `b`"));
        std::fs::write(folder.path().join("collocations.tab"), "a\n").unwrap();
        assert!(Punkt::read(folder.path()).unwrap_err().to_string().contains("line 1: no tab"));
    }
}
