//! Repeated runs of characters (E26 to E34), exactly and without a table of runs.
//!
//! Each place of the text becomes one number that holds the next ten characters, so that sorting the numbers brings
//! equal runs of every length together: neighbours that agree in `n` characters are a repeated run of `n`. A
//! character that occurs once is in no repeated run, so only the others need a code, and runs end at it.

use rustc_hash::FxHashMap;

/// Characters of the longest run.
const LONGEST: usize = 10;

/// Repetition within one text.
#[derive(Debug, PartialEq)]
pub(super) struct Grams {
    /// How often the most frequent run of 2, 3 and 4 characters occurs, at least 1.
    n_top: [u64; 3],
    /// Distinct characters in a repeated run, by the length of the longest such run.
    n_reaching: [u64; LONGEST + 1],
}

impl Grams {
    pub(super) fn of(text: &str) -> Self {
        let (codes, n_codes) = codes(text);
        // The code 0 ends a run, so a number with one value more is needed.
        match n_codes {
            ..64 => scan::<u64>(&codes, n_codes),
            ..4096 => scan::<u128>(&codes, n_codes),
            _ => scan::<[u32; LONGEST]>(&codes, n_codes),
        }
    }

    /// How often the most frequent run of `n` characters occurs, 2 to 4; 1 if there is none.
    pub(super) fn n_top(&self, n: usize) -> u64 {
        self.n_top[n - 2]
    }

    /// Distinct characters in runs of `n` that occur more than once, 5 to 10.
    pub(super) fn n_repeated_chars(&self, n: usize) -> u64 {
        self.n_reaching[n..].iter().sum()
    }
}

/// A code from 1 on for each character that occurs more than once, 0 for the others; and how many codes there are.
fn codes(text: &str) -> (Vec<u32>, usize) {
    let mut ascii = [0_u32; 128];
    let mut wide = FxHashMap::<char, u32>::default();
    for c in text.chars() {
        match ascii.get_mut(c as usize) {
            Some(count) => *count += 1,
            None => *wide.entry(c).or_default() += 1,
        }
    }
    let mut n_codes = 0;
    for count in ascii.iter_mut().chain(wide.values_mut()) {
        n_codes += u32::from(*count > 1);
        *count = if *count > 1 { n_codes } else { 0 };
    }
    let code = |c: char| ascii.get(c as usize).copied().unwrap_or_else(|| wide[&c]);
    (text.chars().map(code).collect(), n_codes as usize)
}

/// Ten codes in an order that sorting respects. The codes after a 0 are 0.
trait Key: Ord + Copy {
    const NONE: Self;

    /// The key of a place, from its code and the key of the next place.
    fn before(self, code: u32) -> Self;

    /// The code at a place of the run.
    fn code(&self, idx: usize) -> usize;

    /// How many codes from the first on, which is not 0, are equal in both, the 0 at the end of a run left out.
    fn n_common(&self, other: &Self) -> usize;
}

impl Key for u64 {
    const NONE: Self = 0;

    #[inline]
    fn before(self, code: u32) -> Self {
        if code == 0 { 0 } else { u64::from(code) << 54 | self >> 6 }
    }

    #[inline]
    fn code(&self, idx: usize) -> usize {
        (self >> (54 - 6 * idx) & 63) as usize
    }

    #[inline]
    fn n_common(&self, other: &Self) -> usize {
        // Four bits above the ten codes are never set. Different keys differ before the first 0 of both.
        match self ^ other {
            0 => LONGEST - self.trailing_zeros() as usize / 6,
            different => (different.leading_zeros() as usize - 4) / 6,
        }
    }
}

impl Key for u128 {
    const NONE: Self = 0;

    #[inline]
    fn before(self, code: u32) -> Self {
        if code == 0 { 0 } else { u128::from(code) << 108 | self >> 12 }
    }

    #[inline]
    fn code(&self, idx: usize) -> usize {
        (self >> (108 - 12 * idx) & 4095) as usize
    }

    #[inline]
    fn n_common(&self, other: &Self) -> usize {
        match self ^ other {
            0 => LONGEST - self.trailing_zeros() as usize / 12,
            different => (different.leading_zeros() as usize - 8) / 12,
        }
    }
}

impl Key for [u32; LONGEST] {
    const NONE: Self = [0; LONGEST];

    fn before(self, code: u32) -> Self {
        let mut key = Self::NONE;
        if code != 0 {
            key[0] = code;
            key[1..].copy_from_slice(&self[..LONGEST - 1]);
        }
        key
    }

    fn code(&self, idx: usize) -> usize {
        self[idx] as usize
    }

    fn n_common(&self, other: &Self) -> usize {
        self.iter().zip(other).take_while(|(a, b)| a == b && **a != 0).count()
    }
}

fn scan<K: Key>(codes: &[u32], n_codes: usize) -> Grams {
    let mut key = K::NONE;
    let mut keys: Vec<K> = Vec::with_capacity(codes.len());
    for &code in codes.iter().rev() {
        key = key.before(code);
        if code != 0 {
            keys.push(key);
        }
    }
    keys.sort_unstable();
    let mut n_top = [1_u32; 3];
    let mut runs = [1_u32; 3];
    let mut reach = vec![0; n_codes + 1];
    let mut n_common_before = 0;
    for pair in keys.windows(2) {
        let n_common = pair[0].n_common(&pair[1]);
        // Without a branch, which no processor could foresee.
        for (n, (run, top)) in (2..).zip(runs.iter_mut().zip(&mut n_top)) {
            *run = *run * u32::from(n_common >= n) + 1;
            *top = (*top).max(*run);
        }
        // With no more in common than before, the same characters were found before.
        if n_common >= 5 && n_common > n_common_before {
            for idx in 0..n_common {
                let reach = &mut reach[pair[0].code(idx)];
                *reach = n_common.max(*reach);
            }
        }
        n_common_before = n_common;
    }
    let mut n_reaching = [0; LONGEST + 1];
    reach.into_iter().for_each(|n| n_reaching[n] += 1);
    Grams { n_top: n_top.map(u64::from), n_reaching }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// As the original counts.
    fn check(text: &str) {
        let grams = Grams::of(text);
        let chars: Vec<char> = text.chars().collect();
        for n in 2..=LONGEST {
            let mut counts = HashMap::<&[char], u64>::new();
            chars.windows(n).for_each(|gram| *counts.entry(gram).or_default() += 1);
            if n <= 4 {
                let top = counts.values().copied().max().unwrap_or(1);
                assert_eq!(grams.n_top(n), top, "{n} {text:?}");
            } else {
                let repeated = counts.iter().filter(|(_, count)| **count > 1);
                let chars: HashSet<&char> = repeated.flat_map(|(gram, _)| *gram).collect();
                assert_eq!(grams.n_repeated_chars(n), chars.len() as u64, "{n} {text:?}");
            }
        }
    }

    #[test]
    fn counts_are_those_of_a_table_for_few_and_many_characters() {
        check("");
        check("a");
        check(&"ab".repeat(30));
        check("abcdefghij xyz abcdefghijk");
        let many = |n: u32| (0..n).map(|i| char::from_u32(0x4e00 + i).unwrap()).collect::<String>();
        check(&(many(100) + "ab" + &many(100)));
        check(&(many(5000) + "ab" + &many(5000)));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_table(text in "[a-cé汉]{0,60}") {
            check(&text);
        }
    }
}
