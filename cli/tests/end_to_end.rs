//! A tiny model from raw text to a Hugging Face folder, through the real binary, with a run that
//! is killed and one that is interrupted on the way.

#[path = "end_to_end/bench.rs"]
mod bench;
#[path = "end_to_end/micro_batch.rs"]
mod micro_batch;
mod program;
#[path = "program/training.rs"]
mod training;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{Workplace, snapshot};

/// Long enough that a signal meets it at work.
const STEPS: [&str; 6] = [
    "--set",
    "phase.0.steps=120",
    "--set",
    "phase.0.schedule.total_steps=120",
    "--set",
    "checkpoint.interval_steps=10",
];
const PATIENCE: Duration = Duration::from_secs(120);

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "train.toml", "--out", out, "--device", "flex"];
    arguments.extend(STEPS);
    arguments.extend(more);
    arguments
}

/// Training lines of `metrics.jsonl` without what tells time.
fn numbers(place: &Workplace, run: &str) -> Vec<serde_json::Value> {
    let text =
        fs_err::read_to_string(place.path(&format!("{run}/metrics.jsonl"))).expect("metrics");
    text.lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let map = line.as_object_mut().expect("a line is an object");
            for timing in ["tokens_per_sec", "mfu", "step_ms", "mem_bytes", "eval_ms"] {
                map.remove(timing);
            }
            line
        })
        .collect()
}

/// Files of the newest checkpoint by name.
fn newest_checkpoint(place: &Workplace, run: &str) -> Vec<(String, Vec<u8>)> {
    let mut checkpoints: Vec<_> = fs_err::read_dir(place.path(&format!("{run}/checkpoints")))
        .expect("checkpoints")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    checkpoints.sort();
    let newest = checkpoints.last().expect("a run leaves a checkpoint");
    snapshot(newest)
        .into_iter()
        .map(|(path, content)| {
            (path.strip_prefix(newest).expect("below").display().to_string(), content)
        })
        .collect()
}

/// Starts training and waits for its first checkpoint.
fn start_and_wait(place: &Workplace, run: &str) -> Child {
    let mut child = place
        .command(&train(run, &[]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    while !place.path(&format!("{run}/checkpoints/step-00000010")).exists() {
        assert!(child.try_wait().expect("a child").is_none(), "training ended too soon");
        assert!(begun.elapsed() < PATIENCE, "no checkpoint appears");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

fn check_equal(place: &Workplace, run: &str) {
    assert_eq!(numbers(place, run), numbers(place, "whole"), "metrics of {run}");
    let (found, expected) = (newest_checkpoint(place, run), newest_checkpoint(place, "whole"));
    assert_eq!(
        found.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        expected.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert!(found == expected, "{run}: {name} differs");
    }
}

#[test]
fn raw_text_becomes_a_model_whatever_happens_on_the_way() {
    let place = Workplace::new();
    place.prepare_training();
    place.neo(&train("whole", &[])).check(0, &[]);

    let mut killed = start_and_wait(&place, "killed");
    killed.kill().expect("it runs");
    killed.wait().expect("it ended");
    place.neo(&train("killed", &["--resume", "auto"])).check(0, &[]);
    check_equal(&place, "killed");

    let mut stopped = start_and_wait(&place, "stopped");
    let signal = Command::new("kill").args(["-TERM", &stopped.id().to_string()]).status();
    assert!(signal.expect("`kill` is there").success());
    assert_eq!(stopped.wait().expect("it ended").code(), Some(75), "interrupted but saved");
    place.neo(&["verify", "stopped"]).check(0, &[]);
    place.neo(&train("stopped", &["--resume", "auto"])).check(0, &[]);
    check_equal(&place, "stopped");

    let trained = "whole/checkpoints/step-00000123";
    place.neo(&["export", "--model", trained, "--out", "hf", "--dtype", "bf16"]).check(0, &[]);
    place.neo(&["verify", "hf"]).check(0, &[]);
    place.neo(&["import", "--from", "hf", "--out", "back"]).check(0, &[]);
    let greedy = ["--prompt", "the river", "--max-new", "4", "--temperature", "0", "--json"];
    let generate = |model: &str| {
        let mut arguments = vec!["generate", "--model", model];
        arguments.extend(greedy);
        place.neo(&arguments).check(0, &[]).stdout
    };
    assert_eq!(generate("hf"), generate("back"), "a round trip changes nothing");
}
