//! C15: how much of a text is repetition, by n-grams of characters.

use rustc_hash::FxHashMap;

/// Lengths of the n-grams that are measured, in order.
pub(super) const LENGTHS: std::ops::RangeInclusive<usize> = 2..=10;
/// Up to this length only the most frequent n-gram counts; of longer ones all that repeat.
const LONGEST_TOP: usize = 4;

/// Bits of a code point.
const CHAR_BITS: u32 = 21;

/// For each of [`LENGTHS`] what share of the characters repetitions make up.
///
/// Of the short n-grams it is the most frequent one without its first occurrence (overlaps counted again, as the
/// English rules E26 to E28 count), of the longer ones the characters inside an n-gram that occurs again. Only
/// where an n-gram repeats can one that is longer by a character repeat, so the work shrinks with the length.
pub(super) fn repetition_shares(text: &str) -> impl Iterator<Item = (usize, f64)> {
    let chars: Vec<u32> = text.chars().map(u32::from).collect();
    // Places where an n-gram that repeats begins, with a number for each different n-gram.
    let mut places: Vec<(u32, u32)> =
        chars.iter().copied().zip(0..).map(|(c, at)| (at, c)).collect();
    LENGTHS.map(move |n| {
        let n_top = lengthen(&mut places, &chars, n);
        let n_repeated =
            if n <= LONGEST_TOP { n_top.saturating_sub(1) * n } else { n_covered(&places, n) };
        (n, n_repeated as f64 / chars.len().max(1) as f64)
    })
}

/// Goes from n-grams of `n - 1` characters to those of `n`; returns how often the most frequent one occurs.
fn lengthen(places: &mut Vec<(u32, u32)>, chars: &[u32], n: usize) -> usize {
    let mut counts = FxHashMap::<u64, (u32, u32)>::default();
    places.retain(|&(at, _)| at as usize + n <= chars.len());
    for (at, gram) in &mut *places {
        let longer = u64::from(*gram) << CHAR_BITS | u64::from(chars[*at as usize + n - 1]);
        let n_grams = counts.len() as u32;
        let (number, count) = counts.entry(longer).or_insert((n_grams, 0));
        *count += 1;
        *gram = *number;
    }
    let mut by_number = vec![0; counts.len()];
    for (number, count) in counts.into_values() {
        by_number[number as usize] = count;
    }
    places.retain(|&(_, gram)| by_number[gram as usize] > 1);
    by_number.into_iter().max().unwrap_or(0) as usize
}

/// How many characters lie inside the n-grams that begin at these places, which are in order.
fn n_covered(places: &[(u32, u32)], n: usize) -> usize {
    let (mut n_covered, mut end) = (0, 0);
    for &(at, _) in places {
        let at = at as usize;
        n_covered += at + n - end.max(at);
        end = at + n;
    }
    n_covered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by comparing all n-grams with all.
    fn plainly(text: &str) -> Vec<(usize, f64)> {
        let chars: Vec<char> = text.chars().collect();
        LENGTHS
            .map(|n| {
                let grams: Vec<&[char]> = chars.windows(n).collect();
                let count = |gram: &[char]| grams.iter().filter(|other| **other == gram).count();
                let top = grams.iter().map(|gram| count(gram)).max().unwrap_or(1);
                let is_inside = |at: usize| {
                    let covers = |start: &usize| (*start..start + n).contains(&at);
                    (0..grams.len()).filter(covers).any(|start| count(grams[start]) > 1)
                };
                let covered = (0..chars.len()).filter(|&at| is_inside(at)).count();
                let repeated = if n <= LONGEST_TOP { (top - 1) * n } else { covered };
                (n, repeated as f64 / chars.len().max(1) as f64)
            })
            .collect()
    }

    #[test]
    fn the_example_of_the_english_rules() {
        // 34, 33 and 44 of 144 characters are printed by the original for the short n-grams.
        let text = "the cat sat on the mat. the cat sat on the hat. ".repeat(3);
        let shares: Vec<f64> = repetition_shares(&text).map(|(_, share)| share).collect();
        assert_eq!(shares[..3], [34.0 / 144.0, 33.0 / 144.0, 44.0 / 144.0]);
        assert_eq!(shares[3..], [1.0; 6]);
    }

    proptest! {
        #[test]
        fn equal_to_comparing_all_with_all(text in "[ab汉]{0,60}") {
            prop_assert_eq!(repetition_shares(&text).collect::<Vec<_>>(), plainly(&text));
        }
    }
}
