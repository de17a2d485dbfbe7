//! Where a text can be cut without changing its ids, proven from the vocabulary.
//!
//! A merge joins two symbols into a piece, so it needs the characters on both sides of their border
//! to be neighbours inside some piece. Where the vocabulary has no such piece, the text falls apart.

use rustc_hash::FxHashSet;

/// Segments are cut here at the latest, so that positions fit into 32 bits.
const MAX_SEGMENT_BYTES: usize = 1 << 31;

const N_ASCII: usize = 128;

/// The pairs of characters that are neighbours inside some piece.
pub(super) struct Boundaries {
    ascii: Box<[bool; N_ASCII * N_ASCII]>,
    others: FxHashSet<(char, char)>,
}

impl Boundaries {
    /// Collects the pairs of all pieces that text can become.
    pub(super) fn new(texts: impl Iterator<Item = String>) -> Self {
        let mut ascii = Box::new([false; N_ASCII * N_ASCII]);
        let mut others = FxHashSet::default();
        for text in texts {
            for (left, right) in text.chars().zip(text.chars().skip(1)) {
                match ascii_idx(left, right) {
                    Some(idx) => ascii[idx] = true,
                    None => drop(others.insert((left, right))),
                }
            }
        }
        Self { ascii, others }
    }

    /// Whether a merge could join symbols across these two characters.
    pub(super) fn is_joined(&self, left: char, right: char) -> bool {
        match ascii_idx(left, right) {
            Some(idx) => self.ascii[idx],
            None => self.others.contains(&(left, right)),
        }
    }

    /// Length in bytes of the first segment of a text; positive unless the text is empty.
    pub(super) fn first_cut(&self, text: &str) -> usize {
        let mut characters = text.char_indices();
        let Some((_, mut left)) = characters.next() else { return 0 };
        for (at, right) in characters {
            if !self.is_joined(left, right) || at >= MAX_SEGMENT_BYTES {
                return at;
            }
            left = right;
        }
        text.len()
    }
}

fn ascii_idx(left: char, right: char) -> Option<usize> {
    (left.is_ascii() && right.is_ascii()).then(|| left as usize * N_ASCII + right as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let pieces = [" the", "th", "中国", "a中"].map(String::from);
        let boundaries = Boundaries::new(pieces.into_iter());
        let mut rest = text;
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(boundaries.first_cut(rest));
            segments.push(segment);
            rest = after;
        }
        assert_eq!(segments, expected);
    }

    #[test]
    fn cuts_where_no_piece_has_the_pair() {
        check("", &[]);
        check("the the  the", &["the", " the", " ", " the"]);
        check("a中国中国", &["a中国", "中国"]);
        check("1234", &["1", "2", "3", "4"]);
        check("ththe", &["th", "the"]);
    }
}
