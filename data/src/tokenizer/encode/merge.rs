//! Merging, the definition of an encoding: of all neighbours that make a piece, the pair whose piece
//! has the highest score is joined first, the leftmost of equals, until no neighbours make one.
//!
//! The scan for the best pair makes this quadratic, which is the fastest for the few symbols of a
//! word; `chain.rs` encodes what is longer.

use rustc_hash::FxHashMap;

use super::super::vocabulary::{Vocabulary, single_character};
use super::normal_texts;
use super::pair_table::PairTable;

/// Set in a symbol that is a character outside the vocabulary; the rest is its code.
const OUTSIDE: u32 = 1 << 31;
/// In place of a rank: the pair makes no piece.
const APART: u32 = u32::MAX;
/// Characters that are looked up without hashing: the basic multilingual plane.
const N_DIRECT: usize = 1 << 16;

/// A piece by its id, or a character that is in no piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol(u32);

/// What a symbol is.
pub(super) enum Kind {
    /// The id of a piece.
    Piece(u32),
    /// A character that is in no piece.
    Outside(char),
}

impl Symbol {
    /// The symbol of a piece.
    pub(super) fn piece(id: u32) -> Self {
        Self(id)
    }

    /// Which of the two it is.
    pub(super) fn kind(self) -> Kind {
        if self.0 & OUTSIDE == 0 {
            return Kind::Piece(self.0);
        }
        let character = char::from_u32(self.0 & !OUTSIDE);
        Kind::Outside(character.expect("made from a character by `MergeTable::symbol`"))
    }
}

/// Which two symbols make which piece, and how early.
pub(super) struct MergeTable {
    /// Symbols of the characters below `N_DIRECT`.
    direct: Vec<Symbol>,
    others: FxHashMap<char, u32>,
    pairs: PairTable,
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
        let mut pairs = Vec::new();
        for (id, text) in &pieces {
            for (at, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(at);
                if let (Some(&left), Some(&right)) = (by_text.get(left), by_text.get(right)) {
                    pairs.push(((left, right), *id));
                }
            }
        }
        let mut table = Self {
            direct: (0..N_DIRECT as u32).map(|code| Symbol(OUTSIDE | code)).collect(),
            others: FxHashMap::default(),
            pairs: PairTable::new(&pairs),
            ranks: ranks(&vocabulary.scores),
        };
        for (id, text) in &pieces {
            let Some(character) = single_character(text) else { continue };
            match table.direct.get_mut(character as usize) {
                Some(symbol) => *symbol = Symbol(*id),
                None => drop(table.others.insert(character, *id)),
            }
        }
        table
    }

    /// The symbol that a character is before anything is merged.
    pub(super) fn symbol(&self, character: char) -> Symbol {
        match self.direct.get(character as usize) {
            Some(&symbol) => symbol,
            None => {
                let id = self.others.get(&character).copied();
                Symbol(id.unwrap_or(OUTSIDE | character as u32))
            }
        }
    }

    /// What two symbols make, and its rank.
    fn joined(&self, left: Symbol, right: Symbol) -> (Symbol, u32) {
        if (left.0 | right.0) & OUTSIDE != 0 {
            return (left, APART);
        }
        match self.pairs.get(left.0, right.0) {
            Some(id) => (Symbol(id), self.ranks[id as usize]),
            None => (left, APART),
        }
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

/// Symbols in the order of the text; the memory is kept from one use to the next.
#[derive(Default)]
pub(super) struct Symbols(Vec<Neighbour>);

/// A symbol, and what it and the next would become.
struct Neighbour {
    symbol: Symbol,
    joined: Symbol,
    /// Of `joined`; `APART` if there is no such piece or no next symbol.
    rank: u32,
}

impl Symbols {
    /// Merges the characters of a text.
    pub(super) fn merge(&mut self, text: &str, table: &MergeTable) {
        self.0.clear();
        for character in text.chars() {
            let symbol = table.symbol(character);
            if let Some(last) = self.0.last_mut() {
                (last.joined, last.rank) = table.joined(last.symbol, symbol);
            }
            self.0.push(Neighbour { symbol, joined: symbol, rank: APART });
        }
        while let Some(best) = self.best() {
            self.0[best].symbol = self.0[best].joined;
            self.0.remove(best + 1);
            self.look_at(best, table);
            if best > 0 {
                self.look_at(best - 1, table);
            }
        }
    }

    /// What is left, in the order of the text.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Symbol> {
        self.0.iter().map(|neighbour| neighbour.symbol)
    }

    /// The leftmost of the pairs with the lowest rank.
    fn best(&self) -> Option<usize> {
        let (mut best, mut lowest) = (None, APART);
        for (at, neighbour) in self.0.iter().enumerate() {
            if neighbour.rank < lowest {
                (best, lowest) = (Some(at), neighbour.rank);
            }
        }
        best
    }

    fn look_at(&mut self, at: usize, table: &MergeTable) {
        let symbol = self.0[at].symbol;
        let (joined, rank) = match self.0.get(at + 1) {
            Some(next) => table.joined(symbol, next.symbol),
            None => (symbol, APART),
        };
        (self.0[at].joined, self.0[at].rank) = (joined, rank);
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
