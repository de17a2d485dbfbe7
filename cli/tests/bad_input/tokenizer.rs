//! The real binary on tokenizers and texts that it cannot use: each case names the file and what was
//! expected, ends with exit code 2, and writes nothing.

use crate::WRONG_INPUT;
use crate::program::{Outcome, Workplace, snapshot};

/// A folder with texts, `in.jsonl`, and a tokenizer trained on them, `trained/`.
fn trained() -> Workplace {
    let place = Workplace::new();
    let words = "the river ran past the old mill and the miller ground the corn";
    let line = |source| {
        let text = format!("\"text\":\"{words}\",\"language\":\"en\"");
        format!("{{\"source\":\"{source}\",{text},\"meta\":{{}}}}\n")
    };
    place.write("in.jsonl", line("a") + &line("b"));
    train(&place, "trained", &["--vocab-size", "300"]).check(0, &[]);
    place
}

fn train(place: &Workplace, out: &str, more: &[&str]) -> Outcome {
    let start = ["tokenizer", "train", "--input", "in.jsonl", "--out", out];
    place.neo(&[&start[..], more].concat())
}

/// Imports `name` after it was made from a file of the trained tokenizer.
fn import_changed(from: &str, name: &str, change: impl FnOnce(&mut Vec<u8>), expected: &[&str]) {
    let place = trained();
    let mut bytes = fs_err::read(place.path(&format!("trained/{from}"))).expect("a trained file");
    change(&mut bytes);
    place.write(name, bytes);
    let before = snapshot(&place.path("."));
    let expected = [&[name], expected].concat();
    place.neo(&["tokenizer", "import", name, "--out", "imported"]).check(WRONG_INPUT, &expected);
    place
        .neo(&["tokenizer", "encode", "--tokenizer", name, "--jsonl", "in.jsonl"])
        .check(WRONG_INPUT, &expected);
    assert!(snapshot(&place.path(".")) == before, "a refused tokenizer leaves nothing behind");
}

fn import_model(change: impl FnOnce(&mut Vec<u8>), expected: &[&str]) {
    import_changed("tokenizer.model", "changed.model", change, expected);
}

fn import_json(change: impl FnOnce(&mut serde_json::Value), expected: &[&str]) {
    let change = |bytes: &mut Vec<u8>| {
        let mut value = serde_json::from_slice(bytes).expect("a JSON file");
        change(&mut value);
        *bytes = value.to_string().into_bytes();
    };
    import_changed("tokenizer.json", "changed.json", change, expected);
}

/// Replaces the last of these bytes: the settings stand behind the pieces.
fn replace_last(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places = bytes.windows(from.len()).rposition(|window| window == from);
    let place = places.expect("the field is in the file");
    bytes[place..place + to.len()].copy_from_slice(to);
}

#[test]
fn a_corrupt_model_is_refused() {
    import_model(|bytes| bytes.truncate(bytes.len() / 2), &["expected a SentencePiece model"]);
    import_model(|bytes| *bytes = b"not a model\n".to_vec(), &["expected a SentencePiece model"]);
    import_model(Vec::clear, &["model type `unigram`"]);
}

#[test]
fn a_model_that_is_no_bpe_is_refused() {
    // Field 3 of the trainer's settings: 2 is BPE, 1 unigram, 3 word.
    let model_type =
        |number| move |bytes: &mut Vec<u8>| replace_last(bytes, &[0x18, 2], &[0x18, number]);
    import_model(model_type(1), &["model type `unigram`, only `bpe` is supported"]);
    import_model(model_type(3), &["model type `word`, only `bpe` is supported"]);
}

#[test]
fn a_model_without_byte_pieces_is_refused() {
    // Field 35 of the trainer's settings.
    let fallback = |bytes: &mut Vec<u8>| replace_last(bytes, &[0x98, 2, 1], &[0x98, 2, 0]);
    import_model(fallback, &["has no byte pieces", "expected all 256"]);
    let other_name = |bytes: &mut Vec<u8>| replace_last(bytes, b"<0x41>", b"<0y41>");
    import_model(other_name, &["no byte piece `<0x41>`, expected all 256"]);
}

#[test]
fn a_tokenizer_json_of_another_kind_is_refused() {
    let kind =
        |name: &'static str| move |v: &mut serde_json::Value| v["model"]["type"] = name.into();
    import_json(kind("Unigram"), &["has model `Unigram`, only `BPE` is supported"]);
    import_json(kind("WordPiece"), &["has model `WordPiece`, only `BPE` is supported"]);
    import_json(
        |v| v["pre_tokenizer"] = serde_json::json!({"type": "ByteLevel"}),
        &["pre_tokenizer `ByteLevel`", "expected none"],
    );
    import_json(|v| v["model"]["byte_fallback"] = false.into(), &["`byte_fallback`"]);
    import_json(|v| *v = serde_json::json!({"vocab": {}}), &["expected a `tokenizer.json`"]);
}

#[test]
fn a_tokenizer_json_without_byte_pieces_is_refused() {
    let rename = |v: &mut serde_json::Value| {
        let vocab = v["model"]["vocab"].as_object_mut().expect("a map");
        let id = vocab.remove("<0x41>").expect("a byte piece");
        vocab.insert("<byte 41>".to_owned(), id);
    };
    import_json(rename, &["`<0x41>`"]);
}

#[test]
fn a_tokenizer_that_is_not_there_is_named() {
    let place = trained();
    for path in ["nowhere.model", "nowhere"] {
        let verb = ["tokenizer", "export", path, "--out", "out"];
        place.neo(&verb).check(WRONG_INPUT, &[path]);
    }
    let folder = ["tokenizer", "export", ".", "--out", "out"];
    place.neo(&folder).check(WRONG_INPUT, &["neither `tokenizer.model` nor `tokenizer.json`"]);
}

#[test]
fn an_empty_training_corpus_is_refused() {
    let place = Workplace::new();
    let empty = "corpus for the tokenizer is empty, expected text";
    let cases = [
        ("", empty),
        ("\n\n", empty),
        ("{\"text\":\"\"}\n", empty),
        ("{\"body\":\"no text\"}\n", "no field `text`, found `body`"),
    ];
    for (nothing, expected) in cases {
        place.write("in.jsonl", nothing);
        train(&place, "out", &["--vocab-size", "300"]).check(WRONG_INPUT, &[expected]);
        assert!(!place.path("out").exists());
    }
}

#[test]
fn a_vocabulary_that_the_corpus_does_not_allow_is_refused() {
    let place = trained();
    let too_large =
        ["vocabulary of `64000` pieces is larger than the corpus allows, expected at most"];
    train(&place, "out", &["--vocab-size", "64000"]).check(WRONG_INPUT, &too_large);
    let too_small = ["vocabulary of `100` pieces is too small, expected at least"];
    train(&place, "out", &["--vocab-size", "100"]).check(WRONG_INPUT, &too_small);
    assert!(!place.path("out").exists());
}

#[test]
fn training_settings_that_make_no_sense_are_refused() {
    let place = trained();
    let cases: [(&[&str], &str); 6] = [
        (&["--character-coverage", "1.5"], "character coverage is `1.5`"),
        (&["--weight", "a"], "expected SOURCE=ROUNDS"),
        (&["--weight", "a=b"], "`b` is no number of rounds"),
        (&["--weight", "a=-1"], "weight of source `a` is `-1`"),
        (&["--weight", "c=2"], "weight of source `c` is for no text"),
        (&["--memory", "0"], "corpus for the tokenizer is empty"),
    ];
    for (options, expected) in cases {
        let options = [&["--vocab-size", "300"], options].concat();
        train(&place, "out", &options).check(WRONG_INPUT, &[expected]);
    }
    train(&place, "out", &["--vocab-size", "300", "--weight", "a=2", "--weight", "b=0.5"])
        .check(0, &[]);
}

#[test]
fn files_of_another_tokenizer_are_never_written_over() {
    let place = trained();
    let before = snapshot(&place.path("trained"));
    let taken = ["`trained` already holds a `tokenizer.model`", "hint: give another folder"];
    train(&place, "trained", &["--vocab-size", "290"]).check(WRONG_INPUT, &taken);
    let import = ["tokenizer", "import", "trained/tokenizer.json", "--out", "trained"];
    place.neo(&import).check(WRONG_INPUT, &taken);
    assert!(snapshot(&place.path("trained")) == before);
}

#[test]
fn tokenizers_are_compared_on_texts_only() {
    let place = trained();
    place.write("empty.jsonl", "\n");
    let start = ["tokenizer", "compare", "trained", "trained/tokenizer.json", "--input"];
    let compare = |more: &[&str]| place.neo(&[&start[..], more].concat());
    compare(&["empty.jsonl"]).check(WRONG_INPUT, &["holds no text to compare on"]);
    compare(&["zh=nowhere.jsonl"])
        .check(WRONG_INPUT, &["is `nowhere.jsonl`, which does not exist"]);
    let outcome = compare(&["en=in.jsonl", "--plot", "plots/plot.svg"]).check(0, &[]);
    let lines: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("en ")).collect();
    assert_eq!(lines.len(), 2, "{}", outcome.stdout);
    assert!(lines[0].contains(" trained ") && lines[1].contains(" trained/tokenizer.json "));
    let plot = fs_err::read_to_string(place.path("plots/plot.svg")).expect("a plot");
    assert!(plot.contains("paper, en: 3.311"));
}
