//! The substitutions of NLTK's word tokenizer one after another, as NLTK writes them.
//!
//! This is the exact and slow way, for the few pieces of text that hold marks; `words.rs` has the fast way for the
//! rest. A piece stands with the white space at its sides, which some of the patterns look at.

use crate::python::Class;

/// A piece of a sentence.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// The piece and, inside of the sentence, the character of white space on either side.
    pub(super) text: &'a str,
    /// Whether it begins where the sentence does.
    pub(super) is_first: bool,
    /// Whether it ends where the sentence does.
    pub(super) is_last: bool,
}

/// Memory for the substitutions, kept between pieces.
#[derive(Debug, Default)]
pub(super) struct Substituter {
    text: Vec<char>,
    next: Vec<char>,
    tokens: String,
}

impl Substituter {
    /// The piece with its tokens apart: split at Python's white space to have them.
    pub(super) fn apply(&mut self, piece: Piece<'_>) -> &str {
        self.text.clear();
        self.text.extend(piece.text.chars());
        let marks = Marks::of(&self.text);
        self.opening_quotes(piece.is_first, marks);
        self.punctuation(piece.is_last, marks);
        self.closing_quotes(marks);
        self.contractions();
        self.tokens.clear();
        self.tokens.extend(&self.text);
        &self.tokens
    }

    /// Runs a substitution that reads the text and writes the next.
    fn run(&mut self, substitution: impl FnOnce(&[char], &mut Vec<char>)) {
        self.next.clear();
        substitution(&self.text, &mut self.next);
        std::mem::swap(&mut self.text, &mut self.next);
    }

    fn opening_quotes(&mut self, is_first: bool, marks: Marks) {
        if marks.has(Marks::OPENING) {
            self.run(|text, out| {
                pad_runs(text, out, |c| matches!(c, '«' | '“' | '‘' | '„'), false)
            });
            self.run(|text, out| pad_runs(text, out, |c| c == '`', true));
        }
        if is_first && self.text.first() == Some(&'"') {
            self.text.splice(..1, ['`', '`']);
        }
        if marks.has(Marks::OPENING.or(Marks::QUOTE)) {
            self.run(|text, out| pad_pairs(text, out, '`'));
        }
        if marks.has(Marks::QUOTE.or(Marks::APOSTROPHE)) {
            self.run(opening_after_space);
        }
        if marks.has(Marks::APOSTROPHE) {
            self.run(opening_apostrophe);
        }
    }

    fn punctuation(&mut self, is_last: bool, marks: Marks) {
        if is_last && marks.has(Marks::PERIOD) {
            final_period(&mut self.text, is_closing_or_space, true);
        }
        if marks.has(Marks::COMMA) {
            self.run(comma);
            if is_last {
                final_comma(&mut self.text);
            }
        }
        if marks.has(Marks::PERIOD) {
            self.run(ellipses);
        }
        if marks.has(Marks::SIGN) {
            self.run(|text, out| {
                pad(text, out, |c| matches!(c, ';' | '@' | '#' | '$' | '%' | '&'))
            });
            self.run(|text, out| pad(text, out, |c| matches!(c, '\u{2012}'..='\u{2015}')));
        }
        if is_last && marks.has(Marks::PERIOD) {
            final_period(&mut self.text, is_closing, false);
        }
        if marks.has(Marks::SIGN) {
            self.run(|text, out| pad(text, out, |c| matches!(c, '?' | '!')));
        }
        if marks.has(Marks::APOSTROPHE) {
            self.run(closing_apostrophe);
        }
        if marks.has(Marks::SIGN) {
            self.run(|text, out| pad(text, out, |c| c == '*'));
            self.run(|text, out| {
                pad(text, out, |c| matches!(c, '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>'));
            });
        }
        if marks.has(Marks::DASH) {
            self.run(|text, out| pad_pairs(text, out, '-'));
        }
    }

    fn closing_quotes(&mut self, marks: Marks) {
        self.text.insert(0, ' ');
        self.text.push(' ');
        if marks.has(Marks::CLOSING) {
            self.run(|text, out| pad(text, out, |c| matches!(c, '»' | '”' | '’')));
        }
        if marks.has(Marks::APOSTROPHE) {
            self.run(|text, out| pad_pairs(text, out, '\''));
        }
        if marks.has(Marks::QUOTE) {
            self.run(straight_quotes);
        }
        self.run(one_space);
        if marks.has(Marks::APOSTROPHE) {
            self.run(possessives);
            self.run(clitics);
        }
    }

    fn contractions(&mut self) {
        for &(first, second, rule) in &CONTRACTIONS {
            if has_contraction(&self.text, first, second) {
                self.run(|text, out| split_contraction(text, out, first, second, rule));
            }
        }
    }
}

/// Which kinds of marks a piece holds, so that substitutions without work are passed over.
#[derive(Clone, Copy)]
struct Marks(u16);

impl Marks {
    const OPENING: Self = Self(1);
    const QUOTE: Self = Self(1 << 1);
    const APOSTROPHE: Self = Self(1 << 2);
    const PERIOD: Self = Self(1 << 3);
    const COMMA: Self = Self(1 << 4);
    const SIGN: Self = Self(1 << 5);
    const DASH: Self = Self(1 << 6);
    const CLOSING: Self = Self(1 << 7);

    fn of(text: &[char]) -> Self {
        text.iter().fold(Self(0), |marks, c| {
            marks.or(match c {
                '«' | '“' | '‘' | '„' | '`' => Self::OPENING,
                '"' => Self::QUOTE,
                '\'' => Self::APOSTROPHE,
                '.' => Self::PERIOD,
                ':' | ',' => Self::COMMA,
                ';' | '@' | '#' | '$' | '%' | '&' | '?' | '!' | '*' => Self::SIGN,
                '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>' => Self::SIGN,
                '\u{2012}'..='\u{2015}' => Self::SIGN,
                '-' => Self::DASH,
                '»' | '”' | '’' => Self::CLOSING,
                _ => Self(0),
            })
        })
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, marks: Self) -> bool {
        self.0 & marks.0 != 0
    }
}

fn is_space(c: char) -> bool {
    Class::of(c).is(Class::REGEX_SPACE)
}

/// A space on both sides of every such character, or of every run of them.
fn pad_runs(text: &[char], out: &mut Vec<char>, is_padded: impl Fn(char) -> bool, runs: bool) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        let length = match is_padded(c) {
            true if runs => text[idx..].iter().take_while(|&&c| is_padded(c)).count(),
            padded => usize::from(padded),
        };
        if length == 0 {
            out.push(c);
            idx += 1;
            continue;
        }
        out.push(' ');
        out.extend(&text[idx..idx + length]);
        out.push(' ');
        idx += length;
    }
}

fn pad(text: &[char], out: &mut Vec<char>, is_padded: impl Fn(char) -> bool) {
    pad_runs(text, out, is_padded, false);
}

/// A space on both sides of two equal characters.
fn pad_pairs(text: &[char], out: &mut Vec<char>, of: char) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        if c == of && text.get(idx + 1) == Some(&of) {
            out.extend([' ', of, of, ' ']);
            idx += 2;
        } else {
            out.push(c);
            idx += 1;
        }
    }
}

/// `([ \(\[{<])("|'{2})`.
fn opening_after_space(text: &[char], out: &mut Vec<char>) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        out.push(c);
        idx += 1;
        if matches!(c, ' ' | '(' | '[' | '{' | '<') {
            let length = match text.get(idx..) {
                Some(['"', ..]) => 1,
                Some(['\'', '\'', ..]) => 2,
                _ => continue,
            };
            out.extend([' ', '`', '`', ' ']);
            idx += length;
        }
    }
}

/// `(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)`.
fn opening_apostrophe(text: &[char], out: &mut Vec<char>) {
    let is_word = |c: Option<&char>| c.is_some_and(|&c| Class::of(c).is(Class::REGEX_WORD));
    for (idx, &c) in text.iter().enumerate() {
        out.push(c);
        let before = idx.checked_sub(1).and_then(|before| text.get(before));
        let rest = &text[idx + 1..];
        if c == '\'' && !is_word(before) && is_word(rest.first()) {
            let ends = ["re", "ve", "ll", "m", "t", "s", "d", "n"];
            let is_clitic = ends
                .iter()
                .any(|end| starts_with_ignoring_case(rest, end) && !is_word(rest.get(end.len())));
            if !is_clitic {
                out.push(' ');
            }
        }
    }
}

fn is_closing(c: char) -> bool {
    matches!(c, ']' | ')' | '}' | '>' | '"' | '\'')
}

fn is_closing_or_space(c: char) -> bool {
    is_closing(c) || matches!(c, ' ' | '»' | '”' | '’')
}

/// `([^\.])(\.)(CLOSING*)\s*$`, with a space on both sides of the period, or only before it.
fn final_period(text: &mut Vec<char>, is_closing: fn(char) -> bool, space_after: bool) {
    let end = text.len() - text.iter().rev().take_while(|&&c| is_space(c)).count();
    // White space that the class holds too may stand among the closing marks.
    let marks_end = end + text[end..].iter().take_while(|&&c| is_closing(c)).count();
    let n_marks = text[..marks_end].iter().rev().take_while(|&&c| is_closing(c)).count();
    let Some(period) = (marks_end - n_marks).checked_sub(1) else { return };
    if text[period] != '.' || period == 0 || text[period - 1] == '.' {
        return;
    }
    let closing: Vec<char> = text[period + 1..marks_end].to_vec();
    text.truncate(period);
    text.extend([' ', '.']);
    if space_after {
        text.push(' ');
    }
    text.extend(closing);
    text.push(' ');
}

/// `([:,])([^\d])`.
fn comma(text: &[char], out: &mut Vec<char>) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        let after = text.get(idx + 1).filter(|&&c| !Class::of(c).is(Class::REGEX_DECIMAL));
        if let (':' | ',', Some(&after)) = (c, after) {
            out.extend([' ', c, ' ', after]);
            idx += 2;
        } else {
            out.push(c);
            idx += 1;
        }
    }
}

/// `([:,])$`, where the end may have a line feed after it.
fn final_comma(text: &mut Vec<char>) {
    let end = text.len() - usize::from(text.last() == Some(&'\n'));
    for place in [text.len(), end].into_iter().filter(|&place| place > 0) {
        if matches!(text[place - 1], ':' | ',') {
            text.insert(place, ' ');
            text.insert(place - 1, ' ');
            return;
        }
    }
}

/// `\.{2,}`.
fn ellipses(text: &[char], out: &mut Vec<char>) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        let length = text[idx..].iter().take_while(|&&c| c == '.').count();
        if length < 2 {
            out.push(c);
            idx += 1;
            continue;
        }
        out.push(' ');
        out.extend(&text[idx..idx + length]);
        out.push(' ');
        idx += length;
    }
}

/// `([^'])' `.
fn closing_apostrophe(text: &[char], out: &mut Vec<char>) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        if let [before, '\'', ' ', ..] = text[idx..]
            && before != '\''
        {
            out.extend([before, ' ', '\'', ' ']);
            idx += 3;
        } else {
            out.push(c);
            idx += 1;
        }
    }
}

fn straight_quotes(text: &[char], out: &mut Vec<char>) {
    for &c in text {
        match c {
            '"' => out.extend([' ', '\'', '\'', ' ']),
            _ => out.push(c),
        }
    }
}

/// `\s+` to one space.
fn one_space(text: &[char], out: &mut Vec<char>) {
    let mut in_space = false;
    for &c in text {
        let space = is_space(c);
        if !space {
            out.push(c);
        } else if !in_space {
            out.push(' ');
        }
        in_space = space;
    }
}

/// `([^' ])('[sS]|'[mM]|'[dD]|') `.
fn possessives(text: &[char], out: &mut Vec<char>) {
    let length = |rest: &[char]| match rest {
        ['\'', 's' | 'S' | 'm' | 'M' | 'd' | 'D', ' ', ..] => Some(2),
        ['\'', ' ', ..] => Some(1),
        _ => None,
    };
    detach(text, out, length);
}

/// `([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) `.
fn clitics(text: &[char], out: &mut Vec<char>) {
    let length = |rest: &[char]| match rest {
        ['\'', 'l', 'l', ' ', ..] | ['\'', 'L', 'L', ' ', ..] => Some(3),
        ['\'', 'r', 'e', ' ', ..] | ['\'', 'R', 'E', ' ', ..] => Some(3),
        ['\'', 'v', 'e', ' ', ..] | ['\'', 'V', 'E', ' ', ..] => Some(3),
        ['n', '\'', 't', ' ', ..] | ['N', '\'', 'T', ' ', ..] => Some(3),
        _ => None,
    };
    detach(text, out, length);
}

/// A space before an end of so many characters, after a character that is neither `'` nor a space; the space
/// after the end is used up, so that the next match begins behind it.
fn detach(text: &[char], out: &mut Vec<char>, end: impl Fn(&[char]) -> Option<usize>) {
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        out.push(c);
        idx += 1;
        if c == '\'' || c == ' ' {
            continue;
        }
        if let Some(length) = end(&text[idx..]) {
            out.push(' ');
            out.extend(&text[idx..idx + length + 1]);
            idx += length + 1;
        }
    }
}

/// What must stand at the sides of a contraction.
#[derive(Clone, Copy, PartialEq)]
enum Sides {
    /// `\b` on both.
    Words,
    /// `\b` before, white space after.
    SpaceAfter,
    /// A space before, `\b` after.
    SpaceBefore,
}

/// Words that are cut in two, in NLTK's order.
const CONTRACTIONS: [(&str, &str, Sides); 10] = [
    ("can", "not", Sides::Words),
    ("d", "'ye", Sides::Words),
    ("gim", "me", Sides::Words),
    ("gon", "na", Sides::Words),
    ("got", "ta", Sides::Words),
    ("lem", "me", Sides::Words),
    ("more", "'n", Sides::Words),
    ("wan", "na", Sides::SpaceAfter),
    ("'t", "is", Sides::SpaceBefore),
    ("'t", "was", Sides::SpaceBefore),
];

fn has_contraction(text: &[char], first: &str, second: &str) -> bool {
    (0..text.len()).any(|idx| is_contraction(&text[idx..], first, second))
}

fn is_contraction(text: &[char], first: &str, second: &str) -> bool {
    starts_with_ignoring_case(text, first)
        && starts_with_ignoring_case(&text[first.len()..], second)
}

fn split_contraction(text: &[char], out: &mut Vec<char>, first: &str, second: &str, sides: Sides) {
    let is_word = |c: Option<&char>| c.is_some_and(|&c| Class::of(c).is(Class::WORD));
    let mut idx = 0;
    while let Some(&c) = text.get(idx) {
        let end = idx + first.len() + second.len();
        let before = idx.checked_sub(1).and_then(|before| text.get(before));
        let (last, after) = (end.checked_sub(1).and_then(|last| text.get(last)), text.get(end));
        let fits = |sides| match sides {
            Sides::Words => is_word(before) != is_word(Some(&c)) && is_word(last) != is_word(after),
            Sides::SpaceAfter => {
                is_word(before) != is_word(Some(&c))
                    && after.is_some_and(|&c| Class::of(c).is(Class::SPACE))
            }
            Sides::SpaceBefore => before == Some(&' ') && is_word(last) != is_word(after),
        };
        if is_contraction(&text[idx..], first, second) && fits(sides) {
            if sides == Sides::SpaceBefore {
                out.pop();
            }
            out.push(' ');
            out.extend(&text[idx..idx + first.len()]);
            out.push(' ');
            out.extend(&text[idx + first.len()..end]);
            out.push(' ');
            idx = end;
        } else {
            out.push(c);
            idx += 1;
        }
    }
}

/// Whether a text begins with a lower-case word in any case, as patterns of Python see case.
fn starts_with_ignoring_case(text: &[char], word: &str) -> bool {
    let equal = |c: char, wanted: char| {
        c.to_ascii_lowercase() == wanted
            || (wanted == 's' && c == 'ſ')
            || (wanted == 'i' && matches!(c, 'İ' | 'ı'))
    };
    text.len() >= word.len() && text.iter().zip(word.chars()).all(|(&c, wanted)| equal(c, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::split_words;

    /// Expected values are those of NLTK.
    fn check(sentence: &str, expected: &str) {
        let mut substituter = Substituter::default();
        let tokens = substituter.apply(Piece { text: sentence, is_first: true, is_last: true });
        assert_eq!(split_words(tokens).collect::<Vec<_>>().join(" "), expected, "{sentence:?}");
    }

    #[test]
    fn quotes() {
        check("\"So,\" he said (\"no\").", "`` So , '' he said ( `` no '' ) .");
        check("“So” ‘it’ «is» `x` ''y''", "“ So ” ‘ it ’ « is » ` x ` `` y ''");
        check("'tis 'Twas rock 'n' roll 'em", "' tis ' Twas rock 'n ' roll ' em");
    }

    #[test]
    fn marks() {
        check(
            "a,b 1,000: x;y #1 $5 50% a--b... so*!?",
            "a , b 1,000 : x ; y # 1 $ 5 50 % a -- b ... so * ! ?",
        );
        check("x,, y", "x , , y");
        check("1995–2000 [ok] {a} <b>", "1995 – 2000 [ ok ] { a } < b >");
    }

    #[test]
    fn the_final_period() {
        check("The U.S. and the U.K.", "The U.S. and the U.K .");
        check("It is.) \" ", "It is. ) ``");
        check("It is.\" ) ", "It is . '' )");
        check("Wait..", "Wait ..");
        check("a.\n)", "a. )");
        check(".", ".");
    }

    #[test]
    fn contractions() {
        check("I can't, he's, they'll WON'T d'ye", "I ca n't , he 's , they 'll WO N'T d 'ye");
        check(
            "Cannot I-cannot gonna wanna wanna, gİmme",
            "Can not I- can not gon na wan na wan na , gİm me",
        );
    }
}
