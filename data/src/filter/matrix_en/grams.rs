//! Repeated runs of characters (E26 to E34), exactly and without a table of runs.
//!
//! Places are put together by their character, and each becomes one number that holds the next nine, so that sorting
//! the numbers brings equal runs of every length together: neighbours that agree in `n` characters are a repeated
//! run of `n`. A character that occurs once is in no repeated run, so only the others need a code, and runs end at it.

use super::codes::Codes;

/// Characters of the longest run.
const LONGEST: usize = 10;
/// Characters of the shortest run of which every repeated one counts.
const SHORTEST_REPEATED: usize = 5;
/// Characters of the longest run but the first.
const N_NEXT: usize = LONGEST - 1;

/// Repetition within one text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grams {
    /// How often the most frequent run of 2, 3 and 4 characters occurs, at least 1.
    n_top: [u64; 3],
    /// Distinct characters in a repeated run, by the length of the longest such run.
    n_reaching: [u64; LONGEST + 1],
}

impl Grams {
    pub(super) fn of(codes: &Codes) -> Self {
        match codes.counts.len() {
            ..128 => codes.scan::<u64>(),
            128..16_384 => codes.scan::<u128>(),
            _ => codes.scan::<[u32; N_NEXT]>(),
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

impl Codes {
    fn scan<K: Key>(&self) -> Grams {
        let (mut keys, ends) = self.keys::<K>();
        let mut found = Found { n_top: [1; 3], reach: vec![0; self.counts.len()] };
        for (code, bucket) in (1..).zip(ends.windows(2)) {
            let keys = &mut keys[bucket[0]..bucket[1]];
            keys.sort_unstable();
            found.add(code, keys);
        }
        let mut n_reaching = [0; LONGEST + 1];
        found.reach.into_iter().for_each(|n| n_reaching[n] += 1);
        Grams { n_top: found.n_top.map(u64::from), n_reaching }
    }

    /// The keys of all places by their code, and where those of each code end.
    fn keys<K: Key>(&self) -> (Vec<K>, Vec<usize>) {
        let mut ends = Vec::with_capacity(self.counts.len());
        let mut total = 0;
        for &count in &self.counts {
            ends.push(total);
            total += count as usize;
        }
        let mut keys = vec![K::NONE; total];
        let mut next = K::NONE;
        for &code in self.text.iter().rev() {
            if code != 0 {
                let place = &mut ends[code as usize];
                keys[*place] = next;
                *place += 1;
            }
            next = next.before(code);
        }
        (keys, ends)
    }
}

/// What repetition was found among the places looked at.
struct Found {
    n_top: [u32; 3],
    /// For each code the longest repeated run that it is in.
    reach: Vec<usize>,
}

impl Found {
    /// Adds the places of one code by their sorted keys.
    fn add<K: Key>(&mut self, code: usize, keys: &[K]) {
        let mut runs = [1_u32; 3];
        let mut n_common_before = 0;
        for pair in keys.windows(2) {
            let n_common = 1 + pair[0].n_common(&pair[1]);
            // Without a branch, which no processor could foresee.
            for (n, (run, top)) in (2..).zip(runs.iter_mut().zip(&mut self.n_top)) {
                *run = *run * u32::from(n_common >= n) + 1;
                *top = (*top).max(*run);
            }
            // With no more in common than before, the same characters were found before.
            if n_common >= SHORTEST_REPEATED && n_common > n_common_before {
                self.reach[code] = n_common.max(self.reach[code]);
                for idx in 0..n_common - 1 {
                    let reach = &mut self.reach[pair[0].code(idx)];
                    *reach = n_common.max(*reach);
                }
            }
            n_common_before = n_common;
        }
    }
}

/// The codes after a place, in an order that sorting respects. The codes after a 0 are 0.
trait Key: Ord + Copy {
    const NONE: Self;

    /// The key of the place before, from the code of this place.
    fn before(self, code: u32) -> Self;

    /// One of the codes.
    fn code(&self, idx: usize) -> usize;

    /// How many codes from the first on are equal in both, up to the first 0.
    fn n_common(&self, other: &Self) -> usize;
}

impl Key for u64 {
    const NONE: Self = 0;

    #[inline]
    fn before(self, code: u32) -> Self {
        if code == 0 { 0 } else { u64::from(code) << 56 | self >> 7 }
    }

    #[inline]
    fn code(&self, idx: usize) -> usize {
        (self >> (56 - 7 * idx) & 127) as usize
    }

    #[inline]
    fn n_common(&self, other: &Self) -> usize {
        // One bit above the codes is never set. Different keys differ before the first 0 of both.
        match self ^ other {
            0 => N_NEXT - self.trailing_zeros() as usize / 7,
            different => (different.leading_zeros() as usize - 1) / 7,
        }
    }
}

impl Key for u128 {
    const NONE: Self = 0;

    #[inline]
    fn before(self, code: u32) -> Self {
        if code == 0 { 0 } else { u128::from(code) << 112 | self >> 14 }
    }

    #[inline]
    fn code(&self, idx: usize) -> usize {
        (self >> (112 - 14 * idx) & 16_383) as usize
    }

    #[inline]
    fn n_common(&self, other: &Self) -> usize {
        match self ^ other {
            0 => N_NEXT - self.trailing_zeros() as usize / 14,
            different => (different.leading_zeros() as usize - 2) / 14,
        }
    }
}

impl Key for [u32; N_NEXT] {
    const NONE: Self = [0; N_NEXT];

    fn before(self, code: u32) -> Self {
        let mut key = Self::NONE;
        if code != 0 {
            key[0] = code;
            key[1..].copy_from_slice(&self[..N_NEXT - 1]);
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

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// As the original counts.
    fn check(text: &str) {
        let grams = Grams::of(&Codes::of(text));
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
        check(&(many(18_000) + "ab" + &many(18_000)));
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_table(text in "[a-cé汉]{0,60}") {
            check(&text);
        }
    }
}
