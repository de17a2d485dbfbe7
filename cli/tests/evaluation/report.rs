//! `neo eval report` on checkpoints of a tiny model: what the page holds, what it refuses.

use super::WRONG_INPUT;
use super::benchmarks::{CHOICE, eval, place};
use super::program::Workplace;

/// Evaluates the checkpoint after a step to `NAME.json` and `NAME.jsonl`.
fn evaluate(place: &Workplace, step: u64, name: &str, more: &[&str]) {
    let model = format!("run/checkpoints/step-{step:08}");
    let (out, samples) = (format!("{name}.json"), format!("{name}.jsonl"));
    let mut arguments = vec!["eval", "--model", &model, "--device", "flex"];
    arguments.extend(["--out", &out, "--samples", &samples]);
    arguments.extend(more);
    place.neo(&arguments).check(0, &[]);
}

/// The page of these files.
fn page(place: &Workplace, arguments: &[&str]) -> String {
    let mut all = vec!["eval", "report"];
    all.extend(arguments);
    all.extend(["--out", "page.html"]);
    let outcome = place.neo(&all).check(0, &[]);
    assert_eq!(outcome.stdout, "page.html\n");
    let page = fs_err::read_to_string(place.path("page.html")).expect("a page");
    fs_err::remove_file(place.path("page.html")).expect("a file");
    page
}

#[track_caller]
fn check(page: &str, there: &[&str], absent: &[&str]) {
    for part in there {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    for part in absent {
        assert!(!page.contains(part), "{part} is there");
    }
}

#[test]
fn a_page_holds_tables_curves_and_samples_and_nothing_from_elsewhere() {
    let place = place();
    place.write(
        "questions.jsonl",
        (0..12)
            .map(|i| {
                format!(
                    "{{\"q\": \"<b>磨坊</b> {i}\", \"a\": [\"河\", \"x & y\"], \"gold\": {}}}\n",
                    i % 2
                )
            })
            .collect::<String>(),
    );
    let tasks = ["--tasks", "mill.yaml,write.yaml"];
    evaluate(&place, 8, "b", &tasks);
    evaluate(&place, 4, "a", &tasks);
    let page = page(&place, &["b.json", "a.json", "--samples", "a.jsonl", "b.jsonl"]);
    let there = [
        "As lm-evaluation-harness asks",
        "95 % interval",
        "Over checkpoints",
        "chance 0.5</text>",
        "class=\"whisker c0\"",
        "run&#x2f;checkpoints&#x2f;step-00000004",
        "&lt;b&gt;磨坊&lt;&#x2f;b&gt;",
        "x &amp; y",
        "the model wrote",
        "write, wrong",
        "✓",
    ];
    check(
        &page,
        &there,
        &["<script", "src=", "url(", "@import", "<link", "OpenCompass asks", "<b>磨"],
    );
    let (first, second) =
        (page.find("step 4<").expect("a step"), page.find("step 8<").expect("a step"));
    assert!(first < second, "checkpoints stand in the order of their steps");
}

#[test]
fn ways_of_asking_are_never_in_one_table() {
    let place = place();
    evaluate(&place, 8, "h", &["--tasks", "mill.yaml"]);
    evaluate(&place, 4, "o", &["--tasks", "mill.yaml", "--mode", "opencompass"]);
    let page = page(&place, &["h.json", "o.json", "--samples", "o.jsonl"]);
    let (harness, opencompass) = page.split_once("As OpenCompass asks").expect("two sections");
    let harness = harness.split("As lm-evaluation-harness asks").nth(1).expect("a section");
    check(harness, &["acc_norm"], &["accuracy", "Over checkpoints"]);
    check(opencompass, &[">accuracy</td>", "mill, "], &["acc_norm", "Over checkpoints"]);
}

#[test]
fn published_values_stand_beside_ours() {
    let place = place();
    for (name, axis) in [("a", "boolq"), ("b", "siqa"), ("c", "piqa")] {
        place
            .write(&format!("{name}.yaml"), CHOICE.replace("task: mill", &format!("task: {axis}")));
    }
    evaluate(&place, 8, "ours", &["--tasks", "a.yaml,b.yaml,c.yaml"]);
    let page = page(&place, &["ours.json"]);
    let there = [
        "MAP-Neo-7B, published</text>",
        ">guessing</text>",
        "81.07",
        "figure&#x2f;base_eval_results.jpg",
        "two choices here, usually three",
    ];
    check(&page, &there, &["HellaSwag", "A radar needs three axes"]);
}

#[test]
fn wrong_input_is_named_and_nothing_is_overwritten() {
    let place = place();
    evaluate(&place, 8, "a", &["--tasks", "mill.yaml,write.yaml"]);
    evaluate(&place, 8, "other", &["--tasks", "mill.yaml", "--limit", "5"]);
    let check = |arguments: &[&str], parts: &[&str]| {
        let mut all = vec!["eval", "report"];
        all.extend(arguments);
        place.neo(&all).check(WRONG_INPUT, parts);
        assert!(!place.path("page.html").exists(), "a page was written");
    };
    let out = ["--out", "page.html"];
    let with = |first: &'static [&'static str]| [first, &out[..]].concat();
    check(&with(&[]), &["RESULTS"]);
    check(&["a.json"], &["--out"]);
    check(&with(&["nowhere.json"]), &["cannot access `nowhere.json`"]);
    place.write("torn.json", "{\"results\": {");
    check(&with(&["a.json", "torn.json"]), &["torn.json", "EOF"]);
    place.write("held_out.json", "{\"bits_per_byte\": {}}");
    check(&with(&["held_out.json"]), &["missing field `results`", "`neo eval --tasks`"]);
    check(
        &with(&["a.json", "--samples", "other.jsonl"]),
        &["`other.jsonl` holds no samples of the given results", "`--out`"],
    );
    let log = fs_err::read_to_string(place.path("a.jsonl")).expect("a log");
    place.write("torn.jsonl", &log[..log.len() - 9]);
    check(&with(&["a.json", "--samples", "torn.jsonl"]), &["torn.jsonl", "line 24"]);
    place.write("empty.jsonl", "");
    check(&with(&["a.json", "--samples", "empty.jsonl"]), &["holds no samples"]);
    let flipped =
        log.replacen("\"acc\":0.0", "\"acc\":1.0", 1).replacen("\"acc\":1.0", "\"acc\":0.0", 2);
    place.write("changed.jsonl", flipped);
    check(&with(&["a.json", "--samples", "changed.jsonl"]), &["holds no samples"]);
    place.write("kept.html", "mine");
    place
        .neo(&["eval", "report", "a.json", "--out", "kept.html"])
        .check(WRONG_INPUT, &["`kept.html` exists", "another file"]);
    let kept = fs_err::read_to_string(place.path("kept.html")).expect("a file");
    assert_eq!(kept, "mine");
    place.neo(&eval("mill.yaml", &["--out", "again.json"])).check(0, &[]);
}
