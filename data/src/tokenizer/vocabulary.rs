//! The checked vocabulary: what a `ModelProto` must be before texts are encoded with it.
//!
//! Everything that this program does not support is refused here, by name, whatever file it came
//! from; encoding and decoding can then rely on it.

use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use super::encode::ID_BITS;
use super::sentence_piece::{
    MARKER, ModelProto, ModelType, NormalizerSpec, PieceKind, TrainerSpec, byte_piece,
};

/// Most pieces that a vocabulary can have; the encoder packs ids.
const MAX_PIECES: usize = 1 << ID_BITS;

/// A byte-fallback BPE vocabulary with SentencePiece's semantics.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    /// Texts in id order, with U+2581 for a space.
    pub(crate) texts: Vec<String>,
    /// Scores in id order; the pair with the highest is merged first.
    pub(crate) scores: Vec<f32>,
    /// Kinds in id order: normal, unknown, control or byte.
    pub(crate) kinds: Vec<PieceKind>,
    /// Id of every byte's piece.
    pub(crate) byte_ids: [u32; 256],
    /// Id of `<unk>`.
    pub(crate) unknown_id: u32,
    /// Id of `<s>`.
    pub(crate) bos_id: u32,
    /// Id of `</s>`.
    pub(crate) eos_id: u32,
    /// What `<unk>` decodes to.
    pub(crate) unknown_surface: String,
    /// Whether a text gets one U+2581 before it.
    pub(crate) add_dummy_prefix: bool,
}

impl Vocabulary {
    /// Checks a model and takes what encoding needs.
    ///
    /// # Errors
    /// The phrase that says what is unsupported or wrong; the caller knows the path.
    pub(crate) fn from_model(model: &ModelProto) -> Result<Self, String> {
        let trainer = model.trainer_spec.clone().unwrap_or_default();
        let normalizer = model.normalizer_spec.clone().unwrap_or_default();
        check_trainer(&trainer)?;
        check_normalizer(&normalizer, model.denormalizer_spec.as_ref())?;
        if model.pieces.len() > MAX_PIECES {
            let found = model.pieces.len();
            return Err(format!("has `{found}` pieces, at most `{MAX_PIECES}` are supported"));
        }
        let ids = ids_by_text(model)?;
        let kinds = kinds(model)?;
        let unknown_ids: Vec<usize> =
            (0..kinds.len()).filter(|&id| kinds[id] == PieceKind::Unknown).collect();
        let [unknown_id] = unknown_ids[..] else {
            return Err(format!("has `{}` unknown pieces, expected one", unknown_ids.len()));
        };
        let control = |name: Option<&String>, default: &str| {
            let name = name.map_or(default, String::as_str);
            match ids.get(name) {
                Some(&id) if kinds[id as usize] == PieceKind::Control => Ok(id),
                _ => Err(format!("has no control piece `{name}`")),
            }
        };
        let vocabulary = Self {
            texts: model.pieces.iter().map(|piece| piece.piece().to_owned()).collect(),
            scores: model.pieces.iter().map(|piece| piece.score()).collect(),
            byte_ids: byte_ids(&ids, &kinds)?,
            unknown_id: unknown_id as u32,
            bos_id: control(trainer.bos_piece.as_ref(), "<s>")?,
            eos_id: control(trainer.eos_piece.as_ref(), "</s>")?,
            unknown_surface: trainer.unk_surface.unwrap_or_else(|| " \u{2047} ".to_owned()),
            add_dummy_prefix: normalizer.add_dummy_prefix.unwrap_or(true),
            kinds,
        };
        vocabulary.check_normal_pieces(&ids)?;
        Ok(vocabulary)
    }

    /// Number of pieces, without the specials that are added outside SentencePiece.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Ids of the pieces that text can become.
    pub(crate) fn normal_ids(&self) -> impl Iterator<Item = u32> {
        let normal = |&id: &u32| self.kinds[id as usize] == PieceKind::Normal;
        (0..self.len() as u32).filter(normal)
    }

    /// Hex SHA-256 over texts, score bits and kinds in id order, and the normaliser's flags.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for ((text, score), kind) in self.texts.iter().zip(&self.scores).zip(&self.kinds) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
            hasher.update(score.to_bits().to_le_bytes());
            hasher.update((*kind as i32).to_le_bytes());
        }
        hasher.update([u8::from(self.add_dummy_prefix)]);
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Encoding rests on this: pieces hold no space of their own, their scores are ordered, and
    /// each of their characters is a piece itself.
    fn check_normal_pieces(&self, ids: &FxHashMap<&str, u32>) -> Result<(), String> {
        let is_normal = |id: &u32| self.kinds[*id as usize] == PieceKind::Normal;
        let singles: FxHashSet<char> =
            self.normal_ids().filter_map(|id| single_character(&self.texts[id as usize])).collect();
        for id in self.normal_ids() {
            let text = &self.texts[id as usize];
            if text.contains(' ') {
                return Err(format!("piece `{text}` (id {id}) holds a space, expected U+2581"));
            }
            if !self.scores[id as usize].is_finite() {
                return Err(format!("piece `{text}` (id {id}) has a score that is no number"));
            }
            if let Some(lacking) = text.chars().find(|character| !singles.contains(character)) {
                return Err(format!(
                    "piece `{text}` (id {id}) holds `{lacking}`, which is no piece itself"
                ));
            }
        }
        match ids.get(MARKER.to_string().as_str()) {
            Some(id) if is_normal(id) => Ok(()),
            _ => Err("has no piece U+2581 for the space".to_owned()),
        }
    }
}

/// The character of a text that is only one.
pub(crate) fn single_character(text: &str) -> Option<char> {
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

fn check_trainer(trainer: &TrainerSpec) -> Result<(), String> {
    // The schema's default, for a file that leaves it out, is the unigram model.
    let number = trainer.model_type.unwrap_or(ModelType::Unigram as i32);
    match ModelType::try_from(number) {
        Ok(ModelType::Bpe) => {}
        Ok(other) => {
            let name = format!("{other:?}").to_lowercase();
            return Err(format!("has model type `{name}`, only `bpe` is supported"));
        }
        Err(_) => return Err(format!("has model type `{number}`, only `bpe` is supported")),
    }
    if !trainer.byte_fallback.unwrap_or(false) {
        return Err("has no byte pieces (`byte_fallback` is off), expected all 256".to_owned());
    }
    if trainer.treat_whitespace_as_suffix.unwrap_or(false) {
        return Err("has `treat_whitespace_as_suffix`, which is not supported".to_owned());
    }
    Ok(())
}

fn check_normalizer(
    normalizer: &NormalizerSpec,
    denormalizer: Option<&NormalizerSpec>,
) -> Result<(), String> {
    let has_map =
        |spec: &NormalizerSpec| spec.precompiled_charsmap.as_ref().is_some_and(|m| !m.is_empty());
    if has_map(normalizer) {
        let name = normalizer.name();
        return Err(format!("has normaliser `{name}`, only `identity` is supported"));
    }
    if denormalizer.is_some_and(has_map) {
        return Err("has a denormaliser, which is not supported".to_owned());
    }
    if normalizer.remove_extra_whitespaces.unwrap_or(true) {
        return Err("has `remove_extra_whitespaces`, which is not supported".to_owned());
    }
    if !normalizer.escape_whitespaces.unwrap_or(true) {
        return Err("has `escape_whitespaces` off, which is not supported".to_owned());
    }
    Ok(())
}

fn ids_by_text(model: &ModelProto) -> Result<FxHashMap<&str, u32>, String> {
    let mut ids = FxHashMap::default();
    for (id, piece) in model.pieces.iter().enumerate() {
        if piece.piece().is_empty() {
            return Err(format!("piece {id} is empty"));
        }
        if let Some(first) = ids.insert(piece.piece(), id as u32) {
            let text = piece.piece();
            return Err(format!("piece `{text}` is there twice, as id {first} and as id {id}"));
        }
    }
    Ok(ids)
}

fn kinds(model: &ModelProto) -> Result<Vec<PieceKind>, String> {
    let kind = |(id, piece): (usize, &super::sentence_piece::PieceProto)| {
        let text = piece.piece();
        let number = piece.r#type.unwrap_or(PieceKind::Normal as i32);
        match PieceKind::try_from(number) {
            Ok(PieceKind::UserDefined) => {
                Err(format!("piece `{text}` (id {id}) is user-defined, which is not supported"))
            }
            Ok(PieceKind::Unused) => {
                Err(format!("piece `{text}` (id {id}) is unused, which is not supported"))
            }
            Ok(kind) => Ok(kind),
            Err(_) => Err(format!("piece `{text}` (id {id}) has unknown type `{number}`")),
        }
    };
    model.pieces.iter().enumerate().map(kind).collect()
}

fn byte_ids(ids: &FxHashMap<&str, u32>, kinds: &[PieceKind]) -> Result<[u32; 256], String> {
    let mut byte_ids = [0; 256];
    for byte in 0..=255 {
        let name = byte_piece(byte);
        byte_ids[usize::from(byte)] = match ids.get(name.as_str()) {
            Some(&id) if kinds[id as usize] == PieceKind::Byte => id,
            _ => return Err(format!("has no byte piece `{name}`, expected all 256")),
        };
    }
    let n_bytes = kinds.iter().filter(|&&kind| kind == PieceKind::Byte).count();
    if n_bytes != 256 {
        return Err(format!("has `{n_bytes}` byte pieces, expected 256"));
    }
    Ok(byte_ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelProto {
        let merged = ["\u{2581}a".to_owned(), "ab".to_owned()];
        ModelProto::in_neo_layout(merged, [MARKER, 'a', 'b'], TrainerSpec::default())
    }

    fn check(change: impl FnOnce(&mut ModelProto), expected: &str) {
        let mut changed = model();
        change(&mut changed);
        let problem = Vocabulary::from_model(&changed).err().unwrap_or_default();
        assert!(problem.contains(expected), "expected `{expected}` in `{problem}`");
    }

    #[test]
    fn the_neo_layout_is_accepted() {
        let vocabulary = Vocabulary::from_model(&model()).unwrap();
        assert_eq!(vocabulary.len(), 264);
        assert_eq!((vocabulary.unknown_id, vocabulary.bos_id, vocabulary.eos_id), (0, 1, 2));
        assert_eq!(vocabulary.byte_ids[0x41], 3 + 0x41);
        assert!(vocabulary.add_dummy_prefix);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let trainer = |model: &mut ModelProto| model.trainer_spec.take().unwrap();
        check(|m| m.trainer_spec.as_mut().unwrap().model_type = None, "`unigram`");
        check(|m| m.trainer_spec.as_mut().unwrap().model_type = Some(3), "`word`");
        check(|m| drop(trainer(m)), "`unigram`");
        check(|m| m.trainer_spec.as_mut().unwrap().byte_fallback = None, "byte pieces");
        check(|m| m.pieces[3 + 0x41].r#type = Some(1), "`<0x41>`");
        check(|m| drop(m.pieces.remove(258)), "`<0xFF>`");
        check(|m| m.pieces[259].r#type = Some(4), "user-defined");
        check(|m| m.pieces[259].r#type = Some(5), "unused");
        check(|m| m.pieces[259].r#type = Some(9), "type `9`");
        check(|m| m.pieces[260].piece = m.pieces[259].piece.clone(), "twice");
        check(|m| m.pieces[260].piece = None, "empty");
        check(|m| m.pieces[260].score = Some(f32::NAN), "no number");
        check(|m| m.pieces[260].piece = Some("ac".to_owned()), "`c`");
        check(|m| m.pieces[0].r#type = Some(3), "`0` unknown pieces");
        check(|m| m.pieces[1].piece = Some("<b>".to_owned()), "`<s>`");
        let normalizer = |model: &mut ModelProto, change: fn(&mut NormalizerSpec)| {
            change(model.normalizer_spec.as_mut().unwrap());
        };
        check(|m| normalizer(m, |n| n.remove_extra_whitespaces = None), "remove_extra");
        check(|m| normalizer(m, |n| n.escape_whitespaces = Some(false)), "escape_whitespaces");
        let named = |n: &mut NormalizerSpec| {
            n.name = Some("nmt_nfkc".to_owned());
            n.precompiled_charsmap = Some(vec![1]);
        };
        check(|m| normalizer(m, named), "`nmt_nfkc`");
    }

    #[test]
    fn the_hash_follows_what_encoding_depends_on() {
        let hash = |model: &ModelProto| Vocabulary::from_model(model).unwrap().hash();
        let first = model();
        assert_eq!(hash(&first), hash(&first.clone()));
        assert_eq!(hash(&first).len(), 64);
        let mut scored = model();
        scored.pieces[260].score = Some(-0.5);
        assert_ne!(hash(&first), hash(&scored));
        let mut unprefixed = model();
        unprefixed.normalizer_spec.as_mut().unwrap().add_dummy_prefix = Some(false);
        assert_ne!(hash(&first), hash(&unprefixed));
    }
}
