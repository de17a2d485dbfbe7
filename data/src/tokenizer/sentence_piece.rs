//! SentencePiece `.model` files: the protobuf messages of `sentencepiece_model.proto`, read and written.
//!
//! `ModelProto` is what every other format is turned into; `vocabulary.rs` checks it. All fields of
//! the published schema are declared, so that a file read and written again keeps its bytes.

use std::path::Path;

use prost::Message;

use crate::{Error, Result};

/// U+2581, which stands for a space inside pieces.
pub(crate) const MARKER: char = '\u{2581}';

/// `ModelProto.SentencePiece.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// `TrainerSpec.ModelType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ModelType {
    Unigram = 1,
    Bpe = 2,
    Word = 3,
    Char = 4,
}

/// One entry of the vocabulary; its id is its position.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PieceProto {
    #[prost(string, optional, tag = "1")]
    pub(crate) piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(crate) score: Option<f32>,
    #[prost(enumeration = "PieceKind", optional, tag = "3")]
    pub(crate) r#type: Option<i32>,
}

/// How the vocabulary was trained; only a few of these fields matter afterwards.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TrainerSpec {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) model_prefix: Option<String>,
    #[prost(enumeration = "ModelType", optional, tag = "3")]
    pub(crate) model_type: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) vocab_size: Option<i32>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) accept_language: Vec<String>,
    #[prost(int32, optional, tag = "6")]
    pub(crate) self_test_sample_size: Option<i32>,
    #[prost(string, optional, tag = "7")]
    pub(crate) input_format: Option<String>,
    #[prost(float, optional, tag = "10")]
    pub(crate) character_coverage: Option<f32>,
    #[prost(uint64, optional, tag = "11")]
    pub(crate) input_sentence_size: Option<u64>,
    #[prost(int32, optional, tag = "12")]
    pub(crate) mining_sentence_size: Option<i32>,
    #[prost(int32, optional, tag = "13")]
    pub(crate) training_sentence_size: Option<i32>,
    #[prost(int32, optional, tag = "14")]
    pub(crate) seed_sentencepiece_size: Option<i32>,
    #[prost(float, optional, tag = "15")]
    pub(crate) shrinking_factor: Option<f32>,
    #[prost(int32, optional, tag = "16")]
    pub(crate) num_threads: Option<i32>,
    #[prost(int32, optional, tag = "17")]
    pub(crate) num_sub_iterations: Option<i32>,
    #[prost(int32, optional, tag = "18")]
    pub(crate) max_sentence_length: Option<i32>,
    #[prost(bool, optional, tag = "19")]
    pub(crate) shuffle_input_sentence: Option<bool>,
    #[prost(int32, optional, tag = "20")]
    pub(crate) max_sentencepiece_length: Option<i32>,
    #[prost(bool, optional, tag = "21")]
    pub(crate) split_by_unicode_script: Option<bool>,
    #[prost(bool, optional, tag = "22")]
    pub(crate) split_by_whitespace: Option<bool>,
    #[prost(bool, optional, tag = "23")]
    pub(crate) split_by_number: Option<bool>,
    #[prost(bool, optional, tag = "24")]
    pub(crate) treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "25")]
    pub(crate) split_digits: Option<bool>,
    #[prost(bool, optional, tag = "26")]
    pub(crate) allow_whitespace_only_pieces: Option<bool>,
    #[prost(string, repeated, tag = "30")]
    pub(crate) control_symbols: Vec<String>,
    #[prost(string, repeated, tag = "31")]
    pub(crate) user_defined_symbols: Vec<String>,
    #[prost(bool, optional, tag = "32")]
    pub(crate) vocabulary_output_piece_score: Option<bool>,
    #[prost(bool, optional, tag = "33")]
    pub(crate) hard_vocab_limit: Option<bool>,
    #[prost(bool, optional, tag = "34")]
    pub(crate) use_all_vocab: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    pub(crate) byte_fallback: Option<bool>,
    #[prost(string, optional, tag = "36")]
    pub(crate) required_chars: Option<String>,
    #[prost(int32, optional, tag = "40")]
    pub(crate) unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    pub(crate) bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    pub(crate) eos_id: Option<i32>,
    #[prost(int32, optional, tag = "43")]
    pub(crate) pad_id: Option<i32>,
    #[prost(string, optional, tag = "44")]
    pub(crate) unk_surface: Option<String>,
    #[prost(string, optional, tag = "45")]
    pub(crate) unk_piece: Option<String>,
    #[prost(string, optional, tag = "46")]
    pub(crate) bos_piece: Option<String>,
    #[prost(string, optional, tag = "47")]
    pub(crate) eos_piece: Option<String>,
    #[prost(string, optional, tag = "48")]
    pub(crate) pad_piece: Option<String>,
    #[prost(bool, optional, tag = "49")]
    pub(crate) train_extremely_large_corpus: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub(crate) enable_differential_privacy: Option<bool>,
    #[prost(float, optional, tag = "51")]
    pub(crate) differential_privacy_noise_level: Option<f32>,
    #[prost(uint64, optional, tag = "52")]
    pub(crate) differential_privacy_clipping_threshold: Option<u64>,
    #[prost(string, optional, tag = "53")]
    pub(crate) pretokenization_delimiter: Option<String>,
    #[prost(string, optional, tag = "54")]
    pub(crate) seed_sentencepieces_file: Option<String>,
}

/// What happens to a text before it is cut into pieces.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) escape_whitespaces: Option<bool>,
    #[prost(string, optional, tag = "6")]
    pub(crate) normalization_rule_tsv: Option<String>,
}

/// A whole `.model` file.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    pub(crate) trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub(crate) normalizer_spec: Option<NormalizerSpec>,
    /// `SelfTestData`, kept as it is: nobody here looks into it.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) self_test_data: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(crate) denormalizer_spec: Option<NormalizerSpec>,
}

impl ModelProto {
    /// Reads a `.model` file; what it holds is checked by `Vocabulary::from_model`.
    ///
    /// # Errors
    /// The file cannot be read, or is not this protobuf.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::decode(bytes.as_slice()).map_err(|error| Error::Malformed {
            path: path.to_owned(),
            problem: format!("expected a SentencePiece model, found no such protobuf ({error})"),
        })
    }

    /// Writes a `.model` file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.encode_to_vec()).map_err(Error::io(path))
    }

    /// A BPE model with byte fallback and the identity normaliser; the rest of `trainer_spec` is
    /// kept.
    pub(crate) fn bpe(
        pieces: Vec<PieceProto>,
        trainer_spec: TrainerSpec,
        add_dummy_prefix: bool,
    ) -> Self {
        let trainer_spec = TrainerSpec {
            model_type: Some(ModelType::Bpe as i32),
            vocab_size: i32::try_from(pieces.len()).ok(),
            byte_fallback: Some(true),
            ..trainer_spec
        };
        let normalizer_spec = NormalizerSpec {
            name: Some("identity".to_owned()),
            precompiled_charsmap: Some(Vec::new()),
            add_dummy_prefix: Some(add_dummy_prefix),
            remove_extra_whitespaces: Some(false),
            escape_whitespaces: Some(true),
            normalization_rule_tsv: None,
        };
        Self {
            pieces,
            trainer_spec: Some(trainer_spec),
            normalizer_spec: Some(normalizer_spec),
            self_test_data: None,
            denormalizer_spec: None,
        }
    }

    /// A model in the id layout of MAP-Neo (map-neo.md 2.3): `<unk>`, `<s>`, `</s>`, the 256 bytes,
    /// `merged` in merge order, `characters`; scores fall by one per piece after the bytes.
    pub(crate) fn in_neo_layout(
        merged: impl IntoIterator<Item = String>,
        characters: impl IntoIterator<Item = char>,
        trainer_spec: TrainerSpec,
    ) -> Self {
        let mut pieces = vec![
            PieceProto::of_kind("<unk>".to_owned(), PieceKind::Unknown),
            PieceProto::of_kind("<s>".to_owned(), PieceKind::Control),
            PieceProto::of_kind("</s>".to_owned(), PieceKind::Control),
        ];
        let byte = |byte: u8| PieceProto::of_kind(byte_piece(byte), PieceKind::Byte);
        pieces.extend((0..=u8::MAX).map(byte));
        let texts = merged.into_iter().chain(characters.into_iter().map(String::from));
        pieces.extend(texts.enumerate().map(|(rank, text)| PieceProto::normal(text, rank)));
        Self::bpe(pieces, trainer_spec, true)
    }
}

impl PieceProto {
    /// A piece that text becomes; `rank` counts from 0, the first to be merged.
    pub(crate) fn normal(text: String, rank: usize) -> Self {
        Self { piece: Some(text), score: Some(-(rank as f32)), r#type: None }
    }

    /// A piece that text does not become by merging.
    pub(crate) fn of_kind(text: String, kind: PieceKind) -> Self {
        Self { piece: Some(text), score: Some(0.0), r#type: Some(kind as i32) }
    }
}

/// The name of a byte's piece, such as `<0x0A>`.
pub(crate) fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again_is_the_same() {
        let model =
            ModelProto::in_neo_layout(["ab".to_owned()], ['a', 'b'], TrainerSpec::default());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        model.write(&path).unwrap();
        assert_eq!(ModelProto::read(&path).unwrap(), model);
        assert_eq!(model.pieces[3 + 0x0A].piece(), "<0x0A>");
        assert_eq!(model.pieces[259].score(), 0.0);
        assert_eq!(model.pieces[261].score(), -2.0);
    }

    #[test]
    fn other_bytes_are_refused_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.model");
        std::fs::write(&path, [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1]).unwrap();
        let error = ModelProto::read(&path).unwrap_err();
        assert!(error.is_input());
        assert!(error.to_string().contains("x.model"), "{error}");
    }
}
