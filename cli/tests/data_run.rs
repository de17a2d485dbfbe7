//! A cleaning recipe through the real binary: done once, one run at a time, interrupted and killed on the way.

mod program;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{Workplace, snapshot};

const PATIENCE: Duration = Duration::from_secs(120);
/// Enough units that a signal meets the program at work.
const MANY_SHARDS: [&str; 2] = ["--set", "engine.shard_bytes=500"];

fn place() -> Workplace {
    let place = Workplace::new();
    place.write_raw_text();
    place
}

fn run<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["data", "run", "data.toml", "--out", out], more].concat()
}

/// What a run leaves for its user, with names relative to its folder.
fn results(place: &Workplace, out: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = place.path(out);
    let mut results = Vec::new();
    for part in ["documents", "corpus"] {
        for (path, content) in snapshot(&folder.join(part)) {
            results.push((path.strip_prefix(&folder).expect("below").to_owned(), content));
        }
    }
    results
}

/// Starts a run with many shards and waits until some are there.
fn start(place: &Workplace, out: &str) -> Child {
    let mut child = place
        .command(&run(out, &MANY_SHARDS))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let (begun, shards) = (Instant::now(), place.path(&format!("{out}/work/0-read")));
    while fs_err::read_dir(&shards).map_or(0, Iterator::count) < 3 {
        assert!(child.try_wait().expect("a child").is_none(), "the run ended too soon");
        assert!(begun.elapsed() < PATIENCE, "no shard appears");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let place = place();
    let done = ["0-read: done, 400 documents in, 400 kept, ", "1-words: done, 400 documents in, "];
    place.neo(&run("data", &[])).check(0, &done).check(0, &["corpus: data/corpus"]);
    let before = results(&place, "data");
    let reused = ["0-read: reused, 400 documents in, ", "tokenize: reused, ", "nothing left to do"];
    place.neo(&run("data", &[])).check(0, &reused);
    assert!(results(&place, "data") == before);
}

#[test]
fn a_run_that_was_stopped_or_killed_goes_on_to_the_same_results() {
    let place = place();
    place.neo(&run("whole", &MANY_SHARDS)).check(0, &[]);

    let mut stopped = start(&place, "stopped");
    let signal = Command::new("kill").args(["-TERM", &stopped.id().to_string()]).status();
    assert!(signal.expect("`kill` is there").success());
    assert_eq!(stopped.wait().expect("it ended").code(), Some(75), "interrupted but saved");

    let mut killed = start(&place, "killed");
    killed.kill().expect("it runs");
    killed.wait().expect("it ended");

    for out in ["stopped", "killed"] {
        place.neo(&run(out, &MANY_SHARDS)).check(0, &[]);
        assert!(results(&place, out) == results(&place, "whole"), "{out}");
    }
}

#[test]
fn a_killed_run_without_intermediates_goes_on_to_the_same_results() {
    let place = place();
    let recipe = fs_err::read_to_string(place.path("data.toml")).expect("a recipe");
    place.neo(&run("whole", &MANY_SHARDS)).check(0, &[]);
    let lean = "memory_bytes = 33554432\nkeep_intermediates = false\n";
    place.write("data.toml", recipe.replacen("memory_bytes = 33554432\n", lean, 1));
    let mut killed = start(&place, "killed");
    killed.kill().expect("it runs");
    killed.wait().expect("it ended");
    place.neo(&run("killed", &MANY_SHARDS)).check(0, &[]);
    assert!(results(&place, "killed") == results(&place, "whole"));
    place.neo(&run("killed", &MANY_SHARDS)).check(0, &["nothing left to do"]);
    let units = fs_err::read_dir(place.path("killed/work/0-read")).expect("units");
    let kept = |unit: std::io::Result<fs_err::DirEntry>| {
        unit.expect("a unit").path().join("kept.jsonl").exists()
    };
    assert_eq!(units.filter_map(|unit| kept(unit).then_some(())).count(), 0);
}

#[test]
fn an_interrupted_demo_promises_nothing_that_it_refuses() {
    let place = Workplace::new();
    let demo = ["demo", "--size", "small", "--device", "flex", "--out", "demo"];
    let child = place.command(&demo).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program starts");
    let begun = Instant::now();
    while !place.path("demo/data/work").exists() {
        assert!(begun.elapsed() < PATIENCE, "no corpus is begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    let signal = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signal.expect("`kill` is there").success());
    let output = child.wait_with_output().expect("it ended");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("interrupted") && !told.contains("the same command"), "{told}");
}

#[test]
fn one_run_at_a_time() {
    let place = place();
    let mut first = start(&place, "data");
    let second = place.neo(&run("data", &MANY_SHARDS));
    first.kill().expect("it runs");
    first.wait().expect("it ended");
    second.check(2, &["another run works in `data/work`", "hint: "]);
}

#[test]
fn other_input_is_read_for_a_source() {
    let place = place();
    place.write("other.jsonl", "{\"id\":\"only\",\"text\":\"the old mill and the river\"}\n");
    let other = ["--input", "zh=other.jsonl", "--json", "--set", "tokenizer.train.n_pieces=320"];
    let json = place.neo(&run("data", &other)).check(0, &[]);
    assert!(json.stdout.contains("other.jsonl"), "{}", json.stdout);
    let kept = fs_err::read_to_string(place.path("data/documents/zh-00000.jsonl")).expect("kept");
    assert_eq!(kept.lines().count(), 1, "{kept}");
    place
        .neo(&run("data", &["--input", "other.jsonl"]))
        .check(2, &["does not say which source it is for", "NAME=other.jsonl", "`en`, `zh`"]);
}

#[test]
fn unknown_kinds_of_stages_are_named() {
    let place = place();
    let recipe = fs_err::read_to_string(place.path("data.toml")).expect("a recipe");
    place.write("data.toml", recipe.replacen("\"dedup\"", "\"dedupe\"", 1));
    place
        .neo(&run("data", &[]))
        .check(2, &["data.toml", "`dedupe`", "nearest known value is `dedup`"]);
    place.write("data.toml", recipe.replacen("method", "methd", 1));
    place.neo(&run("data", &[])).check(2, &["data.toml", "line 5: missing key `stage.0.method`"]);
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let place = place();
    place.write("data/corpus/corpus.json", "mine");
    place.neo(&run("data", &[])).check(2, &["data/corpus/corpus.json", "in the way"]);
    let there = fs_err::read(place.path("data/corpus/corpus.json")).expect("still there");
    assert_eq!(there, b"mine");
}
