//! Text to ids and back: the byte-fallback BPE family of MAP-Neo (map-neo.md 2).
//!
//! A tokenizer is read from a SentencePiece `.model` or a `tokenizer.json`, or trained; each way
//! ends in the same `ModelProto`, is checked once by `Vocabulary`, and gives the same ids.

mod compression;
mod decode;
mod encode;
mod hugging_face;
mod sentence_piece;
mod train;
mod vocabulary;

use std::fmt;
use std::path::{Path, PathBuf};

pub use self::compression::Compression;
use self::decode::Decoder;
pub use self::decode::TextStream;
pub use self::encode::Encoded;
use self::encode::Encoder;
use self::sentence_piece::{ModelProto, PieceKind};
pub use self::train::TrainerSettings;
use self::vocabulary::Vocabulary;
use crate::{Error, Result};

/// Specials added after the vocabulary, in id order, as Hugging Face folders spell them.
pub const ADDED_SPECIALS: [&str; 5] = ["<|CLS|>", "<|SEP|>", "<|EOD|>", "<|MASK|>", "<|PAD|>"];
/// Position of EOD in [`ADDED_SPECIALS`].
const EOD_IDX: usize = 2;
/// How Megatron spells the added specials in a text.
const MEGATRON_SPECIALS: [&str; 5] = ["<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>"];

/// Name of the SentencePiece file in a folder.
const MODEL_NAME: &str = "tokenizer.model";
/// Name of the Hugging Face file in a folder.
const JSON_NAME: &str = "tokenizer.json";

/// A vocabulary with its encoder and decoder. Any number of threads can share one.
pub struct Tokenizer {
    model: ModelProto,
    vocabulary: Vocabulary,
    encoder: Encoder,
    decoder: Decoder,
    /// Texts and ids of the special tokens that Hugging Face folders declare.
    specials: Vec<(String, u32)>,
}

impl Tokenizer {
    /// Reads a SentencePiece `.model`, a `tokenizer.json`, or a folder that holds one of them (the
    /// `tokenizer.model` if it holds both).
    ///
    /// # Errors
    /// The path leads nowhere, or what is there is broken or of an unsupported kind.
    pub fn from_path(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { &file_of_folder(path)? } else { path };
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let model = if is_json { hugging_face::read(path)? } else { ModelProto::read(path)? };
        Self::from_model(model)
            .map_err(|problem| Error::Malformed { path: path.to_owned(), problem })
    }

    /// Writes `tokenizer.model`, `tokenizer.json`, `tokenizer_config.json` and
    /// `special_tokens_map.json` into a folder, which is made if need be. A `.model` that was read
    /// is written byte for byte.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        self.model.write(&folder.join(MODEL_NAME))?;
        hugging_face::write(&self.vocabulary, folder)
    }

    /// Trains a byte-fallback BPE vocabulary in the id layout of MAP-Neo, on pairs of a source's name
    /// and a text. `on_piece` is told how many of the merged pieces are found, and how many there
    /// will be. Texts in the same order give the same vocabulary on any machine.
    ///
    /// # Errors
    /// No text at all, a weight of a source that no text has, or a vocabulary that is too small for
    /// the characters or too large for the texts.
    pub fn train<S: AsRef<str>, T: AsRef<str>>(
        texts: impl IntoIterator<Item = (S, T)>,
        settings: &TrainerSettings,
        on_piece: &mut dyn FnMut(usize, usize),
    ) -> Result<Self> {
        let unusable = |problem| Error::Setting(format!("trained vocabulary {problem}"));
        Self::from_model(train::train(texts, settings, on_piece)?).map_err(unusable)
    }

    fn from_model(model: ModelProto) -> std::result::Result<Self, String> {
        let vocabulary = Vocabulary::from_model(&model)?;
        let encoder = Encoder::new(&vocabulary);
        let decoder = Decoder::new(&vocabulary, ADDED_SPECIALS.len());
        let specials = hugging_face::special_tokens(&vocabulary).into_iter();
        let specials = specials.map(|(id, text)| (text.to_owned(), id as u32)).collect();
        Ok(Self { model, vocabulary, encoder, decoder, specials })
    }

    /// The ids of a text, without bos and eos. Special-token strings in it are plain text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the ids of a text, as [`encode`](Self::encode).
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        self.encoder.encode_into(text, ids);
    }

    /// The ids of many texts, each as [`encode`](Self::encode), on the threads of rayon's current pool; long texts are
    /// worked on in parts. The id `end`, if there is one, follows every text.
    pub fn encode_all(&self, texts: &[&str], end: Option<u32>) -> Encoded {
        self.encoder.encode_all(texts, end)
    }

    /// The ids of a text whose special-token strings are special tokens, as Megatron's wrapper
    /// reads them (map-neo.md 2.4): the parts between them are encoded apart, each with its own
    /// dummy prefix.
    pub fn encode_megatron(&self, text: &str) -> Vec<u32> {
        self.encode_around(text, &self.megatron_specials())
    }

    /// The ids of a text whose special-token strings are special tokens, as `transformers` reads
    /// them: prompts made by a chat template need it.
    pub fn encode_with_specials(&self, text: &str) -> Vec<u32> {
        let specials = self.specials.iter().map(|(text, id)| (text.as_str(), *id));
        self.encode_around(text, &specials.collect::<Vec<_>>())
    }

    /// Encodes the parts between special strings apart; the longest of them wins where several stand.
    fn encode_around(&self, text: &str, specials: &[(&str, u32)]) -> Vec<u32> {
        let special_at = |rest: &str| {
            let standing = specials.iter().filter(|(name, _)| rest.starts_with(name));
            standing.max_by_key(|(name, _)| name.len()).copied()
        };
        let mut starts: Vec<char> = specials.iter().filter_map(|(s, _)| s.chars().next()).collect();
        starts.sort_unstable();
        starts.dedup();
        let mut ids = Vec::new();
        let mut rest = text;
        let next_special = |rest: &str| {
            let places = rest.char_indices().filter(|(_, c)| starts.contains(c));
            places.into_iter().find_map(|(at, _)| Some((at, special_at(&rest[at..])?)))
        };
        while let Some((at, (name, id))) = next_special(rest) {
            self.encode_into(&rest[..at], &mut ids);
            ids.push(id);
            rest = &rest[at + name.len()..];
        }
        self.encode_into(rest, &mut ids);
        ids
    }

    /// The text of ids; control and added special tokens are written as nothing, ids outside the
    /// vocabulary as `<unk>` is.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decoder.decode(ids)
    }

    /// The bytes of ids: [`decode`](Self::decode) before it is made valid UTF-8.
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        self.decoder.decode_bytes(ids)
    }

    /// Decodes ids as they come, one after another.
    pub fn text_stream(&self) -> TextStream<'_> {
        TextStream::new(&self.decoder)
    }

    /// The piece of an id as the vocabulary spells it (U+2581 for a space).
    pub fn piece(&self, id: u32) -> Option<&str> {
        let idx = id as usize;
        match self.vocabulary.texts.get(idx) {
            Some(text) => Some(text),
            None => ADDED_SPECIALS.get(idx - self.vocabulary.len()).copied(),
        }
    }

    /// Whether an id stands for a byte.
    pub fn is_byte(&self, id: u32) -> bool {
        self.vocabulary.kinds.get(id as usize) == Some(&PieceKind::Byte)
    }

    /// Whether an id is that of `<unk>`.
    pub fn is_unknown(&self, id: u32) -> bool {
        id == self.vocabulary.unknown_id
    }

    /// Number of ids: the pieces and the five added specials.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len() + ADDED_SPECIALS.len()
    }

    /// Id of the end-of-document token, the third of the added specials.
    pub fn eod_id(&self) -> u32 {
        self.special_id(EOD_IDX)
    }

    /// Id of `<s>`.
    pub fn bos_id(&self) -> u32 {
        self.vocabulary.bos_id
    }

    /// Id of `</s>`.
    pub fn eos_id(&self) -> u32 {
        self.vocabulary.eos_id
    }

    /// Hex SHA-256 of all that ids depend on: pieces, score bits and types in id order, and the
    /// normaliser's flags. Shards and checkpoints are matched by it.
    pub fn vocab_hash(&self) -> String {
        self.vocabulary.hash()
    }

    fn special_id(&self, idx: usize) -> u32 {
        (self.vocabulary.len() + idx) as u32
    }

    /// The strings that Megatron's wrapper looks for, and their ids.
    fn megatron_specials(&self) -> Vec<(&str, u32)> {
        let added = (0..).zip(MEGATRON_SPECIALS).map(|(idx, name)| (name, self.special_id(idx)));
        let control = [self.bos_id(), self.eos_id()];
        let control = control.map(|id| (self.vocabulary.texts[id as usize].as_str(), id));
        added.chain(control).collect()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("n_pieces", &self.vocabulary.len())
            .finish_non_exhaustive()
    }
}

fn file_of_folder(folder: &Path) -> Result<PathBuf> {
    let paths = [MODEL_NAME, JSON_NAME].map(|name| folder.join(name));
    paths.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::Malformed {
        path: folder.to_owned(),
        problem: format!("folder has neither `{MODEL_NAME}` nor `{JSON_NAME}`"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::sentence_piece::{MARKER, TrainerSpec};
    use super::*;

    fn tokenizer() -> Tokenizer {
        let merged = ["_a", "ab", "_ab", "中国"].map(|text| text.replace('_', "\u{2581}"));
        let characters = [MARKER, 'a', 'b', '中', '国', '1'];
        let model = ModelProto::in_neo_layout(merged, characters, TrainerSpec::default());
        Tokenizer::from_model(model).unwrap()
    }

    #[test]
    fn ids_of_the_specials_follow_the_vocabulary() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.vocab_size(), 3 + 256 + 4 + 6 + 5);
        assert_eq!(tokenizer.eod_id(), 271);
        assert_eq!(tokenizer.piece(271), Some("<|EOD|>"));
        assert_eq!(tokenizer.piece(2), Some("</s>"));
        assert_eq!(tokenizer.piece(274), None);
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (1, 2));
    }

    #[test]
    fn megatron_cuts_at_special_strings() {
        let tokenizer = tokenizer();
        let plain = tokenizer.encode("<EOD>");
        assert!(plain.iter().all(|&id| id < 269), "plain text has no special: {plain:?}");
        assert_eq!(tokenizer.encode_megatron("ab"), tokenizer.encode("ab"));
        let [a, ab] = ["a", "ab"].map(|text| tokenizer.encode(text));
        let expected = [&ab[..], &[271], &a, &[2, 1], &[269]].concat();
        assert_eq!(tokenizer.encode_megatron("ab<EOD>a</s><s><CLS>"), expected);
    }

    #[test]
    fn hugging_face_cuts_at_its_own_special_strings() {
        let tokenizer = tokenizer();
        let [a, ab] = ["a", "ab"].map(|text| tokenizer.encode(text));
        let expected = [&[1][..], &ab, &[271], &a, &[2]].concat();
        assert_eq!(tokenizer.encode_with_specials("<s>ab<|EOD|>a</s>"), expected);
        let plain = "<EOD> a < b";
        assert_eq!(tokenizer.encode_with_specials(plain), tokenizer.encode(plain));
    }

    proptest! {
        #[test]
        fn a_damaged_model_is_an_error_or_a_tokenizer(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            n_kept in any::<proptest::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tokenizer.model");
            tokenizer().model.write(&path).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(bytes.len() - n_kept.index(2) * n_kept.index(bytes.len()));
            std::fs::write(&path, bytes).unwrap();
            match Tokenizer::from_path(&path) {
                Ok(read) => drop(read.decode(&read.encode("ab 中国\n"))),
                Err(error) => prop_assert!(error.is_input(), "{error}"),
            }
        }

        #[test]
        fn decoding_undoes_encoding(text in "(.|[ab中国1 \n\t<>]){0,40}") {
            prop_assume!(!text.contains(MARKER));
            let tokenizer = tokenizer();
            let ids = tokenizer.encode(&text);
            prop_assert_eq!(tokenizer.decode(&ids), text.clone());
            prop_assert_eq!(tokenizer.decode_bytes(&ids), text.into_bytes());
        }
    }
}
