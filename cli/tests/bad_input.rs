//! The real binary on bad input: each case names what is wrong, where, and what was expected, ends
//! with the designed exit code, and leaves what was good as it was.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod program;
#[path = "bad_input/tokenizer.rs"]
mod tokenizer;
#[path = "program/training.rs"]
mod training;

use std::io::Write as _;
use std::process::Command;

use program::{Outcome, Workplace, snapshot};
use training::TRAIN_RECIPE;

const TRAIN: [&str; 6] = ["train", "train.toml", "--out", "run", "--device", "flex"];

/// Exit code for wrong usage or input.
const WRONG_INPUT: i32 = 2;
/// Exit code for a failure that is not the input's fault.
const FAILED: i32 = 1;

// ---- raw text ----

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

// ---- deduplication ----

/// Two copies, a near copy and one of its own, each with a sentence twice; English in JSONL.
const COPIES: &str = "\
{\"id\":\"b\",\"text\":\"The river ran past the old mill and never came back. Twice. Twice.\\nA line.\"}\n\
{\"id\":\"a\",\"text\":\"The river ran past the old mill and never came back. Twice. Twice.\\nA line.\"}\n\
{\"id\":\"c\",\"text\":\"THE RIVER ran past the old mill, and never came back! Twice; twice.\\nA line.\"}\n\
{\"id\":\"d\",\"text\":\"In spring the miller ground the corn of a village. So. So.\\nA line.\"}\n";

/// `neo data dedup METHOD ..` over these records.
fn dedup(method: &str, records: &str, more: &[&str]) -> (Workplace, Outcome) {
    let place = Workplace::new();
    place.write("in.jsonl", records);
    let outcome = dedup_in(&place, method, more);
    (place, outcome)
}

fn dedup_in(place: &Workplace, method: &str, more: &[&str]) -> Outcome {
    let _ = fs_err::remove_dir_all(place.path("out"));
    let start = ["data", "dedup", method, "--input", "in.jsonl", "--out", "out"];
    place.neo(&[&start[..], &["--format", "jsonl"], more].concat())
}

/// Ids of the records of a result, in its order.
fn ids(place: &Workplace, name: &str) -> Vec<String> {
    let text = fs_err::read_to_string(place.path(&format!("out/{name}.jsonl"))).expect("a result");
    let id = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        record["id"].as_str().expect("an id").to_owned()
    };
    text.lines().map(id).collect()
}

#[test]
fn every_method_keeps_drops_and_changes_what_it_should() {
    let check = |method: &str, kept: &[&str], dropped: &[&str], changed: &[&str]| {
        let (place, outcome) = dedup(method, COPIES, &["--json"]);
        let outcome = outcome.check(0, &[]);
        assert!(outcome.stdout.contains("\"documents\": 4"), "{}", outcome.stdout);
        assert_eq!(ids(&place, "kept"), kept, "{method}");
        assert_eq!(ids(&place, "dropped"), dropped, "{method}");
        if method != "words" {
            assert_eq!(ids(&place, "changed"), changed, "{method}");
        }
    };
    check("exact", &["a", "c", "d"], &["b"], &[]);
    check("words", &["b", "c", "d"], &["a"], &[]);
    check("minhash", &["a", "d"], &["b", "c"], &[]);
    check("paragraph", &["a", "c", "d"], &["b"], &["c", "d"]);
    check("substring", &["a", "c", "d"], &["b"], &[]);
    check("lines", &["b", "a", "c", "d"], &[], &["b", "a", "d"]);
}

#[test]
fn new_documents_are_compared_with_an_index() {
    for method in ["exact", "minhash"] {
        let (place, outcome) = dedup(method, COPIES, &["--index", "kept.index"]);
        outcome.check(0, &[]);
        place.write("in.jsonl", COPIES.replace("\"id\":\"", "\"id\":\"A"));
        let again = dedup_in(&place, method, &["--index", "kept.index"]);
        again.check(WRONG_INPUT, &["no document is left", "copy_of"]);
        assert_eq!(ids(&place, "dropped"), ["Ab", "Aa", "Ac", "Ad"], "{method}");
        let other = if method == "exact" { "minhash" } else { "exact" };
        let wrong = dedup_in(&place, other, &["--index", "kept.index"]);
        wrong.check(WRONG_INPUT, &["kept.index", &format!("keys of `{method}"), "expected"]);
        flip_a_byte(&place, "kept.index");
        let damaged = dedup_in(&place, method, &["--index", "kept.index"]);
        damaged.check(WRONG_INPUT, &["kept.index", "not a whole index"]);
    }
}

#[test]
fn what_cannot_be_deduplicated_is_told() {
    let other_field = "{\"id\":\"1\",\"body\":\"x\"}\n";
    for method in ["exact", "minhash", "paragraph", "substring", "lines"] {
        let (place, outcome) = dedup(method, other_field, &[]);
        outcome.check(WRONG_INPUT, &["in.jsonl", "no field `text`, found `id`, `body`"]);
        assert!(!place.path("out/kept.jsonl").exists(), "{method}");
        let (_, outcome) = dedup(method, "", &[]);
        outcome.check(WRONG_INPUT, &["the input holds no record"]);
        let place = Workplace::new();
        dedup_in(&place, method, &[]).check(WRONG_INPUT, &["in.jsonl"]);
    }
    let refused = |method: &str, more: &[&str], expected: &[&str]| {
        dedup(method, COPIES, more).1.check(WRONG_INPUT, expected);
    };
    refused("minhash", &["--scheme", "affine"], &["affine", "original", "fast"]);
    refused("minhash", &["--normalise", "zh"], &["by-language", "english", "none"]);
    refused("paragraph", &["--mode", "strict"], &["faithful", "corrected"]);
    refused("lines", &["--proportion", "1.5"], &["`--proportion` is 1.5, expected 0 to 1"]);
    refused("lines", &["--proportion", "NaN"], &["expected 0 to 1"]);
}

// ---- recipes ----

/// Trains by a recipe in which `from` is replaced by `to`.
fn check_recipe(from: &str, to: &str, expected: &[&str]) {
    let place = Workplace::new();
    let recipe = TRAIN_RECIPE.replacen(from, to, 1);
    assert_ne!(recipe, TRAIN_RECIPE, "`{from}` is not in the recipe");
    place.write("train.toml", recipe);
    place.neo(&TRAIN).check(WRONG_INPUT, expected);
    assert!(!place.path("run").exists(), "a refused recipe leaves nothing");
}

#[test]
fn an_unknown_key_is_told_with_line_and_nearest_name() {
    let line = TRAIN_RECIPE.lines().position(|line| line.starts_with("weight_decay"));
    let line = format!("line {}", line.expect("the recipe has this key") + 1);
    check_recipe(
        "weight_decay",
        "weigth_decay",
        &["train.toml", &line, "unknown key `optimizer.weigth_decay`", "`weight_decay`"],
    );
}

#[test]
fn a_wrong_type_is_told_with_line_expected_and_found() {
    let line = TRAIN_RECIPE.lines().position(|line| line.starts_with("beta1"));
    let line = format!("line {}", line.expect("the recipe has this key") + 1);
    check_recipe(
        "beta1 = 0.9",
        "beta1 = \"high\"",
        &["train.toml", &line, "`optimizer.beta1` is the string `high`, expected a number"],
    );
}

#[test]
fn heads_that_do_not_divide_are_told() {
    check_recipe("n_kv_heads = 2", "n_kv_heads = 3", &["train.toml", "`n_heads` is `4`", "`3`"]);
}

// ---- rules ----

/// Filters one document by a rule set.
fn filter(place: &Workplace, more: &[&str]) -> Outcome {
    place.write("in.jsonl", "{\"id\":\"1\",\"text\":\"one line\"}\n");
    place.neo(&[&["data", "filter", "--input", "in.jsonl", "--out", "out"], more].concat())
}

#[test]
fn a_missing_asset_is_told_with_file_and_rule() {
    let place = Workplace::new();
    let rules = ["--rules", "matrix-en"];
    filter(&place, &rules)
        .check(WRONG_INPUT, &["error: rule `E1` needs `punkt_tab/english`", "`--assets`"]);
    let assets = [&rules[..], &["--assets", "lists"]].concat();
    filter(&place, &assets)
        .check(WRONG_INPUT, &["`lists/punkt_tab/english` is missing, which rule `E1` needs"]);
    place.write("bad.toml", "measures = \"matrix-en\"\n[rules]\nE9 = { min = 0.4 }\n");
    place.write("lists/lid.176.bin", "no model");
    let model = ["--rules", "bad.toml", "--assets", "lists"];
    filter(&place, &model).check(WRONG_INPUT, &["`lists/lid.176.bin`: no fastText model"]);
    assert!(!place.path("out").exists(), "refused rules leave nothing");
}

#[test]
fn an_unknown_rule_is_told_with_line_and_nearest_name() {
    let place = Workplace::new();
    let check = |rules: &str, expected: &[&str]| {
        place.write("rules.toml", rules);
        filter(&place, &["--rules", "rules.toml"]).check(WRONG_INPUT, expected);
    };
    let rule = "measures = \"matrix-en\"\n[rules]\nE100 = { max = 1 }\n";
    check(rule, &["`rules.toml`: line 3: unknown key `rules.E100`", "nearest known key is `E10`"]);
    let limit = "measures = \"matrix-en\"\n[rules]\nE10 = { mini = 1 }\n";
    check(limit, &["line 3: unknown key `rules.E10.mini`", "nearest known key is `min`"]);
    let kind = "measures = \"matrix-eng\"\n";
    check(kind, &["line 1: `measures` is `matrix-eng`, nearest known value is `matrix-en`"]);
    filter(&place, &["--rules", "basic", "--mode", "corrected"])
        .check(WRONG_INPUT, &["`basic` has no modes"]);
}

#[test]
fn a_changed_copy_of_published_rules_is_followed() {
    let place = Workplace::new();
    let rules = "measures = \"matrix-en\"\n[rules]\nE10 = { min = 5 }\nE15 = { max = 0.1 }\n";
    place.write("rules.toml", rules);
    let lines = ["one line of words", "ONE LINE", "one"];
    let records = lines.map(|text| format!("{{\"id\":\"{text}\",\"text\":\"{text}\"}}\n"));
    place.write("in.jsonl", records.concat());
    let arguments = ["data", "filter", "--input", "in.jsonl", "--out", "out", "--format", "jsonl"];
    place.neo(&[&arguments[..], &["--rules", "rules.toml"]].concat()).check(0, &[]);
    let read = |name: &str| fs_err::read_to_string(place.path(name)).expect("a result");
    assert_eq!(read("out/kept.jsonl").lines().count(), 1);
    let dropped = read("out/dropped.jsonl");
    assert!(dropped.contains("\"rule\":\"E15\",\"value\":1.0,\"threshold\":0.1"), "{dropped}");
    assert!(dropped.contains("\"rule\":\"E10\",\"value\":3.0,\"threshold\":5.0"), "{dropped}");
}

#[test]
fn chinese_rules_rewrite_and_need_their_assets() {
    let place = Workplace::new();
    filter(&place, &["--rules", "matrix-zh", "--mode", "corrected"])
        .check(WRONG_INPUT, &["error: rule `C1` needs `ut1_urls.tsv.zst`", "`--assets`"]);
    place.write("rules.toml", "measures = \"matrix-zh\"\n[rules]\nC3 = { above = 1 }\n");
    place.write("in.jsonl", "{\"text\":\"甲。乙！\"}\n{\"text\":\"甲\"}\n");
    let arguments = ["data", "filter", "--input", "in.jsonl", "--out", "out", "--format", "jsonl"];
    place.neo(&[&arguments[..], &["--rules", "rules.toml"]].concat()).check(0, &[]);
    let read = |name: &str| fs_err::read_to_string(place.path(name)).expect("a result");
    assert!(read("out/kept.jsonl").contains("\"甲.乙!\""));
    assert!(read("out/dropped.jsonl").contains("\"rule\":\"C3\",\"value\":1.0,\"threshold\":1.0"));
}

#[test]
fn rules_set_the_language_and_are_known_by_name() {
    let place = Workplace::new();
    place.write("rules.toml", "measures = \"matrix-zh\"\n[rules]\nC3 = { above = 1 }\n");
    place.write("in.jsonl", "{\"text\":\"甲。乙！\"}\n");
    let start = ["data", "filter", "--input", "in.jsonl", "--format", "jsonl"];
    let run = |more: &[&str]| place.neo(&[&start[..], more].concat());
    run(&["--rules", "rules.toml", "--out", "a"]).check(0, &[]);
    run(&["--rules", "rules.toml", "--out", "b", "--language", "other"]).check(0, &[]);
    let kept = |name: &str| fs_err::read_to_string(place.path(name)).expect("a result");
    assert!(kept("a/kept.jsonl").contains("\"language\":\"zh\""));
    assert!(kept("b/kept.jsonl").contains("\"language\":\"other\""));
    let account = kept("a/account.json");
    assert!(account.contains("\"filter\"") && !account.contains("\"exact\""), "{account}");
    run(&["--rules", "matrix-hz", "--out", "c"])
        .check(WRONG_INPUT, &["no rule set `matrix-hz`", "the nearest is `matrix-zh`"]);
}

// ---- folders for results ----

#[test]
fn results_are_not_written_over() {
    let place = Workplace::new();
    place.write("raw/in.jsonl", "{\"text\":\"one line\"}\n");
    let ingest = |input: &str, out: &str| {
        place.neo(&["data", "ingest", "--input", input, "--out", out, "--format", "jsonl"])
    };
    ingest("raw", "out").check(0, &[]);
    let before = snapshot(&place.path("out"));
    ingest("raw/in.jsonl", "out").check(
        WRONG_INPUT,
        &["`out` already holds `account.json`", "hint: give another folder as --out"],
    );
    ingest("raw/*.jsonl", "raw").check(WRONG_INPUT, &["`raw` holds the input `raw/*.jsonl`"]);
    ingest("raw", "raw").check(WRONG_INPUT, &["`raw` holds the input `raw`"]);
    ingest("raw", "raw/in.jsonl").check(WRONG_INPUT, &["`raw/in.jsonl` is a file"]);
    let dedup = ["data", "dedup", "exact", "--input", "out/documents.jsonl", "--out", "out"];
    place.neo(&dedup).check(WRONG_INPUT, &["`out` holds the input"]);
    assert_eq!(snapshot(&place.path("out")), before);
    assert_eq!(snapshot(&place.path("raw")).len(), 1);
}

#[test]
fn nothing_kept_leaves_no_file_of_kept_documents() {
    let place = Workplace::new();
    place.write("in.jsonl", "{\"text\":\"short\"}\n");
    let start = ["data", "filter", "--rules", "basic", "--language", "en", "--input", "in.jsonl"];
    place
        .neo(&[&start[..], &["--out", "out", "--format", "jsonl"]].concat())
        .check(WRONG_INPUT, &["no document is left"]);
    assert!(!place.path("out/kept.jsonl").exists());
    assert!(place.path("out/dropped.jsonl").exists() && place.path("out/account.json").exists());
}

// ---- formats ----

#[test]
fn a_missing_column_is_told_with_those_that_are_there() {
    let place = Workplace::new();
    place.write("in.jsonl", "{\"text\":\"one line\"}\n");
    place.neo(&["data", "ingest", "--input", "in.jsonl", "--out", "out"]).check(0, &[]);
    let filter = ["data", "filter", "--rules", "basic", "--input", "out/documents.parquet"];
    place
        .neo(&[&filter[..], &["--out", "next", "--text-field", "body"]].concat())
        .check(WRONG_INPUT, &["out/documents.parquet", "no column `body`, found `id`, `text`"]);
    assert!(!place.path("next/kept.parquet").exists());
}

#[test]
fn a_warc_cut_in_the_middle_loses_its_end_and_no_more() {
    let place = Workplace::new();
    let record = |id: usize| {
        let page = format!("<html><p>The text of page number {id}, and {}.</p>", id * 7919 % 1009);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{page}");
        format!(
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:{id}>\r\n\
             Content-Length: {}\r\n\r\n{answer}\r\n\r\n",
            answer.len()
        )
    };
    let mut file = Vec::new();
    for id in 0..20 {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        encoder.write_all(record(id).as_bytes()).expect("memory is writable");
        file = encoder.finish().expect("memory is writable");
    }
    file.truncate(file.len() * 3 / 4);
    place.write("cut.warc.gz", file);
    place
        .neo(&["data", "ingest", "--input", "cut.warc.gz", "--out", "out", "--format", "jsonl"])
        .check(0, &[]);
    let dropped = fs_err::read_to_string(place.path("out/dropped.jsonl")).expect("a result");
    assert_eq!(dropped.lines().count(), 1);
    assert!(dropped.contains("truncated") && dropped.contains("cut.warc.gz:"), "{dropped}");
    assert!((10..20).contains(&ids(&place, "documents").len()));
}

#[test]
fn a_store_that_refuses_is_named_within_seconds() {
    let place = Workplace::new();
    // A port that was free a moment ago, on which nothing listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let ingest = ["data", "ingest", "--input", "s3://pages/raw/*.jsonl", "--out", "out"];
    let started = std::time::Instant::now();
    let output = place
        .command(&ingest)
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env_remove("AWS_ENDPOINT_URL_S3")
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(FAILED), "{told}");
    for part in
        ["`s3://pages/raw/*.jsonl`: the connection is refused", "hint: is the service running"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(started.elapsed().as_secs() < 30, "{told}");
}

// ---- a corpus that does not fit ----

#[test]
fn a_shard_with_a_wrong_header_is_named() {
    let place = Workplace::new();
    place.prepare_training();
    let indices: Vec<_> = fs_err::read_dir(place.path("data/corpus"))
        .expect("the corpus is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
        .collect();
    let index = indices.first().expect("a corpus has shards");
    let mut bytes = fs_err::read(index).expect("a readable file");
    bytes[..8].copy_from_slice(b"NOTSHARD");
    fs_err::write(index, bytes).expect("a writable file");
    let name = index.file_name().expect("a file has a name").to_string_lossy().into_owned();
    place.neo(&TRAIN).check(WRONG_INPUT, &[&name, "NEOSHARD"]);
}

#[test]
fn a_model_with_too_few_rows_for_the_vocabulary_is_refused() {
    let place = Workplace::new();
    place.prepare_training();
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--set", "model.vocab_size=300"]);
    place.neo(&arguments).check(WRONG_INPUT, &["vocab", "300", "345"]);
    assert!(!place.path("run/checkpoints").exists());
}

#[test]
fn an_unknown_device_is_told_with_the_known_ones() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let outcome = place.neo(&["train", "train.toml", "--out", "run", "--device", "tpu"]);
    outcome.check(WRONG_INPUT, &["unknown device `tpu`", "`flex`", "`cuda[:n]`"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_model_larger_than_the_machine_is_refused_at_once() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let huge = "model.n_layers=1000000000";
    let problem = ["weights, gradients and moments need", "GiB, this machine has", "`neo plan`"];
    place.neo(&[&TRAIN[..], &["--set", huge]].concat()).check(WRONG_INPUT, &problem);
    assert!(!place.path("run").exists(), "a run folder was made");
    let bench = ["bench", "step", "--recipe", "train.toml", "--set", huge, "--device", "flex"];
    place.neo(&bench).check(WRONG_INPUT, &problem);
}

#[test]
fn a_refused_recipe_leaves_the_run_folder_free() {
    let place = Workplace::new();
    place.prepare_training();
    let wrong = [&TRAIN[..], &["--set", "phase.0.mixture.nowhere=1.0"]].concat();
    let problem = ["mixture names source `nowhere`", "which has `en`, `zh`"];
    place.neo(&wrong).check(WRONG_INPUT, &problem);
    place.neo(&TRAIN).check(0, &["finished; newest checkpoint: run/checkpoints/step-"]);
}

#[test]
fn a_corpus_of_another_tokenizer_is_refused() {
    let place = trained();
    let other = ["--set", "tokenizer.train.n_pieces=320", "--out", "other"];
    place.neo(&[&["data", "run", "data.toml"], &other[..]].concat()).check(0, &[]);
    let checkpoints = fs_err::read_dir(place.path("run/checkpoints")).expect("a run");
    let newest = checkpoints.map(|entry| entry.expect("a folder").path()).max();
    let newest = newest.expect("a checkpoint").display().to_string();
    let eval = ["eval", "--model", &newest, "--corpus", "other/corpus", "--device", "flex"];
    place.neo(&eval).check(WRONG_INPUT, &["have different tokenizers", "neo data tokenize"]);
}

// ---- a run that is already there ----

/// A finished run in `run`.
fn trained() -> Workplace {
    let place = Workplace::new();
    place.prepare_training();
    place.neo(&TRAIN).check(0, &[]);
    place
}

fn resume(place: &Workplace, more: &[&str]) -> Outcome {
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--resume", "auto"]);
    arguments.extend(more);
    place.neo(&arguments)
}

/// Flips one bit in the middle of a file.
fn flip_a_byte(place: &Workplace, name: &str) {
    let path = place.path(name);
    let mut bytes = fs_err::read(&path).expect("a readable file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, bytes).expect("a writable file");
}

#[test]
fn a_corrupt_checkpoint_is_told_and_the_one_before_it_taken() {
    let place = trained();
    let older = place.path("run/checkpoints/step-00000006");
    let before = snapshot(&older);
    let newest = "run/checkpoints/step-00000008";
    let weights =
        fs_err::read(place.path(&format!("{newest}/model.safetensors"))).expect("weights");
    flip_a_byte(&place, &format!("{newest}/model.safetensors"));
    place.neo(&["verify", newest]).check(WRONG_INPUT, &["model.safetensors", "SHA-256"]);
    place.neo(&["export", "--model", newest, "--out", "hf"]).check(WRONG_INPUT, &["SHA-256"]);

    resume(&place, &[]).check(0, &["step-00000008", "model.safetensors"]);
    assert!(snapshot(&older) == before, "the old checkpoint is intact");
    let again = fs_err::read(place.path(&format!("{newest}/model.safetensors"))).expect("weights");
    assert!(again == weights, "the steps after it are done again, bit for bit");
}

#[test]
fn a_run_whose_checkpoints_are_all_corrupt_is_not_begun_anew() {
    let place = trained();
    for step in [4, 6, 8] {
        flip_a_byte(&place, &format!("run/checkpoints/step-{step:08}/optimizer.safetensors"));
    }
    resume(&place, &[]).check(FAILED, &["step-00000008", "optimizer.safetensors"]);
}

#[test]
fn a_changed_recipe_is_refused_on_resume() {
    let place = trained();
    let before = snapshot(&place.path("run"));
    let outcome = resume(&place, &["--set", "optimizer.beta1=0.8", "--set", "seed=2"]);
    outcome.check(WRONG_INPUT, &["`optimizer.beta1`", "`seed`"]);
    assert!(snapshot(&place.path("run")) == before, "the run is intact");
}

#[test]
fn an_out_that_holds_another_run_is_refused() {
    let place = trained();
    let before = snapshot(&place.path("run"));
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--resume", "never", "--set", "log.interval_steps=2"]);
    place.neo(&arguments).check(WRONG_INPUT, &["`run`", "hint: "]);
    assert!(snapshot(&place.path("run")) == before, "the run is intact");
}

// ---- a disk that is full ----

/// A small file system of its own in memory, or `None` where mounting is not allowed.
struct SmallDisk<'a> {
    place: &'a Workplace,
}

impl<'a> SmallDisk<'a> {
    fn mount(place: &'a Workplace, kib: u64) -> Option<Self> {
        let point = place.path("disk");
        fs_err::create_dir(&point).expect("a folder");
        let size = format!("size={kib}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&point)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { place })
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.place.path("disk")).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("the test's tmpfs at {} stays mounted", self.place.path("disk").display());
        }
    }
}

/// Size of a folder's files in KiB, as a file system with pages of 4 KiB counts them.
fn kib(place: &Workplace, name: &str) -> u64 {
    snapshot(&place.path(name))
        .iter()
        .map(|(_, content)| content.len().div_ceil(4096) as u64 * 4)
        .sum()
}

#[test]
fn a_full_disk_during_a_checkpoint_leaves_the_one_before_it() {
    let place = trained();
    let checkpoint = kib(&place, "run/checkpoints/step-00000008");
    let beside = kib(&place, "run") - kib(&place, "run/checkpoints");
    // Room for one checkpoint and half of the next.
    let Some(disk) = SmallDisk::mount(&place, beside + checkpoint * 3 / 2) else {
        println!("SKIPPED: mounting a tmpfs is not allowed here");
        return;
    };
    let outcome = place.neo(&["train", "train.toml", "--out", "disk/run", "--device", "flex"]);
    outcome
        .check(FAILED, &["error: checkpoint `", "step-00000004", "No space left", "step-00000002"]);
    place.neo(&["verify", "disk/run"]).check(0, &[]);
    let kept = snapshot(&place.path("disk/run/checkpoints"));
    assert!(
        kept.iter().all(|(path, _)| path.to_string_lossy().contains("step-00000002")),
        "nothing of the failed checkpoint is left"
    );
    drop(disk);
}
