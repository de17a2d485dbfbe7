//! The real binary on bad input: raw text that is damaged, empty or no text.

use std::io::Write as _;

use crate::WRONG_INPUT;
use crate::program::{Outcome, Workplace};

/// Runs the data recipe with `raw/en.jsonl` replaced by a file of this name and content.
fn read_raw(name: &str, content: impl AsRef<[u8]>) -> (Workplace, Outcome) {
    let place = Workplace::new();
    place.write_raw_text();
    place.write(&format!("raw/{name}"), content);
    let input = format!("source.0.input=[\"raw/{name}\"]");
    let outcome = place.neo(&["data", "run", "data.toml", "--out", "data", "--set", &input]);
    (place, outcome)
}

/// A gzip or zstd file of many lines, cut in the middle.
fn truncated(packer: &str) -> Vec<u8> {
    let lines: String =
        (0..5000).map(|i| format!("{{\"text\":\"line {i} {}\"}}\n", i * 7919 % 104_729)).collect();
    let mut packed = match packer {
        "gz" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(lines.as_bytes()).expect("memory is writable");
            encoder.finish().expect("memory is writable")
        }
        _ => zstd::encode_all(lines.as_bytes(), 3).expect("memory is writable"),
    };
    packed.truncate(packed.len() / 2);
    packed
}

#[test]
fn a_missing_file_is_named() {
    let place = Workplace::new();
    place
        .neo(&["train", "nowhere.toml", "--out", "run"])
        .check(WRONG_INPUT, &["error: cannot access `nowhere.toml`", "caused by: No such file"]);
    place.write_raw_text();
    fs_err::remove_file(place.path("raw/zh.jsonl")).expect("the file is there");
    place.neo(&["data", "run", "data.toml", "--out", "data"]).check(WRONG_INPUT, &["raw/zh.jsonl"]);
}

#[test]
fn a_truncated_gzip_file_is_no_short_corpus() {
    let (place, outcome) = read_raw("cut.jsonl.gz", truncated("gz"));
    outcome.check(WRONG_INPUT, &["raw/cut.jsonl.gz", "truncated"]);
    assert!(!place.path("data/corpus/corpus.json").exists());
}

#[test]
fn a_truncated_zstd_file_is_no_short_corpus() {
    let (place, outcome) = read_raw("cut.jsonl.zst", truncated("zst"));
    outcome.check(WRONG_INPUT, &["raw/cut.jsonl.zst", "truncated"]);
    assert!(!place.path("data/corpus/corpus.json").exists());
}

/// The account's count of bad records of a kind, after a run that went through.
fn bad_records(place: &Workplace, reason: &str) -> String {
    let account = fs_err::read_to_string(place.path("data/account.json")).expect("an account");
    let account: serde_json::Value = serde_json::from_str(&account).expect("JSON");
    let bad = find_key(&account, reason);
    bad.map_or_else(|| format!("no `{reason}` in {account}"), ToString::to_string)
}

/// The first value under a key, at any depth.
fn find_key<'a>(value: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => {
            map.get(key).or_else(|| map.values().find_map(|inner| find_key(inner, key)))
        }
        serde_json::Value::Array(list) => list.iter().find_map(|inner| find_key(inner, key)),
        _ => None,
    }
}

#[test]
fn invalid_utf8_is_a_counted_record() {
    let mut lines = b"{\"id\":\"1\",\"text\":\"broken \xff\xfe here\"}\n".to_vec();
    lines.extend_from_slice(b"{\"id\":\"2\",\"text\":\"a whole line of text\"}\n");
    let (place, outcome) = read_raw("bytes.jsonl", lines);
    outcome.check(0, &[]);
    assert!(
        bad_records(&place, "invalid_utf8").contains('1'),
        "{}",
        bad_records(&place, "invalid_utf8")
    );
}

#[test]
fn a_line_without_the_text_field_is_a_counted_record() {
    let lines =
        "{\"id\":\"1\",\"body\":\"wrong field\"}\n{\"id\":\"2\",\"text\":\"right field\"}\n";
    let (place, outcome) = read_raw("fields.jsonl", lines);
    outcome.check(0, &[]);
    assert!(bad_records(&place, "no_text").contains('1'), "{}", bad_records(&place, "no_text"));
}

#[test]
fn an_empty_corpus_is_refused() {
    let place = Workplace::new();
    place.write_raw_text();
    place.write("raw/en.jsonl", "");
    place.write("raw/zh.jsonl", "");
    place
        .neo(&["data", "run", "data.toml", "--out", "data"])
        .check(WRONG_INPUT, &["error: ", "no document"]);
    assert!(!place.path("data/corpus/corpus.json").exists());
}
