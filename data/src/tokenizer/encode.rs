//! Text to ids: exactly SentencePiece's BPE with byte fallback, without its cost.
//!
//! The text is cut where no piece of the vocabulary holds the two neighbouring characters: no merge
//! can cross such a place, so each segment is encoded alone (map-neo.md 2.3). A segment that was met
//! before is looked up, a short one is merged, a long one is a chain of pieces found from the left.
//! Inside, spaces are spaces: U+2581 of pieces and of the text becomes U+0020, which is what the
//! normaliser makes of both, turned around.

mod batch;
mod cache;
mod chain;
mod merge;
mod pair_table;
mod segment;

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use memchr::memmem;

pub use self::batch::Encoded;
use self::cache::Cache;
use self::chain::{Chain, Pieces, Tables};
use self::merge::{Kind, MergeTable, Symbol, Symbols};
pub(super) use self::pair_table::ID_BITS;
use self::segment::Boundaries;
use super::sentence_piece::MARKER;
use super::vocabulary::Vocabulary;

/// Longest segment in bytes that is merged pair by pair: beyond, the scan for the best pair costs
/// more than the search for a chain.
const MAX_MERGED_BYTES: usize = 64;

/// Tables made once from the vocabulary; shared by all threads.
pub(crate) struct Encoder {
    boundaries: Boundaries,
    merges: MergeTable,
    pieces: Pieces,
    byte_ids: [u32; 256],
    add_dummy_prefix: bool,
    /// Working memory of threads that are not encoding now.
    idle: Mutex<Vec<Workspace>>,
}

/// Working memory of one thread: what it has met, and the symbols of the segment at hand.
#[derive(Default)]
struct Workspace {
    cache: Cache,
    symbols: Symbols,
    chain: Chain,
    first_segment: String,
}

impl Encoder {
    /// Makes the tables.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        Self {
            boundaries: Boundaries::new(normal_texts(vocabulary).map(|(_, text)| text)),
            merges: MergeTable::new(vocabulary),
            pieces: Pieces::new(vocabulary),
            byte_ids: vocabulary.byte_ids,
            add_dummy_prefix: vocabulary.add_dummy_prefix,
            idle: Mutex::default(),
        }
    }

    /// Appends the ids of `text`; special-token strings in it are plain text.
    pub(crate) fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        let mut workspace = self.take_workspace();
        self.encode_part(text, true, &mut workspace, ids);
        self.give_back(workspace);
    }

    /// Appends the ids of a text, or of a part of one that begins where it can be cut.
    fn encode_part(
        &self,
        text: &str,
        is_first: bool,
        workspace: &mut Workspace,
        ids: &mut Vec<u32>,
    ) {
        let Some(first) = text.chars().next() else { return };
        let text = spaces_for_markers(text);
        let mut start = 0;
        if is_first && self.add_dummy_prefix {
            let first = if first == MARKER { ' ' } else { first };
            if self.boundaries.is_joined(u32::from(' '), u32::from(first)) {
                start = self.boundaries.segment_end(&text, 0);
            }
            let mut segment = std::mem::take(&mut workspace.first_segment);
            segment.clear();
            segment.push(' ');
            segment.push_str(&text[..start]);
            self.encode_segment(&segment, 0, segment.len(), workspace, ids);
            workspace.first_segment = segment;
        }
        while start < text.len() {
            let end = self.boundaries.segment_end(&text, start);
            self.encode_segment(&text, start, end, workspace, ids);
            start = end;
        }
    }

    /// Appends the ids of the segment `start..end` of a text.
    #[inline]
    fn encode_segment(
        &self,
        text: &str,
        start: usize,
        end: usize,
        workspace: &mut Workspace,
        ids: &mut Vec<u32>,
    ) {
        let key = cache::key(text, start, end);
        if key.is_some_and(|key| workspace.cache.append(key, ids)) {
            return;
        }
        let before = ids.len();
        self.encode_unknown(&text[start..end], workspace, ids);
        if let Some(key) = key {
            workspace.cache.keep(key, &ids[before..]);
        }
    }

    #[cold]
    fn encode_unknown(&self, segment: &str, workspace: &mut Workspace, ids: &mut Vec<u32>) {
        let Workspace { symbols, chain, .. } = workspace;
        if segment.len() <= MAX_MERGED_BYTES {
            symbols.merge(segment, &self.merges);
            self.push_ids(symbols.iter(), ids);
        } else {
            let tables = Tables { pieces: &self.pieces, merges: &self.merges };
            chain.encode(segment, tables, symbols);
            self.push_ids(chain.iter(), ids);
        }
    }

    /// Ids of symbols, with byte pieces for characters outside the vocabulary.
    fn push_ids(&self, symbols: impl Iterator<Item = Symbol>, ids: &mut Vec<u32>) {
        for symbol in symbols {
            match symbol.kind() {
                Kind::Piece(id) => ids.push(id),
                Kind::Outside(character) => {
                    let mut buffer = [0; 4];
                    let bytes = character.encode_utf8(&mut buffer).bytes();
                    ids.extend(bytes.map(|byte| self.byte_ids[usize::from(byte)]));
                }
            }
        }
    }

    fn take_workspace(&self) -> Workspace {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, mut workspace: Workspace) {
        workspace.chain.forget_large();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

/// Ids and texts of the normal pieces, with spaces for U+2581.
fn normal_texts(vocabulary: &Vocabulary) -> impl Iterator<Item = (u32, String)> {
    vocabulary
        .normal_ids()
        .map(|id| (id, spaces_for_markers(&vocabulary.texts[id as usize]).into_owned()))
}

fn spaces_for_markers(text: &str) -> Cow<'_, str> {
    let mut marker = [0; 4];
    let marker = MARKER.encode_utf8(&mut marker).as_bytes();
    match memmem::find(text.as_bytes(), marker) {
        Some(_) => text.replace(MARKER, " ").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sentence_piece::{ModelProto, TrainerSpec};
    use super::*;

    fn vocabulary(merged: &[String], characters: &str) -> Vocabulary {
        let characters: Vec<char> = std::iter::once(MARKER).chain(characters.chars()).collect();
        let merged = merged.iter().cloned();
        let model = ModelProto::in_neo_layout(merged, characters, TrainerSpec::default());
        Vocabulary::from_model(&model).unwrap()
    }

    /// Map-neo.md 2.3 word for word, on strings, one merge per pass.
    fn encode_plainly(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let id_of = |piece: &str| {
            vocabulary.normal_ids().find(|&id| vocabulary.texts[id as usize] == piece)
        };
        let marked = format!(" {text}").replace(' ', &MARKER.to_string());
        let mut symbols: Vec<String> = marked.chars().map(String::from).collect();
        loop {
            let mut best: Option<(f32, usize)> = None;
            for at in 1..symbols.len() {
                if let Some(id) = id_of(&format!("{}{}", symbols[at - 1], symbols[at])) {
                    let score = vocabulary.scores[id as usize];
                    if best.is_none_or(|(highest, _)| score > highest) {
                        best = Some((score, at));
                    }
                }
            }
            let Some((_, at)) = best else { break };
            let right = symbols.remove(at);
            symbols[at - 1].push_str(&right);
        }
        let ids_of = |symbol: String| match id_of(&symbol) {
            Some(id) => vec![id],
            None => symbol.bytes().map(|b| vocabulary.byte_ids[usize::from(b)]).collect(),
        };
        symbols.into_iter().flat_map(ids_of).collect()
    }

    fn check(merged: &[String], text: &str) {
        let mut vocabulary = vocabulary(merged, "abc中");
        check_vocabulary(&vocabulary, text);
        // Pieces of equal score: the leftmost counts.
        vocabulary.scores.iter_mut().for_each(|score| *score = (*score / 3.0).ceil());
        check_vocabulary(&vocabulary, text);
    }

    fn check_vocabulary(vocabulary: &Vocabulary, text: &str) {
        let encoder = Encoder::new(vocabulary);
        let expected = encode_plainly(vocabulary, text);
        let mut ids = Vec::new();
        encoder.encode_into(text, &mut ids);
        assert_eq!(ids, expected, "{text:?}");
        ids.clear();
        encoder.encode_into(text, &mut ids);
        assert_eq!(ids, expected, "cached: {text:?}");
        assert_eq!(encode_as_chain(&encoder, text), expected, "as a chain: {text:?}");
        let in_parts = encoder.encode_in_parts(&["", text, text], None, 3);
        let whole = [&[], &expected[..], &expected];
        assert!(in_parts.texts().eq(whole), "in parts: {text:?}");
        let ended = encoder.encode_in_parts(&[text, ""], Some(7), 3);
        assert_eq!(ended.ids(), [&expected[..], &[7, 7]].concat());
    }

    /// The whole text as one long segment.
    fn encode_as_chain(encoder: &Encoder, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let text = format!(" {}", text.replace(MARKER, " "));
        let tables = Tables { pieces: &encoder.pieces, merges: &encoder.merges };
        let (mut chain, mut ids) = (Chain::default(), Vec::new());
        chain.encode(&text, tables, &mut Symbols::default());
        encoder.push_ids(chain.iter(), &mut ids);
        ids
    }

    fn owned(merged: &[&str]) -> Vec<String> {
        merged.iter().map(|text| text.replace('_', &MARKER.to_string())).collect()
    }

    #[test]
    fn merges_by_score_then_leftmost() {
        check(&owned(&["ab", "_a", "_ab"]), "ab abab b");
        check(&owned(&["aa", "aaa", "aaaa"]), "aaaaaaa");
        check(&owned(&["bc", "ab", "abc"]), "abc");
        check(&owned(&["a_b", "_b"]), "a b");
        check(&owned(&["__", "_a"]), "   a  a ");
        check(&owned(&["中a"]), "é中a\n\t\u{0}<0x41></s>\u{2581}中");
    }

    #[test]
    fn a_piece_that_merging_never_reaches_stays_unused() {
        // `bc` wins before `ab` can be made, so `abc` is out of reach from `a b c`.
        check(&owned(&["bc", "ab", "abc", "_a"]), "abc");
    }

    #[test]
    fn a_long_segment_is_the_sum_of_its_chain() {
        let vocabulary = vocabulary(&owned(&["aa", "aaaa"]), "a");
        let encoder = Encoder::new(&vocabulary);
        let mut ids = Vec::new();
        encoder.encode_into(&"a".repeat(1_000_001), &mut ids);
        assert_eq!(ids.len(), 250_002);
        assert_eq!(ids[1..4], [260; 3]);
        assert_eq!(ids.last(), Some(&262));
    }

    proptest! {
        #[test]
        fn equals_the_plain_algorithm(
            merged in proptest::collection::btree_set("_?[abc中]{1,4}|[abc]_[ab]|__", 0..12),
            text in "[abc中é \u{2581}\n]{0,24}|[abc中]{20,90}",
        ) {
            let several = |text: &String| text.chars().count() > 1;
            let mut merged: Vec<&str> =
                merged.iter().filter(|text| several(text)).map(String::as_str).collect();
            // Any order of scores, but the same for the same case.
            merged.sort_by_key(|text| text.bytes().rev().collect::<Vec<u8>>());
            check(&owned(&merged), &text);
        }
    }
}
