//! Texts as units that do not depend on how they were laid out: words in lower case, and single characters where
//! words are not spaced.
//!
//! Case, punctuation, white space and full-width forms are forgotten. One pass gives the hash of any run of units
//! from two numbers, so windows of all lengths cost the same.

/// Longest run that is hashed.
pub(super) const MAX_UNITS: usize = 64;

/// Base of the polynomial, odd and with no pattern in its bits.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
const POWERS: [u64; MAX_UNITS + 1] = powers();

const fn powers() -> [u64; MAX_UNITS + 1] {
    let mut powers = [1; MAX_UNITS + 1];
    let mut n = 1;
    while n <= MAX_UNITS {
        powers[n] = BASE.wrapping_mul(powers[n - 1]);
        n += 1;
    }
    powers
}

/// What an ASCII byte is: the byte in lower case, or [`MARK`].
const ASCII: [u8; 128] = ascii();
/// A byte that belongs to no word.
const MARK: u8 = 0;

const fn ascii() -> [u8; 128] {
    let mut table = [MARK; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

/// The units of a text, by their hashes.
#[derive(Clone, Debug)]
pub(super) struct Units {
    /// Where each begins and ends, in bytes of the text.
    spans: Vec<(u32, u32)>,
    /// Polynomial of the hashes of all units before each, and of all.
    sums: Vec<u64>,
    /// Numbers of unspaced characters among the units before each, and among all; empty when there are none.
    unspaced: Vec<u32>,
}

/// Lengths of the runs that are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Units of a run of which fewer than half are unspaced characters.
    pub(super) words: usize,
    /// Units of any other run.
    pub(super) characters: usize,
}

impl Units {
    pub(super) fn of(text: &str) -> Self {
        let n_expected = text.len() / 5 + 8;
        let mut units = Self {
            spans: Vec::with_capacity(n_expected),
            sums: Vec::with_capacity(n_expected + 1),
            unspaced: Vec::new(),
        };
        units.sums.push(0);
        units.read(text);
        units
    }

    fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let (mut at, mut start, mut word) = (0, 0, 0);
        while at < bytes.len() {
            let byte = bytes[at];
            if byte < 128 {
                let letter = ASCII[byte as usize];
                at += 1;
                if letter != MARK {
                    word = add_letter(word, u32::from(letter));
                    continue;
                }
                if word != 0 {
                    self.push(start, at - 1, word);
                }
                (word, start) = (0, at);
                continue;
            }
            let c = text[at..].chars().next().expect("a byte over 127 begins a character");
            let next = at + c.len_utf8();
            let c = usual_form(c);
            if c.is_alphanumeric() && !is_unspaced(c) {
                word = c.to_lowercase().fold(word, |word, c| add_letter(word, u32::from(c)));
                at = next;
                continue;
            }
            if word != 0 {
                self.push(start, at, word);
            }
            if is_unspaced(c) {
                self.push_unspaced(at, next, c);
            }
            (word, start, at) = (0, next, next);
        }
        if word != 0 {
            self.push(start, at, word);
        }
    }

    fn push(&mut self, start: usize, end: usize, hash: u64) {
        let last = *self.sums.last().expect("sums begin with 0");
        self.spans.push((start as u32, end as u32));
        self.sums.push(last.wrapping_mul(BASE).wrapping_add(mix(hash)));
        if let Some(&n) = self.unspaced.last() {
            self.unspaced.push(n);
        }
    }

    fn push_unspaced(&mut self, start: usize, end: usize, c: char) {
        if self.unspaced.is_empty() {
            self.unspaced = Vec::with_capacity(self.spans.capacity() + 1);
            self.unspaced.resize(self.sums.len(), 0);
        }
        self.push(start, end, add_letter(0, u32::from(c)));
        *self.unspaced.last_mut().expect("pushed for this unit") += 1;
    }

    /// Number of units.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The hash of `n` units from `at` on.
    pub(super) fn hash(&self, at: usize, n: usize) -> u64 {
        mix(self.sums[at + n].wrapping_sub(self.sums[at].wrapping_mul(POWERS[n])))
    }

    /// Where a run of units lies in the text, in bytes.
    pub(super) fn bytes(&self, at: usize, n: usize) -> std::ops::Range<usize> {
        self.spans[at].0 as usize..self.spans[at + n - 1].1 as usize
    }

    /// Whether more than half of a run of units of `text` are numbers: tables and counting are full of such runs.
    pub(super) fn is_of_numbers(&self, text: &str, at: usize, n: usize) -> bool {
        2 * (n - self.n_words(text, at, n)) > n
    }

    /// How many units of a run are no numbers.
    pub(super) fn n_words(&self, text: &str, at: usize, n: usize) -> usize {
        let is_word = |&at: &usize| !text[self.bytes(at, 1)].chars().all(char::is_numeric);
        (at..at + n).filter(is_word).count()
    }

    /// Every run that is looked for: its place, its length and its hash.
    pub(super) fn runs(&self, sizes: Sizes) -> impl Iterator<Item = (usize, usize, u64)> {
        let of_words = self.starts(sizes.words).filter(move |&at| !self.is_dense(at, sizes.words));
        let characters =
            if self.unspaced.is_empty() { 0..0 } else { self.starts(sizes.characters) };
        let of_characters = characters.filter(move |&at| self.is_dense(at, sizes.characters));
        let run = |n: usize| move |at: usize| (at, n, self.hash(at, n));
        of_words.map(run(sizes.words)).chain(of_characters.map(run(sizes.characters)))
    }

    fn starts(&self, n: usize) -> std::ops::Range<usize> {
        0..(self.len() + 1).saturating_sub(n)
    }

    /// Whether at least half of a run are unspaced characters.
    fn is_dense(&self, at: usize, n: usize) -> bool {
        !self.unspaced.is_empty() && 2 * (self.unspaced[at + n] - self.unspaced[at]) as usize >= n
    }
}

/// FNV-1a over code points; never 0 for a word, but for odds that do not matter.
fn add_letter(word: u64, letter: u32) -> u64 {
    let word = if word == 0 { 0xcbf2_9ce4_8422_2325 } else { word };
    (word ^ u64::from(letter)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spreads what distinguishes two numbers over all bits.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Full-width ASCII in its usual width, and the micro sign as the letter that its upper case has.
fn usual_form(c: char) -> char {
    match c {
        'µ' => 'μ',
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(c) - 0xfee0).expect("0x21 to 0x7e are characters")
        }
        _ => c,
    }
}

/// Ideographs and kana, which stand without spaces.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
        && c != '\u{30fb}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(text: &str) -> u64 {
        let units = Units::of(text);
        units.hash(0, units.len())
    }

    #[test]
    fn layout_is_forgotten() {
        let check = |a: &str, b: &str| assert_eq!(hash(a), hash(b), "{a} {b}");
        check("What is 2+2?", "what IS\n2 2");
        check("中文，ＡＢ１。", "中 文「ab1」");
        check("ÉTÉ “x” 5 Μ", "été x 5 µ");
        assert_ne!(hash("ab c"), hash("a bc"));
        assert_ne!(hash("a b"), hash("b a"));
    }

    #[test]
    fn units_know_their_places() {
        let text = " It's 中文x, é!";
        let units = Units::of(text);
        let found: Vec<&str> = (0..units.len()).map(|at| &text[units.bytes(at, 1)]).collect();
        assert_eq!(found, ["It", "s", "中", "文", "x", "é"]);
        assert_eq!(&text[units.bytes(1, 4)], "s 中文x");
    }

    #[test]
    fn a_run_is_of_words_or_of_characters() {
        let sizes = Sizes { words: 3, characters: 4 };
        let runs =
            |text: &str| Units::of(text).runs(sizes).map(|(at, n, _)| (at, n)).collect::<Vec<_>>();
        assert_eq!(runs("a b c d"), [(0, 3), (1, 3)]);
        assert_eq!(runs("甲乙丙"), []);
        assert_eq!(runs("甲乙丙丁戊"), [(0, 4), (1, 4)]);
        assert_eq!(runs("a b 甲乙c"), [(0, 3), (0, 4), (1, 4)]);
    }

    proptest! {
        #[test]
        fn a_run_has_one_hash_wherever_it_stands(
            before in "\\PC{0,20}", text in "[a-z甲-癸 ]{1,30}", after in "\\PC{0,20}",
        ) {
            let (alone, n_before) = (Units::of(&text), Units::of(&before).len());
            let n = alone.len();
            let whole = Units::of(&format!("{before}\n{text}\n{after}"));
            if n > 0 {
                prop_assert_eq!(whole.hash(n_before, n), alone.hash(0, n));
            }
        }
    }
}
