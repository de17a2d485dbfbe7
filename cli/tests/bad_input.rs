//! The real binary on bad input: each case names what is wrong, where, and what was expected, ends
//! with the designed exit code, and leaves what was good as it was. A file of `bad_input/` each kind.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod program;
#[path = "program/training.rs"]
mod training;

#[path = "bad_input/checkpoints.rs"]
mod checkpoints;
#[path = "bad_input/dedup.rs"]
mod dedup;
#[path = "bad_input/formats.rs"]
mod formats;
#[path = "bad_input/raw_text.rs"]
mod raw_text;
#[path = "bad_input/recipes.rs"]
mod recipes;
#[path = "bad_input/results.rs"]
mod results;
#[path = "bad_input/rules.rs"]
mod rules;
#[path = "bad_input/tokenizer.rs"]
mod tokenizer;

use program::Workplace;

/// Exit code for wrong usage or input.
const WRONG_INPUT: i32 = 2;
/// Exit code for a failure that is not the input's fault.
const FAILED: i32 = 1;

/// Trains by `train.toml` into `run`.
const TRAIN: [&str; 6] = ["train", "train.toml", "--out", "run", "--device", "flex"];

/// Ids of the records of a result, in its order.
fn ids(place: &Workplace, name: &str) -> Vec<String> {
    let text = fs_err::read_to_string(place.path(&format!("out/{name}.jsonl"))).expect("a result");
    let id = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        record["id"].as_str().expect("an id").to_owned()
    };
    text.lines().map(id).collect()
}

/// Flips one bit in the middle of a file.
fn flip_a_byte(place: &Workplace, name: &str) {
    let path = place.path(name);
    let mut bytes = fs_err::read(&path).expect("a readable file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&path, bytes).expect("a writable file");
}
