//! Exact substring deduplication: of equal windows of 50 characters in the whole corpus, the first by
//! (id, offset) stays; every character that lies in a later one is deleted.
//!
//! A window begins at every character, so a text has about as many keys as characters: this is the method that
//! needs memory, and so a sieve first finds the keys that occur once. It takes two bytes a character, and rows
//! of 24 bytes are left for real repeats and for one in nine of the others. Windows are hashed by two
//! polynomials modulo 2^61 - 1, moved on by one character at a time. The original misses the last window of a text, [`Mode::Corrected`] does not.
//! Documents left with fewer than 20 characters are dropped. What lay on both sides of a deletion becomes
//! neighbours, so a second run may find new windows.

use super::{Key, Method, Mode, Outcome, Repeat};
use crate::Document;

/// Characters of a window.
pub const WINDOW_CHARS: usize = 50;

/// Equal windows.
#[derive(Clone, Copy, Debug)]
pub struct Substring {
    /// Whether the last window is missed, as in the original.
    pub mode: Mode,
}

impl Method for Substring {
    fn name(&self) -> &'static str {
        "substring"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "mode": self.mode })
    }

    fn part(&self) -> &'static str {
        "characters"
    }

    fn wants_sieve(&self) -> bool {
        true
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        let chars: Vec<u32> = document.text.chars().map(u32::from).collect();
        let n_windows = match self.mode {
            Mode::Faithful => chars.len().saturating_sub(WINDOW_CHARS),
            Mode::Corrected => (chars.len() + 1).saturating_sub(WINDOW_CHARS),
        };
        (0..).zip(window_keys(&chars).take(n_windows)).collect()
    }

    fn apply(&self, text: &str, repeats: &[Repeat]) -> Outcome {
        let mut repeats = repeats.iter().map(|repeat| repeat.position as usize).peekable();
        let (mut kept, mut deleted_until, mut n_deleted) = (String::new(), 0, 0);
        for (offset, c) in text.chars().enumerate() {
            if repeats.next_if_eq(&offset).is_some() {
                deleted_until = offset + WINDOW_CHARS;
            }
            match offset < deleted_until {
                true => n_deleted += 1,
                false => kept.push(c),
            }
        }
        Outcome::of_rest(kept, n_deleted)
    }
}

/// The key of every window of a text, the last included.
fn window_keys(chars: &[u32]) -> impl Iterator<Item = Key> {
    let mut hashes = BASES.map(Polynomial::new);
    let first = chars.len().min(WINDOW_CHARS - 1);
    for &c in &chars[..first] {
        hashes.iter_mut().for_each(|hash| hash.push(c));
    }
    (first..chars.len()).map(move |next| {
        hashes.iter_mut().for_each(|hash| hash.push(chars[next]));
        let key = Key(hashes[0].value, hashes[1].value);
        let oldest = chars[next + 1 - WINDOW_CHARS];
        hashes.iter_mut().for_each(|hash| hash.pop(oldest));
        key
    })
}

/// The Mersenne prime below which hashes lie.
const PRIME: u64 = (1 << 61) - 1;

/// Two numbers below the prime without pattern: the first digits of pi and of e.
const BASES: [u64; 2] = [314_159_265_358_979_323, 271_828_182_845_904_523];

/// The value of a row of characters as the digits of a number, modulo the prime.
#[derive(Clone, Copy)]
struct Polynomial {
    base: u64,
    /// Weight of the oldest character of a full window.
    top: u64,
    value: u64,
}

impl Polynomial {
    fn new(base: u64) -> Self {
        let top = (1..WINDOW_CHARS).fold(1, |power, _| multiply(power, base));
        Self { base, top, value: 0 }
    }

    fn push(&mut self, c: u32) {
        // Digits begin at 1, so that a zero in front counts.
        self.value = reduce(multiply(self.value, self.base) + u64::from(c) + 1);
    }

    /// Takes the oldest of [`WINDOW_CHARS`] characters out.
    fn pop(&mut self, c: u32) {
        let out = multiply(self.top, u64::from(c) + 1);
        self.value = reduce(self.value + PRIME - out);
    }
}

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product as u64 & PRIME) + (product >> 61) as u64)
}

/// A number below twice the prime, modulo the prime.
fn reduce(value: u64) -> u64 {
    if value >= PRIME { value - PRIME } else { value }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{super::laws, *};

    /// The method written as in its definition.
    fn by_definition(mode: Mode, texts: &[String]) -> Vec<(String, String)> {
        let chars: Vec<Vec<char>> = texts.iter().map(|text| text.chars().collect()).collect();
        let missed = usize::from(mode == Mode::Faithful);
        let mut first: HashMap<&[char], (usize, usize)> = HashMap::new();
        let mut left = Vec::new();
        for (document, text) in chars.iter().enumerate() {
            let mut deleted = vec![false; text.len()];
            for offset in 0..(text.len() + 1).saturating_sub(WINDOW_CHARS + missed) {
                let window = &text[offset..offset + WINDOW_CHARS];
                if *first.entry(window).or_insert((document, offset)) != (document, offset) {
                    deleted[offset..offset + WINDOW_CHARS].fill(true);
                }
            }
            let kept = text.iter().zip(deleted).filter(|(_, deleted)| !deleted);
            let kept: String = kept.map(|(c, _)| c).collect();
            if kept.chars().count() >= super::super::MIN_CHARS {
                left.push((format!("d{document:03}"), kept));
            }
        }
        left
    }

    fn check(texts: &[String]) {
        for mode in [Mode::Faithful, Mode::Corrected] {
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            let left = laws::left(&Substring { mode }, &borrowed);
            assert_eq!(left, by_definition(mode, texts), "{mode:?}");
        }
    }

    #[test]
    fn later_windows_are_deleted() {
        let passage: String = ('가'..).take(60).collect();
        check(&[passage.clone(), format!("before it {passage} and after it"), "x".repeat(120)]);
        // At the end of a text the faithful form misses one window.
        let end = format!("{}{}", "0123456789".repeat(4), &passage[..150]);
        let left = |mode| laws::left(&Substring { mode }, &[&passage, &end])[1].1.chars().count();
        assert_eq!((left(Mode::Faithful), left(Mode::Corrected)), (90, 40));
    }

    #[test]
    fn a_moved_hash_equals_a_new_one() {
        let chars: Vec<u32> = (0..300).map(|i| i * i % 77).collect();
        for (start, key) in window_keys(&chars).enumerate() {
            let alone = window_keys(&chars[start..start + WINDOW_CHARS]).next();
            assert_eq!(Some(key), alone, "{start}");
        }
        assert_eq!(window_keys(&chars).count(), 251);
        assert_eq!(window_keys(&chars[..49]).count(), 0);
    }

    proptest! {
        #[test]
        fn equals_its_definition(
            texts in proptest::collection::vec("(ab|é){0,70}[a-c]{0,60}", 1..6),
        ) {
            check(&texts);
        }

        #[test]
        fn the_order_of_the_input_does_not_matter(
            texts in proptest::collection::vec("(ab|é){0,70}", 6),
            order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let method = Substring { mode: Mode::Faithful };
            let documents: Vec<Document> = texts
                .iter()
                .enumerate()
                .map(|(i, text)| laws::document(&i.to_string(), text))
                .collect();
            let turned: Vec<Document> = order.iter().map(|&i| documents[i].clone()).collect();
            prop_assert_eq!(laws::left_of(&method, &turned), laws::left_of(&method, &documents));
        }
    }
}
