//! Long segments in linear time, without a queue of merges.
//!
//! The encoding of a text is the only chain of pieces in which any two neighbours, merged alone, stay
//! as they are. It is such a chain: merges on one side of a border that is never crossed do not
//! depend on the other side, so two neighbours alone go through the same merges. And there is no
//! other: the first merge that crossed one of its borders would have been made, at that moment, among
//! the two neighbours alone.
//!
//! So the chain grows from left to right. The next few words' worth of text, merged alone, are a good
//! guess: their symbols are neighbours that stay apart, so that only the first must be looked at. Where
//! it does not fit, pieces are tried, longest first. A place that no piece leads on from is no border
//! of the encoding; it is left for good, since only one chain leads there. Each place is thus entered
//! once, and costs a merge of bounded length and as many tries as pieces start there.

use rustc_hash::FxHashMap;

use super::super::vocabulary::Vocabulary;
use super::merge::{Kind, MergeTable, Symbol, Symbols};
use super::normal_texts;

/// Pairs of pieces that are remembered before the memory starts afresh.
const MAX_REMEMBERED_PAIRS: usize = 1 << 16;
/// Bytes that are merged to guess how the chain goes on; few in tests, for guesses that are wrong.
const AHEAD_BYTES: usize = if cfg!(test) { 6 } else { 48 };
/// Of these, the bytes at the end that are no good guess, since the text behind them is not seen.
const UNSURE_BYTES: usize = if cfg!(test) { 2 } else { 12 };
/// Places for which memory is kept from segment to segment.
const MAX_KEPT_PLACES: usize = 1 << 16;

/// Node before the first character of a piece.
const ROOT: u32 = 0;
/// No piece ends here.
const NONE: u32 = u32::MAX;

/// All pieces as a tree of characters, and the texts of the pieces.
pub(super) struct Pieces {
    children: FxHashMap<(u32, char), u32>,
    /// By node: the piece that ends there.
    ends: Vec<u32>,
    /// By id: the longest shorter piece that it starts with.
    shorter: Vec<u32>,
    /// By id, with spaces for U+2581; empty unless the piece is normal.
    texts: Vec<Box<str>>,
}

impl Pieces {
    /// Takes the normal pieces.
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut pieces = Self {
            children: FxHashMap::default(),
            ends: vec![NONE],
            shorter: vec![NONE; vocabulary.len()],
            texts: vec![Box::default(); vocabulary.len()],
        };
        for (id, text) in normal_texts(vocabulary) {
            let mut node = ROOT;
            for character in text.chars() {
                let new = pieces.ends.len() as u32;
                node = *pieces.children.entry((node, character)).or_insert(new);
                if node == new {
                    pieces.ends.push(NONE);
                }
            }
            pieces.ends[node as usize] = id;
            pieces.texts[id as usize] = text.into();
        }
        for id in vocabulary.normal_ids() {
            let text = &pieces.texts[id as usize];
            let (shorter, _) = text.char_indices().next_back().unwrap_or_default();
            pieces.shorter[id as usize] = pieces.longest(&text[..shorter]).unwrap_or(NONE);
        }
        pieces
    }

    /// The longest piece that a text starts with.
    fn longest(&self, text: &str) -> Option<u32> {
        let (mut node, mut longest) = (ROOT, NONE);
        for character in text.chars() {
            let Some(&child) = self.children.get(&(node, character)) else { break };
            node = child;
            if self.ends[node as usize] != NONE {
                longest = self.ends[node as usize];
            }
        }
        (longest != NONE).then_some(longest)
    }
}

/// A chain as it grows, and what is known of pairs; the memory is kept from one use to the next.
#[derive(Default)]
pub(super) struct Chain {
    links: Vec<Link>,
    /// By byte of the text, in bits: no border of the encoding.
    is_dead: Vec<u64>,
    /// Whether two pieces, the first perhaps none, stay as they are when merged alone.
    are_apart: FxHashMap<(u32, u32), bool>,
    text: String,
    /// A guess of the next symbols.
    ahead: Vec<Symbol>,
}

/// A symbol of the chain and where it ends.
#[derive(Clone, Copy)]
struct Link {
    symbol: Symbol,
    end: usize,
}

/// The tables that pieces and pairs are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Tables<'t> {
    pub(super) pieces: &'t Pieces,
    pub(super) merges: &'t MergeTable,
}

impl Chain {
    /// Finds the encoding of a text; `symbols` is working memory.
    pub(super) fn encode(&mut self, text: &str, tables: Tables<'_>, symbols: &mut Symbols) {
        self.links.clear();
        self.is_dead.clear();
        self.is_dead.resize(text.len() / 64 + 1, 0);
        let mut start = self.run_ahead(text, 0, tables, symbols);
        let mut candidate = first_candidate(text, start, tables);
        while start < text.len() {
            match candidate {
                Some(link) if self.fits(link, tables, symbols) => {
                    self.links.push(link);
                    start = self.run_ahead(text, link.end, tables, symbols);
                    candidate = first_candidate(text, start, tables);
                }
                Some(link) => candidate = shorter(link, tables),
                None => {
                    self.is_dead[start / 64] |= 1 << (start % 64);
                    self.links.pop().expect("every text has an encoding");
                    start = self.links.last().map_or(0, |link| link.end);
                    // A guess need not have been the longest piece; what was tried here is dead.
                    candidate = first_candidate(text, start, tables);
                }
            }
        }
    }

    /// Adds links as long as guesses fit, and gives where they end.
    fn run_ahead(
        &mut self,
        text: &str,
        mut start: usize,
        tables: Tables<'_>,
        symbols: &mut Symbols,
    ) -> usize {
        loop {
            let sure_end = self.guess(text, start, tables, symbols);
            let before = self.links.len();
            for idx in 0..self.ahead.len() {
                let symbol = self.ahead[idx];
                let link = Link { symbol, end: start + n_bytes(symbol, tables) };
                let fits = match idx {
                    0 => self.fits(link, tables, symbols),
                    _ => link.end <= sure_end && !self.is_dead(link.end),
                };
                if !fits {
                    break;
                }
                self.links.push(link);
                start = link.end;
            }
            if self.links.len() == before {
                return start;
            }
        }
    }

    /// Merges the next bytes into `ahead`, and gives up to where that is a good guess.
    fn guess(
        &mut self,
        text: &str,
        start: usize,
        tables: Tables<'_>,
        symbols: &mut Symbols,
    ) -> usize {
        let end = text.floor_char_boundary(start + AHEAD_BYTES);
        symbols.merge(&text[start..end], tables.merges);
        self.ahead.clear();
        self.ahead.extend(symbols.iter());
        if end == text.len() { end } else { end - UNSURE_BYTES }
    }

    /// What was found, in the order of the text.
    pub(super) fn iter(&self) -> impl Iterator<Item = Symbol> {
        self.links.iter().map(|link| link.symbol)
    }

    /// Gives back the memory of an unusually long segment.
    pub(super) fn forget_large(&mut self) {
        if self.links.capacity() > MAX_KEPT_PLACES {
            *self = Self::default();
        }
    }

    /// Whether the chain can go on with a link.
    fn fits(&mut self, link: Link, tables: Tables<'_>, symbols: &mut Symbols) -> bool {
        if self.is_dead(link.end) {
            return false;
        }
        let Kind::Piece(right) = link.symbol.kind() else { return true };
        let left = match self.links.last().map(|last| last.symbol.kind()) {
            Some(Kind::Piece(left)) => left,
            Some(Kind::Outside(_)) | None => NONE,
        };
        if let Some(&known) = self.are_apart.get(&(left, right)) {
            return known;
        }
        let fits = self.stay_apart(left, right, tables, symbols);
        if self.are_apart.len() >= MAX_REMEMBERED_PAIRS {
            self.are_apart.clear();
        }
        self.are_apart.insert((left, right), fits);
        fits
    }

    fn is_dead(&self, place: usize) -> bool {
        self.is_dead[place / 64] >> (place % 64) & 1 == 1
    }

    /// Merges the texts of two pieces, or of the right one alone.
    fn stay_apart(
        &mut self,
        left: u32,
        right: u32,
        tables: Tables<'_>,
        symbols: &mut Symbols,
    ) -> bool {
        let pair = [left, right];
        let pair = if left == NONE { &pair[1..] } else { &pair };
        self.text.clear();
        for &id in pair {
            self.text.push_str(&tables.pieces.texts[id as usize]);
        }
        symbols.merge(&self.text, tables.merges);
        symbols.iter().eq(pair.iter().map(|&id| Symbol::piece(id)))
    }
}

/// The longest piece that starts at a place of a text, or the character there if it is in no piece.
fn first_candidate(text: &str, start: usize, tables: Tables<'_>) -> Option<Link> {
    let rest = &text[start..];
    let symbol = match tables.pieces.longest(rest) {
        Some(id) => Symbol::piece(id),
        None => tables.merges.symbol(rest.chars().next()?),
    };
    Some(Link { symbol, end: start + n_bytes(symbol, tables) })
}

/// The next shorter piece with the same start.
fn shorter(link: Link, tables: Tables<'_>) -> Option<Link> {
    let Kind::Piece(id) = link.symbol.kind() else { return None };
    let shorter = tables.pieces.shorter[id as usize];
    let start = link.end - n_bytes(link.symbol, tables);
    let symbol = Symbol::piece(shorter);
    (shorter != NONE).then(|| Link { symbol, end: start + n_bytes(symbol, tables) })
}

fn n_bytes(symbol: Symbol, tables: Tables<'_>) -> usize {
    match symbol.kind() {
        Kind::Piece(id) => tables.pieces.texts[id as usize].len(),
        Kind::Outside(character) => character.len_utf8(),
    }
}
