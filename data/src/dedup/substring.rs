//! Exact substring deduplication: of equal windows of 50 characters in the whole corpus, the first by
//! (id, offset) stays; every character that lies in a later one is deleted.
//!
//! A window begins at every character, so a text has as many keys as characters: this is the method that needs memory.
//! So a sieve first finds what occurs once, and not window by window: the mark of a window is the stretch of 34
//! characters in it that has the least hash (its minimizer). Equal windows have equal marks, and neighbouring windows
//! mostly share one, so there is a mark for every nine characters; keys are left for windows whose mark occurs again.
//! Windows are hashed by two polynomials modulo 2^61 - 1, moved on by one character at a time.
//!
//! The original misses the last window of a text, [`Mode::Corrected`] does not. Documents left with fewer than 20
//! characters are dropped. What lay on both sides of a deletion becomes neighbours, so a second run may find new windows.

use std::collections::VecDeque;

use super::{Compares, Key, Method, Mode, Outcome, Sieve};
use crate::Document;

/// Characters of a window.
pub const WINDOW_CHARS: usize = 50;
/// Characters of the stretch by which a window is marked. Shorter ones are shared by more windows, and occur again
/// without their windows more often.
const MARK_CHARS: usize = 34;
/// Stretches of a window.
const N_STRETCHES: usize = WINDOW_CHARS - MARK_CHARS + 1;
/// Bytes of text for a mark: of every `N_STRETCHES + 1` stretches, two are the least of some window; there are a few
/// more where texts begin and end.
const BYTES_PER_MARK: u64 = 8;

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

    fn compares(&self) -> Compares {
        Compares::Parts
    }

    fn part(&self) -> &'static str {
        "characters"
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        let chars = chars(document);
        (0..).zip(window_keys(&chars).take(self.n_windows(&chars))).collect()
    }

    fn n_marks(&self, text_bytes: u64) -> Option<u64> {
        Some(text_bytes / BYTES_PER_MARK)
    }

    fn marks(&self, document: &Document) -> Vec<Key> {
        let mut marks: Vec<(usize, Key)> = window_marks(&chars(document)).collect();
        // Neighbours that share a mark have it from one place.
        marks.dedup_by_key(|(place, _)| *place);
        marks.into_iter().map(|(_, mark)| mark).collect()
    }

    fn sifted_keys(&self, document: &Document, sieve: &Sieve) -> Vec<(u32, Key)> {
        let chars = chars(document);
        let windows = (0..).zip(window_keys(&chars).zip(window_marks(&chars)));
        windows
            .take(self.n_windows(&chars))
            .filter(|(_, (_, (_, mark)))| sieve.may_repeat(*mark))
            .map(|(offset, (key, _))| (offset, key))
            .collect()
    }

    fn take_out(&self, text: &str, repeats: &[u32]) -> Outcome {
        let mut repeats = repeats.iter().map(|&position| position as usize).peekable();
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

impl Substring {
    fn n_windows(&self, chars: &[u32]) -> usize {
        match self.mode {
            Mode::Faithful => chars.len().saturating_sub(WINDOW_CHARS),
            Mode::Corrected => (chars.len() + 1).saturating_sub(WINDOW_CHARS),
        }
    }
}

fn chars(document: &Document) -> Vec<u32> {
    document.text.chars().map(u32::from).collect()
}

/// The mark of every window of a text, the last included, and where in the text it is.
fn window_marks(chars: &[u32]) -> impl Iterator<Item = (usize, Key)> {
    let mut hash = Polynomial::new(BASES[0], MARK_CHARS);
    // Stretches that are the least of this window or may be of a later one: hashes rise, so the first is the least.
    let mut least: VecDeque<(usize, u64)> = VecDeque::with_capacity(N_STRETCHES);
    (0..chars.len()).filter_map(move |end| {
        hash.push(chars[end]);
        let stretch = (end + 1).checked_sub(MARK_CHARS)?;
        while least.back().is_some_and(|(_, value)| *value > hash.value) {
            least.pop_back();
        }
        least.push_back((stretch, hash.value));
        hash.pop(chars[stretch]);
        let window = (end + 1).checked_sub(WINDOW_CHARS)?;
        while least.front().is_some_and(|(place, _)| *place < window) {
            least.pop_front();
        }
        least.front().map(|&(place, value)| (place, Key(value, 0)))
    })
}

/// The key of every window of a text, the last included.
fn window_keys(chars: &[u32]) -> impl Iterator<Item = Key> {
    let mut hashes = BASES.map(|base| Polynomial::new(base, WINDOW_CHARS));
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
    /// Weight of the oldest character of a full stretch.
    top: u64,
    value: u64,
}

impl Polynomial {
    /// Of stretches of so many characters.
    fn new(base: u64, n_chars: usize) -> Self {
        let top = (1..n_chars).fold(1, |power, _| multiply(power, base));
        Self { base, top, value: 0 }
    }

    fn push(&mut self, c: u32) {
        // Digits begin at 1, so that a zero in front counts.
        self.value = reduce(multiply(self.value, self.base) + u64::from(c) + 1);
    }

    /// Takes the oldest character of a full stretch out.
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

    #[test]
    fn equal_windows_have_equal_marks_and_marks_are_few() {
        let chars: Vec<u32> = (0..3000).map(|i: u32| i.wrapping_mul(i) % 1009 % 97).collect();
        let marks: Vec<(usize, Key)> = window_marks(&chars).collect();
        assert_eq!(marks.len(), chars.len() - WINDOW_CHARS + 1);
        for (window, (place, mark)) in marks.iter().enumerate() {
            assert!((window..window + N_STRETCHES).contains(place));
            let alone: Vec<_> = window_marks(&chars[window..window + WINDOW_CHARS]).collect();
            assert_eq!(alone, [(place - window, *mark)], "{window}");
        }
        let mut places: Vec<usize> = marks.into_iter().map(|(place, _)| place).collect();
        places.dedup();
        assert!(places.len() * BYTES_PER_MARK as usize <= chars.len(), "{}", places.len());
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
