//! The real binary on bad input: methods of deduplication, their options and their indices.

use crate::program::{Outcome, Workplace};
use crate::{WRONG_INPUT, flip_a_byte, ids};

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
