//! Text to ids: exactly SentencePiece's BPE with byte fallback, without its cost.
//!
//! The text is cut where no piece of the vocabulary holds the two neighbouring characters: no merge
//! can cross such a place, so each segment is encoded alone (map-neo.md 2.3) and known segments are
//! looked up. Inside, spaces are spaces: U+2581 of pieces and of the text becomes U+0020, which is
//! what the normaliser makes of both, turned around.

mod merge;
mod segment;

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

use self::merge::{MergeTable, Remaining, Symbols};
use self::segment::Boundaries;
use super::sentence_piece::MARKER;
use super::vocabulary::Vocabulary;

/// Longest segment in bytes that is looked up before it is merged.
const MAX_CACHED_BYTES: usize = 64;
/// Segments that a cache holds before it starts afresh.
const MAX_CACHED_SEGMENTS: usize = 1 << 16;

/// Tables made once from the vocabulary; shared by all threads.
pub(crate) struct Encoder {
    boundaries: Boundaries,
    merges: MergeTable,
    /// Segments that are one piece, when merging really arrives at that piece.
    whole: FxHashMap<Box<str>, u32>,
    byte_ids: [u32; 256],
    add_dummy_prefix: bool,
    /// Working memory of threads that are not encoding now.
    idle: Mutex<Vec<Workspace>>,
}

/// Working memory of one thread: what it has met, and the symbols of the segment at hand.
#[derive(Default)]
struct Workspace {
    /// Range in `cached_ids` by segment.
    cache: FxHashMap<Box<str>, (u32, u32)>,
    cached_ids: Vec<u32>,
    symbols: Symbols,
    first_segment: String,
}

impl Encoder {
    /// Makes the tables.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut encoder = Self {
            boundaries: Boundaries::new(normal_texts(vocabulary).map(|(_, text)| text)),
            merges: MergeTable::new(vocabulary),
            whole: FxHashMap::default(),
            byte_ids: vocabulary.byte_ids,
            add_dummy_prefix: vocabulary.add_dummy_prefix,
            idle: Mutex::default(),
        };
        let mut symbols = Symbols::default();
        let mut ids = Vec::new();
        for (id, text) in normal_texts(vocabulary) {
            ids.clear();
            encoder.merge_segment(&text, &mut symbols, &mut ids);
            if ids == [id] {
                encoder.whole.insert(text.into(), id);
            }
        }
        encoder
    }

    /// Appends the ids of `text`; special-token strings in it are plain text.
    pub(crate) fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let text = spaces_for_markers(text);
        let mut workspace = self.take_workspace();
        let mut rest = &*text;
        if self.add_dummy_prefix {
            let mut first = std::mem::take(&mut workspace.first_segment);
            first.clear();
            first.push(' ');
            if self.boundaries.is_joined(' ', rest.chars().next().unwrap_or(' ')) {
                let cut = self.boundaries.first_cut(rest);
                first.push_str(&rest[..cut]);
                rest = &rest[cut..];
            }
            self.encode_segment(&first, &mut workspace, ids);
            workspace.first_segment = first;
        }
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(self.boundaries.first_cut(rest));
            self.encode_segment(segment, &mut workspace, ids);
            rest = after;
        }
        self.give_back(workspace);
    }

    fn encode_segment(&self, segment: &str, workspace: &mut Workspace, ids: &mut Vec<u32>) {
        if segment.len() > MAX_CACHED_BYTES {
            return self.merge_segment(segment, &mut workspace.symbols, ids);
        }
        if let Some(&id) = self.whole.get(segment) {
            return ids.push(id);
        }
        if let Some(&(start, end)) = workspace.cache.get(segment) {
            return ids.extend_from_slice(&workspace.cached_ids[start as usize..end as usize]);
        }
        let before = ids.len();
        self.merge_segment(segment, &mut workspace.symbols, ids);
        workspace.remember(segment, &ids[before..]);
    }

    /// The algorithm itself, with byte pieces for characters outside the vocabulary.
    fn merge_segment(&self, segment: &str, symbols: &mut Symbols, ids: &mut Vec<u32>) {
        symbols.start(segment, &self.merges);
        symbols.merge(&self.merges);
        for symbol in symbols.remaining() {
            match symbol {
                Remaining::Piece(id) => ids.push(id),
                Remaining::Outside(character) => {
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
        workspace.symbols.forget_large();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

impl Workspace {
    fn remember(&mut self, segment: &str, ids: &[u32]) {
        if self.cache.len() >= MAX_CACHED_SEGMENTS {
            self.cache.clear();
            self.cached_ids.clear();
        }
        let start = self.cached_ids.len() as u32;
        self.cached_ids.extend_from_slice(ids);
        self.cache.insert(segment.into(), (start, self.cached_ids.len() as u32));
    }
}

/// Ids and texts of the normal pieces, with spaces for U+2581.
fn normal_texts(vocabulary: &Vocabulary) -> impl Iterator<Item = (u32, String)> {
    vocabulary
        .normal_ids()
        .map(|id| (id, spaces_for_markers(&vocabulary.texts[id as usize]).into_owned()))
}

fn spaces_for_markers(text: &str) -> Cow<'_, str> {
    if text.contains(MARKER) { text.replace(MARKER, " ").into() } else { text.into() }
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
        let vocabulary = vocabulary(merged, "abc中");
        let encoder = Encoder::new(&vocabulary);
        let mut ids = Vec::new();
        encoder.encode_into(text, &mut ids);
        assert_eq!(ids, encode_plainly(&vocabulary, text), "{text:?} with {merged:?}");
        ids.clear();
        encoder.encode_into(text, &mut ids);
        assert_eq!(ids, encode_plainly(&vocabulary, text), "cached: {text:?}");
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
    fn long_input_without_a_cut_is_merged() {
        let vocabulary = vocabulary(&owned(&["aa", "aaaa"]), "a");
        let encoder = Encoder::new(&vocabulary);
        let mut ids = Vec::new();
        encoder.encode_into(&"a".repeat(1_000_001), &mut ids);
        assert_eq!(ids.len(), 250_002);
    }

    proptest! {
        #[test]
        fn equals_the_plain_algorithm(
            merged in proptest::collection::btree_set("_?[abc中]{1,4}|[abc]_[ab]|__", 0..12),
            text in "[abc中é \u{2581}\n]{0,24}",
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
