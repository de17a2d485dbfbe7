//! Chinese identity numbers (GB 11643): six digits of a place, eight of a birthday, three of order, one to check.

use std::ops::Range;

use super::stands_alone;

const N_CHARS: usize = 18;
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECKS: &[u8; 11] = b"10X98765432";

pub(super) fn find(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let range = at..at + N_CHARS;
    let (digits, check) = bytes.get(range.clone())?.split_at(N_CHARS - 1);
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' || !is_birthday(&digits[6..14]) {
        return None;
    }
    let weighted =
        digits.iter().zip(WEIGHTS).map(|(&digit, weight)| u32::from(digit - b'0') * weight);
    let expected = CHECKS[(weighted.sum::<u32>() % 11) as usize];
    let is_right = check[0].to_ascii_uppercase() == expected;
    (is_right && stands_alone(bytes, &range)).then_some(range)
}

fn is_birthday(digits: &[u8]) -> bool {
    let number = |range: Range<usize>| {
        digits[range].iter().fold(0_u32, |number, &digit| number * 10 + u32::from(digit - b'0'))
    };
    let (year, month, day) = (number(0..4), number(4..6), number(6..8));
    (1900..2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
}
