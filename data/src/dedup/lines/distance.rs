//! Whether two strings are within so many edits of each other, by Myers' bit-parallel algorithm.
//!
//! G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming",
//! J. ACM 46(3), 1999, in blocks of 64 rows, with H. Hyyrö's carry between blocks (2003).

use rustc_hash::FxHashMap;

/// Rows of the dynamic programme in one word.
const WORD: usize = 64;

/// A string prepared to be compared with many.
pub(super) struct Pattern {
    n_chars: usize,
    n_blocks: usize,
    /// For each character the rows where it stands, block after block.
    rows: FxHashMap<u32, usize>,
    masks: Vec<u64>,
}

impl Pattern {
    /// Prepares a string of at least one character.
    pub(super) fn new(chars: &[u32]) -> Self {
        let n_blocks = chars.len().div_ceil(WORD);
        let mut pattern =
            Self { n_chars: chars.len(), n_blocks, rows: FxHashMap::default(), masks: Vec::new() };
        for (row, &c) in chars.iter().enumerate() {
            let next = pattern.masks.len();
            let start = *pattern.rows.entry(c).or_insert(next);
            if start == next {
                pattern.masks.resize(next + n_blocks, 0);
            }
            pattern.masks[start + row / WORD] |= 1 << (row % WORD);
        }
        pattern
    }

    /// Whether at most `limit` insertions, deletions and substitutions turn the pattern into `text`.
    pub(super) fn is_within(&self, text: &[u32], limit: usize) -> bool {
        if self.n_chars.abs_diff(text.len()) > limit {
            return false;
        }
        // The distance of the whole pattern from the text so far; the last row is in the last block.
        let mut distance = self.n_chars;
        let last_row = 1 << ((self.n_chars - 1) % WORD);
        let mut blocks = vec![Block { plus: !0, minus: 0 }; self.n_blocks];
        for (column, c) in text.iter().enumerate() {
            let masks = self.rows.get(c).map(|&start| &self.masks[start..start + self.n_blocks]);
            let mut carry = Carry { plus: 1, minus: 0 };
            let (last, before) = blocks.split_last_mut().expect("a pattern has a block");
            for (index, block) in before.iter_mut().enumerate() {
                carry =
                    block.advance(masks.map_or(0, |masks| masks[index]), carry, 1 << (WORD - 1));
            }
            let mask = masks.map_or(0, |masks| masks[self.n_blocks - 1]);
            carry = last.advance(mask, carry, last_row);
            distance = distance + carry.plus as usize - carry.minus as usize;
            // Every column left lowers the distance by one at most.
            if distance > limit + (text.len() - column - 1) {
                return false;
            }
        }
        distance <= limit
    }
}

/// Differences between neighbouring rows of one column: +1 where `plus` has a bit, -1 where `minus` has.
#[derive(Clone, Copy)]
struct Block {
    plus: u64,
    minus: u64,
}

/// The difference between neighbouring columns at the row between two blocks.
#[derive(Clone, Copy)]
struct Carry {
    plus: u64,
    minus: u64,
}

impl Block {
    /// Moves to the next column; returns the difference at the row of `last`.
    #[inline]
    fn advance(&mut self, mask: u64, carry: Carry, last: u64) -> Carry {
        let Self { plus, minus } = *self;
        let vertical = mask | minus;
        let mask = mask | carry.minus;
        let horizontal = ((mask & plus).wrapping_add(plus) ^ plus) | mask;
        let up = minus | !(horizontal | plus);
        let down = plus & horizontal;
        let out = Carry { plus: u64::from(up & last != 0), minus: u64::from(down & last != 0) };
        let up = (up << 1) | carry.plus;
        let down = (down << 1) | carry.minus;
        self.plus = down | !(vertical | up);
        self.minus = up & vertical;
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chars(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    fn check(a: &str, b: &str, distance: usize) {
        let (a, b) = (chars(a), chars(b));
        for (a, b) in [(&a, &b), (&b, &a)] {
            let Some(_) = a.first() else { continue };
            for limit in 0..distance + 3 {
                let within = Pattern::new(a).is_within(b, limit);
                assert_eq!(within, distance <= limit, "{a:?} {b:?} {limit}");
            }
        }
    }

    #[test]
    fn distances_of_small_and_long_strings() {
        check("kitten", "sitting", 3);
        check("flaw", "lawn", 2);
        check("甲乙丙", "甲丙", 1);
        check("abc", "", 3);
        let long = "abcdefghij".repeat(13);
        check(&long, &long, 0);
        check(&long, &long[1..], 1);
        check(&long, &format!("x{}", &long[..long.len() - 1]), 2);
    }

    proptest! {
        #[test]
        fn equals_the_dynamic_programme(a in "[ab]{1,200}", b in "[abc]{0,200}") {
            let (a, b) = (chars(&a), chars(&b));
            let mut row: Vec<usize> = (0..=b.len()).collect();
            for (i, x) in a.iter().enumerate() {
                let mut diagonal = std::mem::replace(&mut row[0], i + 1);
                for (j, y) in b.iter().enumerate() {
                    let cost = diagonal + usize::from(x != y);
                    diagonal = row[j + 1];
                    row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
                }
            }
            let distance = row[b.len()];
            let pattern = Pattern::new(&a);
            prop_assert!(pattern.is_within(&b, distance));
            prop_assert!(distance == 0 || !pattern.is_within(&b, distance - 1));
        }
    }
}
