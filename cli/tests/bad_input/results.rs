//! The real binary on bad input: folders for results that hold something already.

use crate::WRONG_INPUT;
use crate::program::{Workplace, snapshot};

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

#[test]
fn a_folder_of_results_is_read_as_its_kept_documents() {
    let place = Workplace::new();
    let records = "{\"id\":\"a\",\"text\":\"one line\"}\n{\"id\":\"b\",\"text\":\"one line\"}\n";
    place.write("in.jsonl", records);
    let exact = |input: &str, out: &str| {
        place.neo(&["data", "dedup", "exact", "--input", input, "--out", out]).check(0, &[])
    };
    exact("in.jsonl", "first");
    assert!(place.path("first/dropped.parquet").exists());
    let stats = exact("first", "second").stdout;
    assert!(stats.contains(" 1 ") && !stats.contains("copy_of"), "{stats}");
    let stats = place.neo(&["data", "stats", "first"]).check(0, &[]).stdout;
    assert!(stats.lines().count() == 2, "{stats}");
}

#[test]
fn a_summary_says_what_documents_say_and_no_more() {
    let place = Workplace::new();
    let line = |id: &str, language: &str| {
        format!(
            "{{\"id\":\"{id}\",\"text\":\"{id}\",\"source\":\"s\",\"language\":\"{language}\",\"meta\":{{}}}}\n"
        )
    };
    place.write("in.jsonl", line("a", "zh") + &line("b", "code"));
    let outcome = place.neo(&["data", "ingest", "--input", "in.jsonl", "--out", "out"]);
    let table = outcome.check(0, &[]).stdout;
    assert!(table.contains("zh,code") && !table.contains("other"), "{table}");
    assert!(!table.contains("tokens") && !table.contains("b/token"), "{table}");
}

#[test]
fn an_unfinished_run_has_no_report_yet() {
    let place = Workplace::new();
    place.write_raw_text();
    place.neo(&["data", "run", "data.toml", "--out", "data"]).check(0, &[]);
    fs_err::remove_file(place.path("data/account.json")).expect("an account");
    place.neo(&["data", "report", "data"]).check(
        WRONG_INPUT,
        &[
            "`data` holds a run that is not finished",
            "`neo data run data/data_recipe.toml --out data`",
        ],
    );
    let again = ["data", "run", "data/data_recipe.toml", "--out", "data"];
    place.neo(&again).check(0, &["nothing left to do"]);
    place.neo(&["data", "report", "data"]).check(0, &[]);
}

#[test]
fn what_is_masked_is_counted_by_kind() {
    let place = Workplace::new();
    let text = "Write to jane@mail.example or joe@mail.example, or see 203.0.113.77.";
    place.write("in.jsonl", format!("{{\"text\":\"{text}\"}}\n{{\"text\":\"Nothing here.\"}}\n"));
    let start = ["data", "mask", "--input", "in.jsonl", "--format", "jsonl"];
    let mask = |more: &[&str]| place.neo(&[&start[..], more].concat());
    let table = mask(&["--out", "out"]).check(0, &[]).stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    for line in [["mail", "2", "times"], ["ip", "1", "times"]] {
        assert!(lines.iter().any(|found| *found == line), "{table}");
    }
    let kept = fs_err::read_to_string(place.path("out/kept.jsonl")).expect("a result");
    assert!(kept.contains("<EMAIL> or <EMAIL>") && kept.contains("<IP_ADDRESS>"), "{kept}");
    place.neo(&["data", "report", "out"]).check(0, &[]);
    let csv = fs_err::read_to_string(place.path("out/report.csv")).expect("a table");
    assert!(csv.contains("mask,input,(masked mail),,,,,,2\n"), "{csv}");
    let page = fs_err::read_to_string(place.path("out/report.html")).expect("a page");
    assert!(page.contains("Masked were: ip 1 times, mail 2 times."));
    let only = mask(&["--out", "only", "--kinds", "ip"]).check(0, &[]).stdout;
    assert!(only.contains("ip") && !only.contains("mail"), "{only}");
    mask(&["--out", "none", "--kinds", "name"]).check(WRONG_INPUT, &["bank_card"]);
}
