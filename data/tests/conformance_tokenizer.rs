//! The tokenizer against SentencePiece's own results (`golden/tokenizer/README.md`).

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use neo_data::tokenizer::{Tokenizer, TrainerSettings};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The folder named by a variable, or its default place; none when neither is there.
fn folder(variable: &str, default: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "`{variable}` is set to `{}`, which is no folder", named.display());
        return Some(named);
    }
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(default);
    if !default.is_dir() {
        println!("skipped: no folder `{}`; `{variable}` can name another", default.display());
        return None;
    }
    Some(default)
}

fn golden() -> Option<PathBuf> {
    folder("NEO_GOLDEN", "../shared/data/golden").map(|golden| golden.join("tokenizer"))
}

/// The only SentencePiece model of the data folder.
fn model_path() -> Option<PathBuf> {
    let folder = folder("NEO_DATA", "../shared/data")?.join("tokenizer");
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "model")).collect();
    assert_eq!(models.len(), 1, "expected one model in `{}`", folder.display());
    Some(models[0].clone())
}

fn read_zst(path: &Path) -> String {
    let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    read_zst(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Deserialize)]
struct Record {
    id: String,
    text: String,
    ids: Vec<u32>,
    /// None when decoding gives the text again.
    decoded: Option<String>,
}

/// All records of the files `neo_*.jsonl.zst`.
fn records(golden: &Path) -> Vec<Record> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_record_file = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("neo_") && name.ends_with(".jsonl.zst")
    };
    let records: Vec<Record> =
        paths.iter().filter(is_record_file).flat_map(|path| read_jsonl(path)).collect();
    assert!(!records.is_empty(), "no record in `{}`", golden.display());
    records
}

fn check_records(tokenizer: &Tokenizer, records: &[Record]) {
    for record in records {
        assert_eq!(tokenizer.encode(&record.text), record.ids, "ids of `{}`", record.id);
        let expected = record.decoded.as_ref().unwrap_or(&record.text);
        assert_eq!(&tokenizer.decode(&record.ids), expected, "text of `{}`", record.id);
        let mut stream = tokenizer.text_stream();
        let mut streamed: String = record.ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.finish());
        assert_eq!(&streamed, expected, "streamed text of `{}`", record.id);
    }
    println!("{} records equal", records.len());
}

#[test]
fn conformance_ids_and_texts_equal_sentence_piece() {
    let (Some(golden), Some(model)) = (golden(), model_path()) else { return };
    let tokenizer = Tokenizer::from_path(&model).unwrap();
    check_records(&tokenizer, &records(&golden));
}

/// The released model, by the SHA-256 that the fact sheet gives it.
const RELEASED: &str = "f6a2447b0e5664cabb2481587597102d82f42f0ccb7ef22e1c2d95494a8b03c5";

/// Ids of the released model for texts of the fact sheet (map-neo.md 2.3).
const VECTORS: [(&str, &[u32]); 9] = [
    ("The capital of Japan is the city of", &[469, 8303, 303, 6523, 345, 272, 3665, 303]),
    ("3 + 4 =", &[56166, 56225, 570, 56166, 56229, 308]),
    (
        "def add(a, b):\n    return a +",
        &[695, 826, 56193, 56170, 56186, 288, 1811, 13, 56166, 56166, 56166, 534, 262, 570],
    ),
    ("中国的首都是", &[4088, 19328, 2516]),
    ("画蛇添", &[56166, 57014, 58788, 57495]),
    (
        "# 计算两数之和\ndef add(a, b):\n    return a +",
        &[
            632, 56166, 3475, 56520, 56378, 56007, 13, 1050, 826, 56193, 56170, 56186, 288, 1811,
            13, 56166, 56166, 56166, 534, 262, 570,
        ],
    ),
    ("2024", &[56166, 56205, 56196, 56205, 56229]),
    (" x", &[56166, 893]),
    ("a\tb  c", &[262, 12, 56188, 56166, 271]),
];

#[test]
fn conformance_vectors_of_the_fact_sheet() {
    let Some(model) = model_path() else { return };
    let digest = Sha256::digest(std::fs::read(&model).unwrap());
    if digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() != RELEASED {
        println!("skipped: `{}` is not the released model", model.display());
        return;
    }
    let tokenizer = Tokenizer::from_path(&model).unwrap();
    for (text, ids) in VECTORS {
        assert_eq!(tokenizer.encode(text), ids, "{text:?}");
        assert_eq!(tokenizer.decode(ids), text);
    }
    assert_eq!(tokenizer.piece(tokenizer.eod_id()), Some("<|EOD|>"));
}

#[test]
fn conformance_saved_files_are_the_same_tokenizer() {
    let (Some(golden), Some(model)) = (golden(), model_path()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::from_path(&model).unwrap();
    tokenizer.save(folder.path()).unwrap();
    let saved = std::fs::read(folder.path().join("tokenizer.model")).unwrap();
    assert!(saved == std::fs::read(&model).unwrap(), "the saved model has other bytes");
    let from_json = Tokenizer::from_path(&folder.path().join("tokenizer.json")).unwrap();
    assert_eq!(from_json.vocab_hash(), tokenizer.vocab_hash());
    check_records(&from_json, &records(&golden));
}

/// What `transformers`' fast tokenizers do with the written `tokenizer.json`.
#[test]
fn conformance_hugging_face_encodes_the_same() {
    let (Some(golden), Some(model)) = (golden(), model_path()) else { return };
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::from_path(&model).unwrap().save(folder.path()).unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut theirs = tokenizers::Tokenizer::from_file(path).unwrap();
    // Special-token strings in a text are plain text, as in the golden records.
    theirs.set_encode_special_tokens(true);
    for record in records(&golden) {
        let encoding = theirs.encode(record.text.as_str(), false).unwrap();
        assert_eq!(encoding.get_ids(), record.ids, "ids of `{}`", record.id);
        let expected = record.decoded.as_ref().unwrap_or(&record.text);
        assert_eq!(&theirs.decode(&record.ids, true).unwrap(), expected, "`{}`", record.id);
    }
}

/// Any text without U+2581 comes back, whatever the vocabulary has of it.
#[test]
fn conformance_decoding_undoes_encoding() {
    let Some(model) = model_path() else { return };
    let tokenizer = Tokenizer::from_path(&model).unwrap();
    let text = "(\\PC|.|[ \n\ta-z的一是不了人0-9<>]){0,120}";
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(text in text)| {
        prop_assume!(!text.contains('\u{2581}'));
        let ids = tokenizer.encode(&text);
        prop_assert_eq!(tokenizer.decode(&ids), text.clone());
        let mut stream = tokenizer.text_stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.finish());
        prop_assert_eq!(streamed, text);
    });
}

/// A conversation of `golden/align/chat.json` in both renderings.
#[derive(Deserialize)]
struct Conversation {
    messages: serde_json::Value,
    compat: Rendering,
    corrected: Rendering,
}

#[derive(Deserialize)]
struct Rendering {
    text: String,
}

#[test]
fn conformance_chat_templates_render_the_golden_texts() {
    let (Some(golden), Some(model)) = (golden(), model_path()) else { return };
    let chat = std::fs::read_to_string(golden.join("../align/chat.json")).unwrap();
    let mut chat: serde_json::Value = serde_json::from_str(&chat).unwrap();
    let conversations: Vec<Conversation> =
        serde_json::from_value(chat["conversations"].take()).unwrap();
    assert!(!conversations.is_empty(), "no conversation");
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::from_path(&model).unwrap().save(folder.path()).unwrap();
    let config = std::fs::read_to_string(folder.path().join("tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let templates = minijinja::Environment::new();
    let render = |name: &str, messages: &serde_json::Value| {
        let named = config["chat_template"].as_array().unwrap();
        let entry = named.iter().find(|entry| entry["name"] == name).unwrap();
        let source = entry["template"].as_str().unwrap();
        let context = serde_json::json!({"messages": messages});
        templates.render_str(source, minijinja::value::Serde(&context)).unwrap()
    };
    for conversation in conversations {
        assert_eq!(render("default", &conversation.messages), conversation.corrected.text);
        assert_eq!(render("compat", &conversation.messages), conversation.compat.text);
    }
}

/// What SentencePiece's own trainer made of the sample.
#[derive(Deserialize)]
struct TrainResults {
    trainer: TrainerRecord,
    runs: Vec<RunRecord>,
}

#[derive(Deserialize)]
struct TrainerRecord {
    character_coverage: f64,
    max_sentencepiece_length: usize,
}

#[derive(Deserialize)]
struct RunRecord {
    vocab_size: usize,
    /// None for the released model, which was not trained on the sample.
    multi: Option<usize>,
    heldback: BTreeMap<String, HeldBackRecord>,
}

#[derive(Deserialize)]
struct HeldBackRecord {
    bytes_per_token: f64,
}

#[derive(Deserialize)]
struct HeldBackLine {
    lang: String,
    text: String,
}

/// UTF-8 bytes per id by language, one line at a time.
fn bytes_per_token(tokenizer: &Tokenizer, lines: &[HeldBackLine]) -> BTreeMap<String, f64> {
    let mut totals: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in lines {
        let (n_bytes, n_ids) = totals.entry(line.lang.clone()).or_default();
        *n_bytes += line.text.len();
        *n_ids += tokenizer.encode(&line.text).len();
    }
    let ratio = |(n_bytes, n_ids): (usize, usize)| n_bytes as f64 / n_ids as f64;
    totals.into_iter().map(|(language, totals)| (language, ratio(totals))).collect()
}

#[test]
fn conformance_training_comes_close_to_sentence_piece() {
    let Some(golden) = golden() else { return };
    let results = std::fs::read_to_string(golden.join("train_results.json")).unwrap();
    let results: TrainResults = serde_json::from_str(&results).unwrap();
    let sample = read_zst(&golden.join("train_sample.txt.zst"));
    let held_back: Vec<HeldBackLine> = read_jsonl(&golden.join("train_heldback.jsonl.zst"));
    let mut n_runs = 0;
    for run in results.runs.iter().filter(|run| run.multi.is_some()) {
        let settings = TrainerSettings {
            character_coverage: results.trainer.character_coverage,
            max_piece_chars: results.trainer.max_sentencepiece_length,
            ..TrainerSettings::neo(run.vocab_size)
        };
        let tokenizer = Tokenizer::train([("", &sample)], &settings, &mut |_, _| ()).unwrap();
        let name = format!("bpe{}_vocab.jsonl.zst", run.vocab_size);
        let golden_pieces: Vec<(String, f32, String)> = read_jsonl(&golden.join(name));
        let ours: HashSet<&str> =
            (0..run.vocab_size as u32).map(|id| tokenizer.piece(id).unwrap()).collect();
        let n_equal = golden_pieces.iter().filter(|(text, ..)| ours.contains(&**text)).count();
        let share = n_equal as f64 / golden_pieces.len() as f64;
        println!("{} pieces: {share:.5} of them equal", run.vocab_size);
        assert!(share >= 0.99, "{share} of {} pieces are equal", run.vocab_size);
        let measured = bytes_per_token(&tokenizer, &held_back);
        for (language, expected) in &run.heldback {
            let ratio = measured[language] / expected.bytes_per_token;
            println!("  {language}: {ratio:.5} times SentencePiece's bytes per token");
            assert!((ratio - 1.0).abs() <= 0.005, "{language}: {ratio}");
        }
        n_runs += 1;
    }
    assert!(n_runs > 0, "no training run in the results");
}
