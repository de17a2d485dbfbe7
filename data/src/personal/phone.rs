//! Phone numbers: with `+` and a country code, Chinese mobile and landline ones, those of the United States.

use std::ops::Range;

use super::stands_alone;

/// Written forms: `d` any digit, `N` 2 to 9, `M` 3 to 9, `s` a space, hyphen or point, others themselves.
const FORMS: [&str; 21] = [
    // Chinese mobile numbers
    "1Mddddddddd",
    "1Mdsddddsdddd",
    "861Mddddddddd",
    "86s1Mddddddddd",
    "00861Mddddddddd",
    // Chinese landlines: three digits of a great city or four of another, and seven or eight
    "010-dddddddd",
    "02d-dddddddd",
    "0Mdd-dddddddd",
    "0Mdd-ddddddd",
    "(010)dddddddd",
    "(02d)dddddddd",
    "(0Mdd)dddddddd",
    "(0Mdd)ddddddd",
    "(010) dddddddd",
    "(0Mdd) ddddddd",
    // The United States and Canada
    "NddsNddsdddd",
    "(Ndd) Nddsdddd",
    "(Ndd)Nddsdddd",
    "1sNddsNddsdddd",
    "1 (Ndd) Nddsdddd",
    "1-(Ndd)-Nddsdddd",
];
/// Digits of a number with its country code (E.164).
const N_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

pub(super) fn find(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).map(|before| (bytes[before], before));
    let range = match before {
        Some((b'+', start)) => start..international(bytes, at)?,
        Some((b'(', start)) => start..FORMS.iter().find_map(|form| fit(bytes, start, form))?,
        _ => at..FORMS.iter().find_map(|form| fit(bytes, at, form))?,
    };
    stands_alone(bytes, &range).then_some(range)
}

/// Where a number of this form ends, if one begins here and no digit follows.
fn fit(bytes: &[u8], start: usize, form: &str) -> Option<usize> {
    let end = start + form.len();
    let fits = |(&byte, wanted): (&u8, u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'N' => (b'2'..=b'9').contains(&byte),
        b'M' => (b'3'..=b'9').contains(&byte),
        b's' => b" -.".contains(&byte),
        wanted => byte == wanted,
    };
    let is_fit = bytes.get(start..end)?.iter().zip(form.bytes()).all(fits);
    (is_fit && !bytes.get(end).is_some_and(u8::is_ascii_digit)).then_some(end)
}

/// Where the number behind a `+` ends: digits with at most two separators between them.
fn international(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut n_digits, mut end) = (0, at);
    for (idx, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'0'..=b'9' if n_digits == *N_DIGITS.end() => return None,
            b'0'..=b'9' => {
                n_digits += 1;
                end = idx + 1;
            }
            b' ' | b'-' | b'.' | b'(' | b')' if idx < end + 2 => {}
            _ => break,
        }
    }
    (N_DIGITS.contains(&n_digits) && bytes[at] != b'0').then_some(end)
}
