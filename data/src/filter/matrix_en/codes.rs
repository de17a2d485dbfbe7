//! The characters of a text as small numbers, and limits to its repetition that are had at once.

use rustc_hash::FxHashMap;

/// Codes up to which pairs of them are counted in a table.
const MOST_IN_A_TABLE: usize = 256;

/// A text in codes.
#[derive(Debug)]
pub(super) struct Codes {
    /// A code from 1 on for each character that occurs more than once, 0 for the others.
    pub(super) text: Vec<u32>,
    /// How often each of these characters occurs; 0 for the code 0.
    pub(super) counts: Vec<u32>,
}

impl Codes {
    pub(super) fn of(text: &str) -> Self {
        let mut ascii = [0_u32; 128];
        let mut wide = FxHashMap::<char, u32>::default();
        let is_ascii = text.is_ascii();
        if is_ascii {
            text.bytes().for_each(|byte| ascii[usize::from(byte)] += 1);
        } else {
            for c in text.chars() {
                match ascii.get_mut(c as usize) {
                    Some(count) => *count += 1,
                    None => *wide.entry(c).or_default() += 1,
                }
            }
        }
        let mut counts = vec![0];
        for count in ascii.iter_mut().chain(wide.values_mut()) {
            let is_repeated = *count > 1;
            if is_repeated {
                counts.push(*count);
            }
            *count = if is_repeated { counts.len() as u32 - 1 } else { 0 };
        }
        let mut codes: Vec<u32> = Vec::with_capacity(text.len());
        if is_ascii {
            codes.extend(text.bytes().map(|byte| ascii[usize::from(byte)]));
        } else {
            let code = |c: char| ascii.get(c as usize).copied().unwrap_or_else(|| wide[&c]);
            codes.extend(text.chars().map(code));
        }
        Self { text: codes, counts }
    }

    /// Distinct characters that occur more than once: those of repeated runs of any length are among them.
    pub(super) fn n_repeated(&self) -> u64 {
        self.counts.len() as u64 - 1
    }

    /// How often the most frequent pair of characters occurs, at least 1: no longer run occurs more often. Not for
    /// many different characters, where counting them takes as long as counting runs.
    pub(super) fn n_top_pair(&self) -> Option<u64> {
        let n_codes = self.counts.len();
        if n_codes > MOST_IN_A_TABLE {
            return None;
        }
        let mut counts = vec![0_u32; n_codes * n_codes];
        for pair in self.text.windows(2) {
            counts[pair[0] as usize * n_codes + pair[1] as usize] += 1;
        }
        // Characters that occur once share the code 0.
        counts[..n_codes].fill(1);
        counts.iter_mut().step_by(n_codes).for_each(|count| *count = 1);
        counts.into_iter().max().map(u64::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::grams::Grams, *};

    #[test]
    fn pairs_with_a_character_that_occurs_once_are_no_repetition() {
        assert_eq!(Codes::of("").n_top_pair(), Some(1));
        assert_eq!(Codes::of("a1a2a3a4").n_top_pair(), Some(1));
        assert_eq!(Codes::of("abab1ab").n_top_pair(), Some(3));
        let many: String = ('\u{4e00}'..'\u{4f00}').collect();
        assert_eq!(Codes::of(&many.repeat(2)).n_top_pair(), None);
    }

    proptest! {
        #[test]
        fn the_limits_hold(text in "[a-cé汉 ]{0,60}") {
            let codes = Codes::of(&text);
            let grams = Grams::of(&codes);
            prop_assert_eq!(codes.n_top_pair(), Some(grams.n_top(2)));
            for n in 3..=4 {
                prop_assert!(grams.n_top(n) <= grams.n_top(2));
            }
            for n in 5..=10 {
                prop_assert!(grams.n_repeated_chars(n) <= codes.n_repeated());
            }
        }
    }
}
