//! `neo bench step` on a tiny model: the table, and the trace of the observed step.

use super::program::Workplace;
use super::training::TRAIN_RECIPE;

/// An event of the trace: name, begin and end in microseconds.
type Event = (String, f64, f64);

/// Events of one category, in the order of their beginnings.
fn events(trace: &serde_json::Value, category: &str) -> Vec<Event> {
    let events = trace["traceEvents"].as_array().expect("a list of events");
    let micros = |event: &serde_json::Value, key: &str| event[key].as_f64().expect("a number");
    events
        .iter()
        .filter(|event| event["cat"] == category)
        .map(|event| {
            let (begin, name) = (micros(event, "ts"), event["name"].as_str().expect("a name"));
            (name.to_owned(), begin, begin + micros(event, "dur"))
        })
        .collect()
}

#[test]
fn the_trace_holds_every_operation_within_the_step() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let command = ["bench", "step", "--recipe", "train.toml", "--steps", "1", "--device", "flex"];
    let outcome = place.neo(&[&command[..], &["--trace", "step.json", "--json"]].concat());
    let found: serde_json::Value =
        serde_json::from_str(&outcome.check(0, &[]).stdout).expect("JSON on stdout");
    let trace = fs_err::read_to_string(place.path("step.json")).expect("the trace is there");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("the trace is JSON");

    let (stages, operations) = (events(&trace, "stage"), events(&trace, "operation"));
    let named = |name: &str| stages.iter().filter(|(stage, ..)| stage == name).count();
    assert_eq!([named("step"), named("micro-batch"), named("update")], [1, 2, 1]);
    let (_, begin, end) = stages[0].clone();
    // Microseconds in f64: what two sums may differ by.
    let slack = 1e-3;
    for (name, from, to) in stages.iter().chain(&operations) {
        assert!(begin <= *from && *to <= end + slack, "{name} {from} {to}, step {begin} {end}");
    }
    for pair in operations.windows(2) {
        assert!(pair[0].2 <= pair[1].1 + slack, "{pair:?} overlap");
    }
    let table = found["operations"].as_array().expect("a table").iter();
    let calls: u64 = table.filter_map(|row| row["calls"].as_u64()).sum();
    assert_eq!(operations.len() as u64, calls);
}

#[test]
fn a_trace_that_cannot_be_written_is_told() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let command = ["bench", "step", "--recipe", "train.toml", "--steps", "1", "--device", "flex"];
    let outcome = place.neo(&[&command[..], &["--trace", "nowhere/step.json"]].concat());
    outcome.check(2, &["nowhere/step.json"]);
}
