//! The merging of one segment: symbols in a linked list, candidate pairs in a heap.
//!
//! The pair with the highest score is merged first, the leftmost of equals; a heap entry whose pair
//! has changed meanwhile is passed over, as in SentencePiece. Cost: n log n in the segment's length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use super::super::vocabulary::{Vocabulary, single_character};
use super::normal_texts;

/// No symbol, no pair.
const NONE: u32 = u32::MAX;
/// Set in the id of a symbol that is a character outside the vocabulary; the rest is its code.
const OUTSIDE: u32 = 1 << 31;

/// Symbols for which memory is kept from segment to segment.
const MAX_KEPT_SYMBOLS: usize = 1 << 16;

/// Which two symbols make which piece, and how early.
pub(super) struct MergeTable {
    by_character: FxHashMap<char, u32>,
    by_pair: FxHashMap<(u32, u32), u32>,
    /// By id: 0 for the highest score; pieces of equal score share a rank.
    ranks: Vec<u32>,
}

impl MergeTable {
    /// Every split of every piece into two pieces. Looking up the pair of ids is then the same as
    /// looking up the joined text, since the pieces of a vocabulary differ.
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let pieces: Vec<(u32, String)> = normal_texts(vocabulary).collect();
        let by_text: FxHashMap<&str, u32> =
            pieces.iter().map(|(id, text)| (text.as_str(), *id)).collect();
        let mut by_pair = FxHashMap::default();
        for (id, text) in &pieces {
            for (at, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(at);
                if let (Some(&left), Some(&right)) = (by_text.get(left), by_text.get(right)) {
                    by_pair.insert((left, right), *id);
                }
            }
        }
        let by_character = pieces
            .iter()
            .filter_map(|(id, text)| single_character(text).map(|character| (character, *id)))
            .collect();
        Self { by_character, by_pair, ranks: ranks(&vocabulary.scores) }
    }

    fn symbol(&self, character: char) -> u32 {
        self.by_character.get(&character).copied().unwrap_or(OUTSIDE | character as u32)
    }

    fn joined(&self, left: u32, right: u32) -> u32 {
        if (left | right) & OUTSIDE != 0 {
            return NONE;
        }
        self.by_pair.get(&(left, right)).copied().unwrap_or(NONE)
    }
}

/// Dense ranks of scores, the highest first.
fn ranks(scores: &[f32]) -> Vec<u32> {
    let mut ids: Vec<usize> = (0..scores.len()).collect();
    ids.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut ranks = vec![0; scores.len()];
    for neighbours in ids.windows(2) {
        // `0.0` and `-0.0` are equal here, as they are for SentencePiece.
        let step = u32::from(scores[neighbours[0]] != scores[neighbours[1]]);
        ranks[neighbours[1]] = ranks[neighbours[0]] + step;
    }
    ranks
}

/// What a symbol is in the end.
pub(super) enum Remaining {
    /// The id of a piece.
    Piece(u32),
    /// A character that is in no piece.
    Outside(char),
}

/// The symbols of one segment; its memory is kept from segment to segment.
#[derive(Default)]
pub(super) struct Symbols {
    symbols: Vec<Symbol>,
    /// Rank of the piece and position of its left half, the next merge on top.
    candidates: BinaryHeap<Reverse<(u32, u32)>>,
}

struct Symbol {
    /// Piece or outside character; `NONE` once merged into the symbol before.
    id: u32,
    previous: u32,
    next: u32,
    /// What this symbol and the next would become.
    pair: u32,
}

impl Symbols {
    /// Takes the characters of a segment and finds the first candidates.
    pub(super) fn start(&mut self, segment: &str, table: &MergeTable) {
        self.symbols.clear();
        self.candidates.clear();
        for (at, character) in segment.chars().enumerate() {
            let at = at as u32;
            let id = table.symbol(character);
            self.symbols.push(Symbol {
                id,
                previous: at.wrapping_sub(1),
                next: at + 1,
                pair: NONE,
            });
        }
        if let Some(last) = self.symbols.last_mut() {
            last.next = NONE;
        }
        for at in 1..self.symbols.len() as u32 {
            self.consider(at - 1, table);
        }
    }

    /// Merges until no neighbours make a piece.
    pub(super) fn merge(&mut self, table: &MergeTable) {
        while let Some(Reverse((rank, at))) = self.candidates.pop() {
            let Symbol { next, pair, .. } = self.symbols[at as usize];
            let is_stale = pair == NONE || table.ranks[pair as usize] != rank;
            if is_stale {
                continue;
            }
            let after = self.symbols[next as usize].next;
            self.symbols[next as usize].id = NONE;
            self.symbols[next as usize].pair = NONE;
            let merged = &mut self.symbols[at as usize];
            merged.id = pair;
            merged.next = after;
            merged.pair = NONE;
            let previous = merged.previous;
            if after != NONE {
                self.symbols[after as usize].previous = at;
                self.consider(at, table);
            }
            if previous != NONE {
                self.consider(previous, table);
            }
        }
    }

    /// What is left, in the order of the text.
    pub(super) fn remaining(&self) -> impl Iterator<Item = Remaining> {
        self.symbols.iter().filter(|symbol| symbol.id != NONE).map(|symbol| {
            if symbol.id & OUTSIDE == 0 {
                return Remaining::Piece(symbol.id);
            }
            let character = char::from_u32(symbol.id & !OUTSIDE);
            Remaining::Outside(character.expect("made from a character by `MergeTable::symbol`"))
        })
    }

    /// Gives back the memory of an unusually long segment.
    pub(super) fn forget_large(&mut self) {
        if self.symbols.capacity() > MAX_KEPT_SYMBOLS {
            *self = Self::default();
        }
    }

    /// Looks at a symbol that has a next one, and notes what the two would become.
    fn consider(&mut self, at: u32, table: &MergeTable) {
        let Symbol { id, next, .. } = self.symbols[at as usize];
        let pair = table.joined(id, self.symbols[next as usize].id);
        self.symbols[at as usize].pair = pair;
        if pair != NONE {
            self.candidates.push(Reverse((table.ranks[pair as usize], at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_share_a_rank() {
        assert_eq!(ranks(&[0.0, -1.0, -0.0, -3.0, -1.0]), [0, 1, 0, 2, 1]);
        assert_eq!(ranks(&[]), [0; 0]);
    }
}
