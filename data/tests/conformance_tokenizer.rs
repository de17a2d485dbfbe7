//! The tokenizer against SentencePiece's own results (`golden/tokenizer/README.md`).

use std::path::{Path, PathBuf};

use neo_data::tokenizer::Tokenizer;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
