//! Training a vocabulary: SentencePiece's BPE trainer with MAP-Neo's settings (map-neo.md 2.1).
//!
//! Texts are cut into lines and words; the pair of neighbouring symbols that is most frequent
//! becomes the next piece, until the vocabulary is full. Nothing depends on hash order or threads:
//! equal counts go to the shorter piece, then to the smaller one in byte order, as in SentencePiece.

mod pairs;
mod places;
mod queue;
mod script;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use self::pairs::PairMerger;
use self::words::WordCounts;
use super::sentence_piece::{MARKER, ModelProto, TrainerSpec};
use crate::{Error, Result};

/// Highest weight of a source, so that counts stay far from 64 bits.
const MAX_WEIGHT: f64 = 1e6;

/// The three specials and the 256 bytes before the first piece of text.
const N_META_PIECES: usize = 259;

/// What a trained vocabulary shall be. [`TrainerSettings::neo`] has MAP-Neo's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSettings {
    /// Number of pieces: specials and bytes (259), merged pieces and single characters. The five
    /// specials added behind them are not counted.
    pub n_pieces: usize,
    /// Share of the corpus's characters that get a piece of their own, the most frequent first;
    /// the others are written as bytes.
    pub character_coverage: f64,
    /// Longest piece in characters.
    pub max_piece_chars: usize,
    /// How often the texts of a source count, by its name: 0.5 is every other line, drawn by lot, 2
    /// every line twice. A source that is not named counts once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// What lots are drawn with.
    #[serde(default)]
    pub seed: u64,
    /// Memory for the words of the sample in MiB, about; a sample that needs more is halved until it
    /// fits.
    #[serde(default = "default_memory_mib")]
    pub memory_mib: usize,
}

fn default_memory_mib() -> usize {
    4096
}

impl TrainerSettings {
    /// MAP-Neo's settings for a vocabulary of `n_pieces`.
    pub fn neo(n_pieces: usize) -> Self {
        Self {
            n_pieces,
            character_coverage: 0.9999,
            max_piece_chars: 16,
            weights: BTreeMap::new(),
            seed: 0,
            memory_mib: default_memory_mib(),
        }
    }

    fn validate(&self) -> Result<()> {
        if !(self.character_coverage > 0.0 && self.character_coverage <= 1.0) {
            let found = self.character_coverage;
            return Err(Error::Setting(format!(
                "character coverage is `{found}`, expected more than 0 and at most 1"
            )));
        }
        if self.max_piece_chars == 0 {
            return Err(Error::Setting("longest piece is `0` characters, expected 1".to_owned()));
        }
        let is_wrong = |weight: f64| !(0.0..=MAX_WEIGHT).contains(&weight);
        if let Some((name, weight)) = self.weights.iter().find(|(_, weight)| is_wrong(**weight)) {
            return Err(Error::Setting(format!(
                "weight of source `{name}` is `{weight}`, expected 0 to {MAX_WEIGHT}"
            )));
        }
        Ok(())
    }
}

/// Trains a model on pairs of a source's name and a text. `on_piece` is told how many of the merged
/// pieces are found, and how many there will be.
///
/// # Errors
/// No text at all, a weight of a source that no text has, or a vocabulary that is too small for the
/// characters or too large for the texts.
pub(super) fn train<S: AsRef<str>, T: AsRef<str>>(
    texts: impl IntoIterator<Item = (S, T)>,
    settings: &TrainerSettings,
    on_piece: &mut dyn FnMut(usize, usize),
) -> Result<ModelProto> {
    settings.validate()?;
    let words = count_words(texts, settings)?;
    let characters = covered_characters(&words, settings.character_coverage)?;
    let n_fixed = N_META_PIECES + characters.len();
    let Some(n_merged) = settings.n_pieces.checked_sub(n_fixed) else {
        return Err(Error::Setting(format!(
            "vocabulary of `{}` pieces is too small, expected at least `{n_fixed}`: \
             `{N_META_PIECES}` specials and bytes and `{}` characters",
            settings.n_pieces,
            characters.len()
        )));
    };
    let mut merger = PairMerger::new(words, &characters, settings.max_piece_chars)?;
    let mut merged = Vec::new();
    while merged.len() < n_merged {
        let Some(piece) = merger.next_piece() else {
            return Err(Error::Setting(format!(
                "vocabulary of `{}` pieces is larger than the corpus allows, expected at most `{}`",
                settings.n_pieces,
                n_fixed + merged.len()
            )));
        };
        merged.push(piece);
        on_piece(merged.len(), n_merged);
    }
    let trainer_spec = TrainerSpec {
        character_coverage: Some(settings.character_coverage as f32),
        split_digits: Some(true),
        max_sentencepiece_length: i32::try_from(settings.max_piece_chars).ok(),
        ..TrainerSpec::default()
    };
    Ok(ModelProto::in_neo_layout(merged, characters, trainer_spec))
}

/// Every word of the sample with its count, in byte order.
fn count_words<S: AsRef<str>, T: AsRef<str>>(
    texts: impl IntoIterator<Item = (S, T)>,
    settings: &TrainerSettings,
) -> Result<Vec<(Box<str>, u64)>> {
    let max_bytes = settings.memory_mib.saturating_mul(1 << 20);
    let mut words = WordCounts::new(&settings.weights, max_bytes, settings.seed);
    let mut unseen: BTreeSet<&str> = settings.weights.keys().map(String::as_str).collect();
    let mut n_texts = 0_u64;
    for (source, text) in texts {
        unseen.remove(source.as_ref());
        words.add(source.as_ref(), text.as_ref());
        n_texts += 1;
    }
    match unseen.first() {
        Some(name) if n_texts > 0 => Err(Error::Setting(format!(
            "weight of source `{name}` is for no text, expected the name of a source"
        ))),
        _ => Ok(words.finish()),
    }
}

/// The most frequent characters, until `coverage` of the text is reached; NUL and tab stay bytes.
fn covered_characters(words: &[(Box<str>, u64)], coverage: f64) -> Result<Vec<char>> {
    let mut counts: FxHashMap<char, u64> = FxHashMap::default();
    for (word, count) in words {
        for character in word.chars().filter(|&character| character != '\0') {
            *counts.entry(character).or_default() += count;
        }
    }
    let total: u64 = counts.values().sum();
    if total == 0 {
        return Err(Error::Setting("corpus for the tokenizer is empty, expected text".to_owned()));
    }
    let mut by_count: Vec<(char, u64)> = counts.into_iter().collect();
    by_count.sort_unstable_by_key(|&(character, count)| (Reverse(count), character));
    let mut n_covered = 0;
    let mut characters = Vec::new();
    for (character, count) in by_count {
        if n_covered as f64 / total as f64 >= coverage {
            break;
        }
        n_covered += count;
        if character != '\t' {
            characters.push(character);
        }
    }
    // Every text starts with it, however rare it is in a corpus of long lines.
    if !characters.contains(&MARKER) {
        characters.push(MARKER);
    }
    Ok(characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train_on(text: &str, n_pieces: usize) -> Result<Vec<String>> {
        let settings = TrainerSettings {
            character_coverage: 1.0,
            max_piece_chars: 4,
            ..TrainerSettings::neo(n_pieces)
        };
        let model = train([("", text)], &settings, &mut |_, _| ())?;
        let pieces = model.pieces.iter().skip(N_META_PIECES);
        Ok(pieces.map(|piece| piece.piece().replace(MARKER, "_")).collect())
    }

    fn check(text: &str, n_pieces: usize, expected: &[&str]) {
        assert_eq!(train_on(text, n_pieces).unwrap(), expected, "{text:?}");
    }

    fn check_error(text: &str, n_pieces: usize, expected: &str) {
        let error = train_on(text, n_pieces).unwrap_err();
        assert!(error.is_input());
        assert!(error.to_string().contains(expected), "expected `{expected}` in `{error}`");
    }

    #[test]
    fn pieces_come_in_merge_order_then_characters_by_count() {
        check("ab ab ab b", 264, &["ab", "_ab", "b", "_", "a"]);
        check("aaaa aaaa", 262, &["aa", "a", "_"]);
    }

    #[test]
    fn the_marker_is_covered_however_rare() {
        let settings = TrainerSettings { character_coverage: 0.5, ..TrainerSettings::neo(262) };
        let model = train([("", "aaaaaaaab")], &settings, &mut |_, _| ()).unwrap();
        let texts: Vec<&str> = model.pieces[N_META_PIECES..].iter().map(|p| p.piece()).collect();
        assert_eq!(texts, ["aa", "a", "\u{2581}"]);
    }

    #[test]
    fn bad_sizes_and_empty_corpora_are_errors() {
        check_error("", 300, "empty");
        check_error("\n\n", 300, "empty");
        check_error("abc", 260, "at least `263`");
        check_error("abc", 9000, "at most `266`");
    }

    #[test]
    fn weights_must_make_sense() {
        let train = |weight: (&str, f64)| {
            let weights = [(weight.0.to_owned(), weight.1)].into();
            let settings = TrainerSettings { weights, ..TrainerSettings::neo(264) };
            train([("en", "ab ab")], &settings, &mut |_, _| ()).map(|model| model.pieces.len())
        };
        assert_eq!(train(("en", 0.0)).unwrap_err().to_string().matches("empty").count(), 1);
        assert_eq!(train(("en", 3.0)).unwrap(), 264);
        for (weight, expected) in [
            (("en", -1.0), "`-1`"),
            (("en", f64::NAN), "`NaN`"),
            (("zh", 1.0), "`zh` is for no text"),
        ] {
            let error = train(weight).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
