//! Classes of characters: which of Python's tests (`str.isalpha`, `\w`, ..) a character passes.
//!
//! The classes were printed by CPython itself (`unicode_14.py` makes `unicode_14.txt`), so that no version of
//! Unicode but its own has a say. NLTK matches with the `regex` package, whose `\w` and `\s` are others again.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

/// Runs of one class, as [`Table::parse`] reads them.
const RUNS: &str = include_str!("unicode_14.txt");
/// The number of code points.
const N_CODES: usize = 0x11_0000;
/// Characters of a block of the table: small enough that the many equal blocks can be shared.
const BLOCK: usize = 128;

/// The tests that a character passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class(u16);

impl Class {
    /// `str.isalpha`: category `L*`.
    pub const ALPHA: Self = Self(1);
    /// `\w` of `re`: categories `L*` and `N*`, and the underscore.
    pub const WORD: Self = Self(1 << 1);
    /// `\s` of `re`, `str.isspace`: 29 characters.
    pub const SPACE: Self = Self(1 << 2);
    /// `str.isdigit`: digits, and forms of digits such as `²`.
    pub const DIGIT: Self = Self(1 << 3);
    /// `str.isupper` of the character alone.
    pub const UPPER: Self = Self(1 << 4);
    /// `str.islower` of the character alone.
    pub const LOWER: Self = Self(1 << 5);
    /// Title case: neither upper nor lower, but a word with it is not upper case.
    pub const TITLE: Self = Self(1 << 6);
    /// Assigned in Unicode 14.0.
    pub const ASSIGNED: Self = Self(1 << 7);
    /// `\w` of `regex`: also marks, joiners and connectors, but not `½`.
    pub const REGEX_WORD: Self = Self(1 << 8);
    /// `\s` of `regex`: Unicode's white space, without U+001C to U+001F.
    pub const REGEX_SPACE: Self = Self(1 << 9);
    /// `\d` of `re`: category `Nd`.
    pub const DECIMAL: Self = Self(1 << 10);
    /// `\d` of `regex`: the same in a later Unicode.
    pub const REGEX_DECIMAL: Self = Self(1 << 11);

    /// The class of a character.
    #[inline]
    pub fn of(c: char) -> Self {
        match u8::try_from(c) {
            Ok(byte) if byte < 128 => Self::of_ascii(byte),
            _ => TABLE.class(c as usize),
        }
    }

    /// The class of an ASCII character; the byte is below 128.
    #[inline]
    pub fn of_ascii(byte: u8) -> Self {
        ASCII[usize::from(byte)]
    }

    /// Whether the character passes this test, or one of several joined by [`Class::or`].
    #[inline]
    pub fn is(self, test: Self) -> bool {
        self.0 & test.0 != 0
    }

    /// Two tests, of which one is to be passed.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The classes of ASCII, which most text is, without a look at the table.
static ASCII: [Class; 128] = ascii();

const fn ascii() -> [Class; 128] {
    let mut classes = [Class::ASSIGNED; 128];
    let mut byte = 0;
    while byte < 128 {
        let letter = Class::ALPHA.or(Class::WORD).or(Class::REGEX_WORD);
        let digit = Class::WORD.or(Class::DIGIT).or(Class::REGEX_WORD);
        let more = match byte as u8 {
            b'A'..=b'Z' => letter.or(Class::UPPER),
            b'a'..=b'z' => letter.or(Class::LOWER),
            b'0'..=b'9' => digit.or(Class::DECIMAL).or(Class::REGEX_DECIMAL),
            b'_' => Class::WORD.or(Class::REGEX_WORD),
            b'\t'..=b'\r' | b' ' => Class::SPACE.or(Class::REGEX_SPACE),
            0x1c..=0x1f => Class::SPACE,
            _ => Class::ASSIGNED,
        };
        classes[byte] = classes[byte].or(more);
        byte += 1;
    }
    classes
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(RUNS));

/// Two levels: the block of a code point, then its class within the block.
struct Table {
    blocks: Vec<u16>,
    classes: Vec<Class>,
}

impl Table {
    fn parse(runs: &str) -> Self {
        let number = |digits| usize::from_str_radix(digits, 16).expect("the file is tested");
        let mut classes = vec![Class(0); N_CODES];
        let mut end = N_CODES;
        for line in runs.lines().rev() {
            let (start, class) = line.split_once(' ').expect("a line holds two numbers");
            let start = number(start);
            classes[start..end].fill(Class(number(class) as u16));
            end = start;
        }
        let mut table = Self { blocks: Vec::new(), classes: Vec::new() };
        let mut known = FxHashMap::default();
        for block in classes.chunks(BLOCK) {
            let idx = *known.entry(block).or_insert_with(|| {
                table.classes.extend_from_slice(block);
                table.classes.len() / BLOCK - 1
            });
            table.blocks.push(idx as u16);
        }
        table
    }

    #[inline]
    fn class(&self, code: usize) -> Class {
        self.classes[usize::from(self.blocks[code / BLOCK]) * BLOCK + code % BLOCK]
    }
}

/// `str.isalpha`: not empty, and letters only.
pub fn is_alpha(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| Class::of(c).is(Class::ALPHA))
}

/// `str.isdigit`: not empty, and digits or forms of digits only.
pub fn is_digit(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| Class::of(c).is(Class::DIGIT))
}

/// `str.isupper`: at least one cased character, and no cased one that is not upper case.
pub fn is_upper(word: &str) -> bool {
    let mut is_cased = false;
    for class in word.chars().map(Class::of) {
        if class.is(Class::LOWER.or(Class::TITLE)) {
            return false;
        }
        is_cased |= class.is(Class::UPPER);
    }
    is_cased
}

/// `string.punctuation`: the 32 marks of ASCII.
pub fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exactly these characters of a sample pass.
    fn check(test: Class, passing: &str) {
        let sample = "aAzZ_09 \t\n\u{b}\u{1c}\u{1f}\u{85}\u{a0}\u{3000}\u{200b}\u{feff}éÉßǅ汉あªⅷⅧ²½①٣\u{301}\u{203f}\u{200d}.#…\u{378}";
        let found: String = sample.chars().filter(|&c| Class::of(c).is(test)).collect();
        assert_eq!(found, passing);
    }

    #[test]
    fn each_test_passes_what_python_passes() {
        check(Class::ALPHA, "aAzZéÉßǅ汉あª");
        check(Class::WORD, "aAzZ_09éÉßǅ汉あªⅷⅧ²½①٣");
        check(Class::REGEX_WORD, "aAzZ_09éÉßǅ汉あªⅷⅧ٣\u{301}\u{203f}\u{200d}");
        check(Class::SPACE, " \t\n\u{b}\u{1c}\u{1f}\u{85}\u{a0}\u{3000}");
        check(Class::REGEX_SPACE, " \t\n\u{b}\u{85}\u{a0}\u{3000}");
        check(Class::DIGIT, "09²①٣");
        check(Class::DECIMAL, "09٣");
        check(Class::UPPER, "AZÉⅧ");
        check(Class::LOWER, "azéßªⅷ");
        check(Class::TITLE, "ǅ");
        assert!(!Class::of('\u{378}').is(Class::ASSIGNED));
    }

    #[test]
    fn the_short_cut_for_ascii_agrees_with_the_table() {
        for byte in 0..128 {
            assert_eq!(Class::of_ascii(byte), TABLE.class(usize::from(byte)), "{byte:#x}");
        }
    }

    #[test]
    fn there_are_29_spaces() {
        let spaces = (0..N_CODES).filter(|&code| TABLE.class(code).is(Class::SPACE)).count();
        assert_eq!(spaces, 29);
    }

    #[test]
    fn words() {
        assert!(is_alpha("naïve汉") && !is_alpha("") && !is_alpha("a1") && !is_alpha("e\u{301}"));
        assert!(is_digit("1²") && !is_digit("½") && !is_digit(""));
        assert!(is_upper("A1-") && !is_upper("1") && !is_upper("Aa") && !is_upper("AǅB"));
        let marks = (0..=127_u8).map(char::from).filter(|&c| is_punctuation(c)).collect::<String>();
        assert_eq!(marks, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
    }
}
