//! Numbers of bank cards: 13 to 19 digits, plain or in groups, that pass Luhn's test (ISO/IEC 7812).

use std::ops::Range;

use super::stands_alone;

const N_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits between two separators, at the least, so that a row of numbers is no card.
const GROUP_DIGITS: usize = 4;

pub(super) fn find(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let (mut digits, mut group, mut end) = ([0; 20], 0, at);
    let mut n_digits = 0;
    for (idx, &byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'0'..=b'9' if n_digits < digits.len() => {
                digits[n_digits] = byte - b'0';
                n_digits += 1;
                group += 1;
                end = idx + 1;
            }
            b' ' | b'-' if group >= GROUP_DIGITS && end == idx => group = 0,
            _ => break,
        }
    }
    let range = at..end;
    let is_card = N_DIGITS.contains(&n_digits)
        && (2..=6).contains(&digits[0])
        && passes(&digits[..n_digits])
        && digits[1..n_digits].iter().any(|digit| *digit != digits[0]);
    (is_card && stands_alone(bytes, &range)).then_some(range)
}

/// Luhn's test: every second digit from the right counts twice, its digits added.
fn passes(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(idx, &digit)| match (u32::from(digit), idx % 2) {
            (digit, 0) => digit,
            (digit, _) => digit * 2 - if digit > 4 { 9 } else { 0 },
        })
        .sum();
    sum.is_multiple_of(10)
}
