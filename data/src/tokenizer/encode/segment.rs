//! Where a text can be cut without changing its ids, proven from the vocabulary.
//!
//! A merge joins two symbols into a piece, so it needs the characters on both sides of their border
//! to be neighbours inside some piece. Where the vocabulary has no such piece, the text falls apart.
//! A border that is kept by mistake changes nothing, so the pairs outside ASCII are remembered by a
//! bit of their hash alone.

/// Segments are cut here at the latest, so that positions fit into 32 bits.
const MAX_SEGMENT_BYTES: usize = 1 << 31;

const N_ASCII: usize = 128;
/// Bits for the pairs outside ASCII: MAP-Neo's vocabulary sets one in 50, in 256 KiB.
const N_HASHED_BITS: u32 = 21;

/// The pairs of characters that are neighbours inside some piece.
pub(super) struct Boundaries {
    /// For each left character the set of right ones.
    ascii: [u128; N_ASCII],
    hashed: Vec<u64>,
}

impl Boundaries {
    /// Collects the pairs of all pieces that text can become.
    pub(super) fn new(texts: impl Iterator<Item = String>) -> Self {
        let hashed = vec![0; (1 << N_HASHED_BITS) / u64::BITS as usize];
        let mut boundaries = Self { ascii: [0; N_ASCII], hashed };
        for text in texts {
            for (left, right) in text.chars().zip(text.chars().skip(1)) {
                if left.is_ascii() && right.is_ascii() {
                    boundaries.ascii[left as usize] |= 1 << right as u32;
                } else {
                    let (word, bit) = place(left as u32, right as u32);
                    boundaries.hashed[word] |= bit;
                }
            }
        }
        boundaries
    }

    /// Whether a merge could join symbols across these two characters.
    #[inline]
    pub(super) fn is_joined(&self, left: u32, right: u32) -> bool {
        if (left | right) < N_ASCII as u32 {
            return self.ascii[left as usize] >> right & 1 == 1;
        }
        let (word, bit) = place(left, right);
        self.hashed[word] & bit != 0
    }

    /// Where the segment that starts at `start` ends; after `start` unless the text ends there.
    #[inline]
    pub(super) fn segment_end(&self, text: &str, start: usize) -> usize {
        let bytes = text.as_bytes();
        let mut at = start;
        let Some(mut left) = next_character(bytes, &mut at) else { return start };
        loop {
            let end = at;
            let Some(right) = next_character(bytes, &mut at) else { return end };
            if !self.is_joined(left, right) || end - start >= MAX_SEGMENT_BYTES {
                return end;
            }
            left = right;
        }
    }
}

/// The character that starts at `at`, which moves behind it; `bytes` are a text's.
#[inline]
fn next_character(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = u32::from(*bytes.get(*at)?);
    if first < N_ASCII as u32 {
        *at += 1;
        return Some(first);
    }
    let continued = |nth: usize| bytes.get(*at + nth).map_or(0, |byte| u32::from(byte & 0x3F));
    let (code, n_bytes) = match first {
        0xE0..0xF0 => ((first & 0x0F) << 12 | continued(1) << 6 | continued(2), 3),
        0xF0.. => {
            let upper = (first & 0x07) << 18 | continued(1) << 12;
            (upper | continued(2) << 6 | continued(3), 4)
        }
        _ => ((first & 0x1F) << 6 | continued(1), 2),
    };
    *at += n_bytes;
    Some(code)
}

/// Word and bit of a pair.
fn place(left: u32, right: u32) -> (usize, u64) {
    let pair = u64::from(left) << 32 | u64::from(right);
    let hash = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - N_HASHED_BITS);
    ((hash / 64) as usize, 1 << (hash % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let pieces = [" the", "th", "中国", "a中", "中b"].map(String::from);
        let boundaries = Boundaries::new(pieces.into_iter());
        let mut at = 0;
        let mut segments = Vec::new();
        while at < text.len() {
            let end = boundaries.segment_end(text, at);
            segments.push(&text[at..end]);
            at = end;
        }
        assert_eq!(segments, expected);
        assert_eq!(boundaries.segment_end(text, at), at);
    }

    #[test]
    fn cuts_where_no_piece_has_the_pair() {
        check("", &[]);
        check("the the  the", &["the", " the", " ", " the"]);
        check("a中国中国", &["a中国", "中国"]);
        check("中b", &["中b"]);
        check("éa中😀b", &["é", "a中", "😀", "b"]);
        check("1234", &["1", "2", "3", "4"]);
        check("ththe", &["th", "the"]);
    }

    proptest! {
        #[test]
        fn characters_are_read_as_they_are(text in "\\PC{0,9}.{0,9}") {
            let mut at = 0;
            for (start, character) in text.char_indices() {
                prop_assert_eq!(at, start);
                prop_assert_eq!(next_character(text.as_bytes(), &mut at), Some(character as u32));
            }
            prop_assert_eq!(next_character(text.as_bytes(), &mut at), None);
        }
    }
}
