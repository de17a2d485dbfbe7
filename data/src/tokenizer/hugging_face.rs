//! Hugging Face folders: `tokenizer.json` read and written, and the small files beside it written.
//!
//! A `tokenizer.json` ranks merges, a `.model` scores pieces; `merges.rs` turns one into the other.
//! Reading refuses by name whatever would make ids differ from those of SentencePiece.

mod merges;
mod schema;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use self::schema::{AddedToken, TokenizerJson};
use super::ADDED_SPECIALS;
use super::sentence_piece::{MARKER, ModelProto, PieceKind, PieceProto, TrainerSpec, byte_piece};
use super::vocabulary::Vocabulary;
use crate::{Error, Result};

/// The text length that MAP-Neo's own folders state (map-neo.md 2.4).
const MODEL_MAX_LENGTH: u32 = 4096;
/// A system message stands in the first user turn.
const CHAT_TEMPLATE: &str = include_str!("chat_template.jinja");
/// As published: a system message of one's own disappears (map-neo.md 2.5).
const CHAT_TEMPLATE_COMPAT: &str = include_str!("chat_template_compat.jinja");

/// Reads a `tokenizer.json` of the byte-fallback BPE family.
///
/// # Errors
/// The file cannot be read, is broken, or is of a kind whose ids could differ.
pub(super) fn read(path: &Path) -> Result<ModelProto> {
    let malformed = |problem| Error::Malformed { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let file: TokenizerJson = serde_json::from_str(&text)
        .map_err(|error| malformed(format!("expected a `tokenizer.json` of kind BPE: {error}")))?;
    to_model(file).map_err(malformed)
}

fn to_model(file: TokenizerJson) -> std::result::Result<ModelProto, String> {
    let add_dummy_prefix = file.check()?;
    let texts = file.texts_in_id_order()?;
    let kinds = kinds(&file, &texts)?;
    let ranks = merges::ranks(&texts, |id| kinds[id] == PieceKind::Normal, file.model.merges)?;
    let pieces = texts.into_iter().zip(kinds).zip(ranks).map(|((text, kind), rank)| match kind {
        PieceKind::Normal => PieceProto::normal(text, rank),
        _ => PieceProto::of_kind(text, kind),
    });
    let trainer_spec = TrainerSpec { unk_piece: file.model.unk_token, ..TrainerSpec::default() };
    Ok(ModelProto::bpe(pieces.collect(), trainer_spec, add_dummy_prefix))
}

/// Bytes by their names, `<unk>` and added special tokens by the file's word, the rest is normal.
fn kinds(file: &TokenizerJson, texts: &[String]) -> std::result::Result<Vec<PieceKind>, String> {
    let ids: HashMap<&str, usize> = texts.iter().map(String::as_str).zip(0..).collect();
    let mut kinds = vec![PieceKind::Normal; texts.len()];
    for byte in 0..=u8::MAX {
        if let Some(&id) = ids.get(byte_piece(byte).as_str()) {
            kinds[id] = PieceKind::Byte;
        }
    }
    let unknown = file.model.unk_token.as_deref().unwrap_or("<unk>");
    for AddedToken { id, content, special } in &file.added_tokens {
        let Some(kind) = kinds.get_mut(*id) else {
            let expected = ADDED_SPECIALS.get(id - texts.len());
            if expected != Some(&content.as_str()) {
                return Err(format!(
                    "added token `{content}` (id {id}) is not supported, only {ADDED_SPECIALS:?} \
                     in this order after the vocabulary"
                ));
            }
            continue;
        };
        if texts[*id] != *content {
            let found = &texts[*id];
            return Err(format!("added token `{content}` has id {id}, which is `{found}`"));
        }
        if *kind == PieceKind::Byte {
            return Err(format!(
                "byte piece `{content}` is an added token, so `{content}` in a text would become \
                 a byte; expected it in the vocabulary only"
            ));
        }
        if !special {
            return Err(format!("added token `{content}` is not special, which is not supported"));
        }
        *kind = PieceKind::Control;
    }
    if let Some(&id) = ids.get(unknown) {
        kinds[id] = PieceKind::Unknown;
    }
    Ok(kinds)
}

/// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`; `transformers`
/// loads them as a fast tokenizer without remote code.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(vocabulary: &Vocabulary, folder: &Path) -> Result<()> {
    write_json(&folder.join("tokenizer.json"), &tokenizer_json(vocabulary))?;
    write_json(&folder.join("tokenizer_config.json"), &tokenizer_config(vocabulary))?;
    write_json(&folder.join("special_tokens_map.json"), &special_tokens_map(vocabulary))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("a JSON value has text keys only");
    std::fs::write(path, text + "\n").map_err(Error::io(path))
}

fn tokenizer_json(vocabulary: &Vocabulary) -> Value {
    let marker = MARKER.to_string();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let mut normalizers = vec![replace(" ", &marker)];
    let mut decoders =
        vec![replace(&marker, " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    if vocabulary.add_dummy_prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": marker}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let ids = (0..).zip(&vocabulary.texts);
    let vocab: Map<String, Value> = ids.map(|(id, text)| (text.clone(), json!(id))).collect();
    let added: Vec<Value> = special_tokens(vocabulary)
        .into_iter()
        .map(|(id, content)| {
            let mut token = added_token(content);
            token.insert("id".to_owned(), json!(id));
            Value::Object(token)
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": vocabulary.texts[vocabulary.unknown_id as usize],
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": merges::in_rank_order(vocabulary),
        }
    })
}

fn tokenizer_config(vocabulary: &Vocabulary) -> Value {
    let added: Map<String, Value> = special_tokens(vocabulary)
        .into_iter()
        .map(|(id, content)| (id.to_string(), Value::Object(added_token(content))))
        .collect();
    let named = |name: &str, text: &str| json!({"name": name, "template": text.trim_end()});
    let mut config = special_tokens_map(vocabulary);
    let rest = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "add_eos_token": false,
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": false,
        "model_max_length": MODEL_MAX_LENGTH,
        "padding_side": "right",
        "chat_template": [
            named("default", CHAT_TEMPLATE),
            named("compat", CHAT_TEMPLATE_COMPAT),
        ],
    });
    if let (Value::Object(config), Value::Object(rest)) = (&mut config, rest) {
        config.extend(rest);
    }
    config
}

fn special_tokens_map(vocabulary: &Vocabulary) -> Value {
    let text = |id: u32| &vocabulary.texts[id as usize];
    let unknown = text(vocabulary.unknown_id);
    json!({
        "bos_token": text(vocabulary.bos_id),
        "eos_token": text(vocabulary.eos_id),
        "unk_token": unknown,
        // MAP-Neo pads with `<unk>`, although there is a `<|PAD|>` (map-neo.md 2.4).
        "pad_token": unknown,
        "additional_special_tokens": ADDED_SPECIALS,
    })
}

/// Ids and texts of unknown, control and added special tokens.
pub(super) fn special_tokens(vocabulary: &Vocabulary) -> Vec<(usize, &str)> {
    let is_special = |kind: &PieceKind| matches!(kind, PieceKind::Unknown | PieceKind::Control);
    let texts = vocabulary.texts.iter().map(String::as_str);
    let own = (0..).zip(texts.zip(&vocabulary.kinds));
    own.filter(|(_, (_, kind))| is_special(kind))
        .map(|(id, (text, _))| (id, text))
        .chain((vocabulary.len()..).zip(ADDED_SPECIALS))
        .collect()
}

fn added_token(content: &str) -> Map<String, Value> {
    let fields = [
        ("content", json!(content)),
        ("lstrip", json!(false)),
        ("normalized", json!(false)),
        ("rstrip", json!(false)),
        ("single_word", json!(false)),
        ("special", json!(true)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::*;

    fn tokenizer() -> Tokenizer {
        let merged = ["_a", "aa", "_aa", "中国", "aaa"].map(|text| text.replace('_', "\u{2581}"));
        let characters = [MARKER, 'a', '中', '国', '<', '0'];
        let model = ModelProto::in_neo_layout(merged, characters, TrainerSpec::default());
        Tokenizer::from_model(model).unwrap()
    }

    fn check(change: impl FnOnce(&mut Value), expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut value = tokenizer_json(&tokenizer().vocabulary);
        change(&mut value);
        write_json(&path, &value).unwrap();
        let error = Tokenizer::from_path(&path).err().map(|error| error.to_string());
        let message = error.unwrap_or_default();
        assert!(message.contains(expected), "expected `{expected}` in `{message}`");
        assert!(message.contains("tokenizer.json"), "{message}");
    }

    #[test]
    fn a_saved_folder_is_the_same_tokenizer_by_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let saved = tokenizer();
        saved.save(folder.path()).unwrap();
        for name in ["", "tokenizer.model", "tokenizer.json"] {
            let read = Tokenizer::from_path(&folder.path().join(name)).unwrap();
            assert_eq!(read.vocab_hash(), saved.vocab_hash(), "{name}");
            let text = " aa aaaaa中国é<0x41>\n";
            assert_eq!(read.encode(text), saved.encode(text), "{name}");
        }
        std::fs::remove_file(folder.path().join("tokenizer.model")).unwrap();
        let read = Tokenizer::from_path(folder.path()).unwrap();
        assert_eq!(read.vocab_hash(), saved.vocab_hash());
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let error = Tokenizer::from_path(folder.path()).err().unwrap();
        assert!(error.to_string().contains("`tokenizer.model`"), "{error}");
    }

    #[test]
    fn both_spellings_of_merges_are_read() {
        let spelled = |value: &mut Value| {
            for merge in value["model"]["merges"].as_array_mut().unwrap() {
                *merge =
                    json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
            }
        };
        let mut value = tokenizer_json(&tokenizer().vocabulary);
        spelled(&mut value);
        let file = serde_json::from_value(value).unwrap();
        let read = Tokenizer::from_model(to_model(file).unwrap()).unwrap();
        assert_eq!(read.vocab_hash(), tokenizer().vocab_hash());
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        check(|v| v["model"]["type"] = json!("Unigram"), "`Unigram`");
        check(|v| v["model"]["type"] = json!("WordPiece"), "`WordPiece`");
        check(|v| v["model"]["byte_fallback"] = json!(false), "`byte_fallback`");
        check(|v| v["model"]["ignore_merges"] = json!(true), "`ignore_merges`");
        check(|v| v["model"]["dropout"] = json!(0.1), "`dropout`");
        check(|v| v["model"]["end_of_word_suffix"] = json!("</w>"), "`end_of_word_suffix`");
        check(|v| v["normalizer"] = json!({"type": "NFKC"}), "normalizer `NFKC`");
        check(|v| v["normalizer"] = Value::Null, "normalizer `none`");
        check(|v| v["pre_tokenizer"] = json!({"type": "ByteLevel"}), "`ByteLevel`");
        check(|v| v["decoder"] = json!({"type": "ByteLevel"}), "decoder `ByteLevel`");
        check(|v| v["model"] = json!({"vocab": [["a", 0.0]], "byte_fallback": true}), "no map");
        check(|v| *v = json!([1]), "expected a `tokenizer.json`");
    }

    #[test]
    fn vocabularies_that_disagree_are_refused() {
        let vocab = |v: &mut Value, text: &str, id| v["model"]["vocab"][text] = json!(id);
        check(|v| vocab(v, "a", 3), "the same id 3");
        check(|v| vocab(v, "a", 1000), "id 1000");
        let token = |content: &str, id: u32, special: bool| json!({"id": id, "content": content, "special": special});
        let add = |v: &mut Value, token| v["added_tokens"].as_array_mut().unwrap().push(token);
        check(|v| add(v, token("<x>", 400, true)), "`<x>`");
        check(|v| add(v, token("<0x41>", 3 + 0x41, true)), "byte piece `<0x41>`");
        check(|v| add(v, token("aa", 260, false)), "not special");
        check(|v| add(v, token("bb", 260, true)), "which is `aa`");
    }

    #[test]
    fn merges_that_scores_cannot_express_are_refused() {
        let merges = |v: &mut Value| v["model"]["merges"].as_array().unwrap().len();
        let mut value = tokenizer_json(&tokenizer().vocabulary);
        // `_aa` and `aaa` can each be made in two ways.
        assert_eq!(merges(&mut value), 7);
        let list = |v: &mut Value, change: fn(&mut Vec<Value>)| {
            change(v["model"]["merges"].as_array_mut().unwrap());
        };
        check(|v| list(v, |merges| drop(merges.pop())), "is missing");
        check(|v| list(v, |merges| merges.swap(3, 4)), "stand apart");
        check(|v| list(v, |merges| merges.push(json!(["a", "中"]))), "pieces to a piece");
        check(|v| list(v, |merges| merges.push(json!("aa"))), "no space");
    }
}
