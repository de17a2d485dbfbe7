//! Similar-line deduplication: of pieces of one text that are nearly equal, the first stays. MAP-Neo's way
//! with Chinese.
//!
//! A text is cut into pieces at sentence marks and brackets, not at line feeds. Going from the first piece to
//! the last, each that is still there removes every later one that is similar: lengths that differ by less
//! than 30 % (or the proportion) of the longer, at least a third of the characters in common, and an edit
//! distance of at most the proportion of the longer; pieces of 15 or fewer characters must be equal. What is
//! left is put together with nothing between.
//!
//! Almost no pair is ever compared: equal pieces are found by hashing; of the others only those of fitting
//! length meet, most pairs differ in their counts of characters by more than the edits allowed, and the rest
//! is settled by bit-parallel edit distance. The outcome is that of comparing all.

mod distance;

use rustc_hash::FxHashSet;

use self::distance::Pattern;
use super::{Compares, Key, Method, Outcome};
use crate::Document;

/// Edits allowed per character in the original.
pub const PROPORTION: f64 = 0.1;
/// Pieces of up to this many characters must be equal.
const EQUAL_CHARS: usize = 15;
/// Lengths must differ by less than this share of the longer.
const LENGTH_SHARE: f64 = 0.3;
/// Least share of characters in common.
const COMMON_SHARE: f64 = 1.0 / 3.0;
/// Up to this proportion the edit distance alone implies the share in common: at d edits of m characters it
/// is at least (m - d) / (m + d).
const IMPLIES_COMMON: f64 = 0.5;

/// Similar pieces within a document.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Edits allowed per character of the longer piece, from 0 to 1; [`PROPORTION`] in the original.
    pub proportion: f64,
}

impl Method for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "proportion": self.proportion })
    }

    fn part(&self) -> &'static str {
        "pieces"
    }

    fn compares(&self) -> Compares {
        Compares::Nothing
    }

    fn keys(&self, _document: &Document) -> Vec<(u32, Key)> {
        Vec::new()
    }

    fn take_out(&self, text: &str, _repeats: &[u32]) -> Outcome {
        let pieces = split(text);
        let removed = self.similar(&pieces);
        let n_parts = removed.iter().filter(|&&removed| removed).count();
        if n_parts == 0 {
            return Outcome::Keep;
        }
        let kept = pieces.iter().zip(removed).filter(|(_, removed)| !removed);
        Outcome::Cut { text: kept.map(|(&piece, _)| piece).collect(), n_parts }
    }
}

/// The pieces of a text: closing marks end one and stay in it, `[` and `【` begin one.
pub fn split(text: &str) -> Vec<&str> {
    let (mut pieces, mut begin) = (Vec::new(), 0);
    for (at, c) in text.char_indices() {
        match c {
            '.' | '!' | '?' | '。' | '！' | '？' | '\\' | '…' | ']' | '】' => {
                let end = at + c.len_utf8();
                pieces.push(&text[begin..end]);
                begin = end;
            }
            '[' | '【' => {
                if begin < at {
                    pieces.push(&text[begin..at]);
                }
                begin = at;
            }
            _ => (),
        }
    }
    if begin < text.len() {
        pieces.push(&text[begin..]);
    }
    pieces
}

impl Lines {
    /// Which pieces are similar to an earlier one that stays.
    pub fn similar(&self, pieces: &[&str]) -> Vec<bool> {
        let mut removed = vec![false; pieces.len()];
        let mut seen = FxHashSet::with_capacity_and_hasher(pieces.len(), Default::default());
        let mut long = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            // Equal pieces are similar whatever the proportion, unless no lengths may differ at all.
            removed[index] = !seen.insert(*piece);
            if !removed[index] && piece.chars().nth(EQUAL_CHARS).is_some() {
                long.push(Piece::new(index, piece));
            }
        }
        self.remove_similar(&long, &mut removed);
        removed
    }

    /// Compares pieces of more than [`EQUAL_CHARS`] characters, all different, in the order of the text.
    fn remove_similar(&self, pieces: &[Piece], removed: &mut [bool]) {
        let mut by_length: Vec<&Piece> = pieces.iter().collect();
        by_length.sort_by_key(|piece| (piece.chars.len(), piece.index));
        for piece in pieces {
            if removed[piece.index] {
                continue;
            }
            let mut pattern = None;
            for other in self.of_fitting_length(&by_length, piece.chars.len()) {
                if other.index > piece.index
                    && !removed[other.index]
                    && self.may_be_similar(piece, other)
                {
                    let pattern = pattern.get_or_insert_with(|| Pattern::new(&piece.chars));
                    let edits = self.edits(piece, other);
                    removed[other.index] = pattern.is_within(&other.chars, edits);
                }
            }
        }
    }

    /// The pieces whose length allows them to be similar to one of `n_chars` characters.
    fn of_fitting_length<'a>(&self, by_length: &'a [&Piece], n_chars: usize) -> &'a [&'a Piece] {
        // The shortest and longest that pass are found by the very test, for it is monotone on either side.
        let shorter = by_length.partition_point(|other| other.chars.len() < n_chars);
        let (below, above) = by_length.split_at(shorter);
        let fits = |other: &&Piece| self.lengths_fit(other.chars.len(), n_chars);
        let start = below.partition_point(|other| !fits(other));
        let end = shorter + above.partition_point(fits);
        &by_length[start..end]
    }

    fn lengths_fit(&self, a: usize, b: usize) -> bool {
        let difference = a.abs_diff(b);
        let longer = a.max(b);
        (difference as f64 / longer as f64) < LENGTH_SHARE.max(self.proportion)
            && difference as f64 <= self.proportion * longer as f64
    }

    /// Edits allowed between two pieces.
    fn edits(&self, a: &Piece, b: &Piece) -> usize {
        (self.proportion * a.chars.len().max(b.chars.len()) as f64) as usize
    }

    /// What the characters' counts say: false only if the pieces are not similar.
    fn may_be_similar(&self, a: &Piece, b: &Piece) -> bool {
        // A substitution changes two counts by one, an insertion or deletion one.
        a.counts_differ_by(b) <= 2 * self.edits(a, b)
            && (self.proportion <= IMPLIES_COMMON || a.share_in_common(b) >= COMMON_SHARE)
    }
}

/// Counters of characters; each counts those with the same low bits.
const COUNTERS: usize = 64;

/// A piece and what is needed to compare it.
struct Piece {
    /// Which piece of the text it is.
    index: usize,
    chars: Vec<u32>,
    /// How often each kind of character occurs, up to 255.
    counts: [u8; COUNTERS],
}

impl Piece {
    fn new(index: usize, piece: &str) -> Self {
        let chars: Vec<u32> = piece.chars().map(u32::from).collect();
        let mut counts = [0u8; COUNTERS];
        for &c in &chars {
            let counter = &mut counts[c as usize % COUNTERS];
            *counter = counter.saturating_add(1);
        }
        Self { index, chars, counts }
    }

    /// The sum of the differences of the counts, a lower bound for that of the characters.
    fn counts_differ_by(&self, other: &Self) -> usize {
        let pairs = self.counts.iter().zip(&other.counts);
        pairs.map(|(&a, &b)| u32::from(a.abs_diff(b))).sum::<u32>() as usize
    }

    /// Characters in common, repetitions counted, as a share of all.
    fn share_in_common(&self, other: &Self) -> f64 {
        let (mut a, mut b) = (self.chars.clone(), other.chars.clone());
        a.sort_unstable();
        b.sort_unstable();
        let (mut rest, mut n_common) = (&b[..], 0);
        for c in &a {
            rest = &rest[rest.partition_point(|other| other < c)..];
            if rest.first() == Some(c) {
                n_common += 1;
                rest = &rest[1..];
            }
        }
        n_common as f64 / (a.len() + b.len() - n_common) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check_split(text: &str, expected: &[&str]) {
        assert_eq!(split(text), expected, "{text:?}");
    }

    #[test]
    fn texts_are_cut_at_marks_and_brackets() {
        check_split("a。b[c]d……e\nf.g", &["a。", "b", "[c]", "d…", "…", "e\nf.", "g"]);
        check_split("[[】!", &["[", "[】", "!"]);
        check_split("", &[]);
        check_split("甲\\乙【", &["甲\\", "乙", "【"]);
    }

    fn check(text: &str, expected: &str) {
        let left = match (Lines { proportion: 0.1 }).take_out(text, &[]) {
            Outcome::Cut { text, .. } => text,
            _ => text.to_owned(),
        };
        assert_eq!(left, expected, "{text:?}");
    }

    #[test]
    fn similar_pieces_go() {
        check("好。不好。好。", "好。不好。");
        check("wait...", "wait..");
        let long = "abcdefghijklmnopqrst";
        check(&format!("{long}.{long}!"), &format!("{long}."));
        check(&format!("{long}.{long}xyz."), &format!("{long}.{long}xyz."));
        // Fifteen characters with the mark: one edit is one too many.
        check("abcdefghijklmn.abcdefghijklmn!", "abcdefghijklmn.abcdefghijklmn!");
    }

    /// The original's dynamic programme and loops.
    fn by_definition(text: &str, proportion: f64) -> Vec<bool> {
        let pieces: Vec<Vec<char>> =
            split(text).iter().map(|piece| piece.chars().collect()).collect();
        let mut removed = vec![false; pieces.len()];
        for i in 0..pieces.len() {
            if removed[i] {
                continue;
            }
            for j in i + 1..pieces.len() {
                let (a, b) = (&pieces[i], &pieces[j]);
                let longer = a.len().max(b.len());
                let difference = a.len().abs_diff(b.len()) as f64 / longer as f64;
                if difference >= proportion.max(0.3) || in_common(a, b) < 1.0 / 3.0 {
                    continue;
                }
                let shorter = a.len().min(b.len());
                let limit = if shorter <= 15 { 0.0 } else { proportion * longer as f64 };
                if levenshtein(a, b) as f64 <= limit {
                    removed[j] = true;
                }
            }
        }
        removed
    }

    fn in_common(a: &[char], b: &[char]) -> f64 {
        let mut counts: BTreeMap<char, (usize, usize)> = BTreeMap::new();
        a.iter().for_each(|&c| counts.entry(c).or_default().0 += 1);
        b.iter().for_each(|&c| counts.entry(c).or_default().1 += 1);
        let least: usize = counts.values().map(|&(a, b)| a.min(b)).sum();
        let most: usize = counts.values().map(|&(a, b)| a.max(b)).sum();
        least as f64 / most as f64
    }

    fn levenshtein(a: &[char], b: &[char]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, y) in b.iter().enumerate() {
                let cost = diagonal + usize::from(x != y);
                diagonal = row[j + 1];
                row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[b.len()]
    }

    proptest! {
        #[test]
        fn equals_the_original(
            text in "([ab]{10,22}[.\\[]|[a-d]{60,140}[!]|(abcdefgh){1,12}[ij]{0,3}[.]){0,14}",
            proportion in prop_oneof![Just(0.1), 0.0..0.9f64],
        ) {
            let found = Lines { proportion }.similar(&split(&text));
            prop_assert_eq!(found, by_definition(&text, proportion), "{}", proportion);
        }

        #[test]
        fn pieces_make_up_the_text(text in any::<String>()) {
            prop_assert_eq!(split(&text).concat(), text);
        }

        /// Brackets aside: without one, the pieces beside it may join.
        #[test]
        fn a_second_time_changes_nothing(text in "([ab]{10,22}[.!]){0,12}") {
            let lines = Lines { proportion: 0.1 };
            if let Outcome::Cut { text, .. } = lines.take_out(&text, &[]) {
                prop_assert_eq!(lines.take_out(&text, &[]), Outcome::Keep);
            }
        }
    }
}
