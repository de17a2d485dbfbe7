//! The real binary on bad input: rule sets, rule files and the assets that they need.

use crate::WRONG_INPUT;
use crate::program::{Outcome, Workplace};

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
    assert!(
        dropped.contains("\"rule\":\"E15\",\"value\":1.0,\"relation\":\">\",\"threshold\":0.1"),
        "{dropped}"
    );
    assert!(
        dropped.contains("\"rule\":\"E10\",\"value\":3.0,\"relation\":\"<\",\"threshold\":5.0"),
        "{dropped}"
    );
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
    assert!(
        read("out/dropped.jsonl")
            .contains("\"rule\":\"C3\",\"value\":1.0,\"relation\":\"<=\",\"threshold\":1.0")
    );
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

#[test]
fn rules_that_a_language_lacks_are_named_once() {
    let place = Workplace::new();
    let text = "This is a line of English that nobody says is English. ".repeat(3);
    place.write("in.jsonl", format!("{{\"text\":\"{text}\"}}\n").repeat(2));
    let start = ["data", "filter", "--rules", "basic", "--input", "in.jsonl"];
    let told = place.neo(&[&start[..], &["--out", "a"]].concat());
    let told = told.check(0, &["judged by 5 rules for `other`", "`n_words`", "`--language`"]);
    assert_eq!(told.stderr.matches("warning: ").count(), 1, "{}", told.stderr);
    let silent = place.neo(&[&start[..], &["--out", "b", "--language", "zh"]].concat());
    assert!(!silent.stderr.contains("skipped"), "{}", silent.stderr);
}

#[test]
fn a_stand_in_model_is_told_once() {
    let place = Workplace::new();
    place.write("rules.toml", "measures = \"matrix-en\"\n[rules]\nE9 = { min = 0.4 }\n");
    place.write("lists/lid.standin.bin", "no model");
    let model = ["--rules", "rules.toml", "--assets", "lists"];
    let told = filter(&place, &model).check(WRONG_INPUT, &["`lists/lid.standin.bin`"]);
    assert_eq!(told.stderr.matches("stands in for").count(), 1, "{}", told.stderr);
}
