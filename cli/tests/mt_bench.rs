//! `neo eval mt-bench` against a judge of ours: ratings, refusals, and what goes on after a kill.

mod judge;
mod program;
#[path = "program/training.rs"]
mod training;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use judge::JudgeServer;
use program::{Outcome, Workplace, snapshot};
use serde_json::{Value, json};

/// Exit code for wrong usage or input.
const WRONG_INPUT: i32 = 2;

/// The model that the small training run leaves.
const MODEL: &str = "run/checkpoints/step-00000008";

const CHAT: &str = "{% for m in messages %}{{ m.role[0] }}{{ m.content[:4] }} {% endfor %}";

/// A trained model with a short chat template, and three questions.
fn place() -> Workplace {
    let place = Workplace::new();
    place.prepare_training();
    place.neo(&["train", "train.toml", "--out", "run", "--device", "flex"]).check(0, &[]);
    place.write(&format!("{MODEL}/chat_template.jinja"), CHAT);
    let question = |(id, category): (u32, &str)| json!({"question_id": id, "category": category, "turns": [format!("one {id}?"), "two?"]});
    let questions = [(81, "writing"), (101, "math"), (131, "stem")].map(question);
    place.write("sets/mt_bench_questions.jsonl", lines(&questions));
    let reference = json!({"question_id": 101, "choices": [{"turns": ["ref one", "ref two"]}]});
    place.write("sets/mt_bench_reference.jsonl", lines(&[reference]));
    place.write("sets/mt_bench_judge_prompts.jsonl", lines(&prompts()));
    place
}

fn prompts() -> [Value; 4] {
    let prompt = |name: &str, template: &str| json!({"name": name, "type": "single", "system_prompt": "fair", "prompt_template": template});
    [
        prompt("single-v1", "[1] {question} -> {answer}"),
        prompt("single-v1-multi-turn", "[2] {question_1} {answer_1} {question_2} {answer_2}"),
        prompt("single-math-v1", "[1 math] {question} {ref_answer_1} {answer}"),
        prompt("single-math-v1-multi-turn", "[2 math] {ref_answer_1} {ref_answer_2} {answer_2}"),
    ]
}

fn lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

fn arguments<'a>(url: &'a str, out: &'a str) -> Vec<&'a str> {
    let named = ["--judge", url, "--judge-model", "judge-1", "--out", out, "--data", "sets"];
    let mut all = vec!["eval", "mt-bench", "--model", MODEL, "--max-new", "4", "--device", "flex"];
    all.extend(named);
    all
}

/// The program with a key.
fn command(place: &Workplace, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("OPENAI_API_KEY", "secret").env("NO_PROXY", "127.0.0.1");
    command
}

fn run(place: &Workplace, arguments: &[&str]) -> Outcome {
    Outcome::of(&mut command(place, arguments))
}

fn read(place: &Workplace, name: &str) -> String {
    fs_err::read_to_string(place.path(name)).expect("a file")
}

#[test]
fn ratings_become_scores() {
    let place = place();
    let judge = JudgeServer::start(|n, request| {
        let text = request["messages"][1]["content"].as_str().unwrap_or_default().to_owned();
        match () {
            () if n == 0 => (429, "retry-after: 0", "slow down".into()),
            () if text.starts_with("[2 math]") => reply("I cannot say."),
            () if text.starts_with("[1 math]") => reply("[[4]]"),
            () => reply("Good. Rating: [[8.5]]"),
        }
    });
    let mut command = arguments(judge.url(), "a.json");
    command.extend(["--samples", "a.jsonl"]);
    let outcome = run(&place, &command).check(0, &[]);
    assert!(outcome.stdout.contains("1 of 6 replies hold no rating"), "{}", outcome.stdout);
    let results: Value = serde_json::from_str(&read(&place, "a.json")).expect("JSON");
    let entry = |name: &str| &results["results"][name];
    assert_eq!(entry("mt_bench")["score,none"], (8.5 * 4.0 + 4.0) / 5.0);
    assert_eq!(entry("mt_bench")["unreadable"], 1);
    assert_eq!(entry("mt_bench")["cut_prompts"], 0);
    assert_eq!(entry("mt_bench_math")["score,none"], 4.0);
    assert_eq!(entry("mt_bench_turn_2")["score,none"], 8.5);
    assert!(!entry("mt_bench")["score_ci95,none"].is_null());
    assert_eq!(results["config"]["judge"]["model"], "judge-1");
    assert_eq!(results["judges"]["judge-1-of-today"], 6);
    let samples = read(&place, "a.jsonl");
    assert_eq!(samples.lines().count(), 6);
    let math = samples.lines().find(|line| line.contains("[2 math]")).expect("a line");
    let math: Value = serde_json::from_str(math).expect("JSON");
    assert!(math["user_prompt"].as_str().expect("a text").starts_with("[2 math] ref one ref two"));
    assert_eq!((&math["score"], &math["judgment"]), (&Value::Null, &json!("I cannot say.")));
    for request in judge.requests() {
        assert_eq!(request["model"], "judge-1");
        assert_eq!(request["temperature"], 0);
        assert_eq!(request["messages"][0], json!({"role": "system", "content": "fair"}));
    }
    for file in ["a.json", "a.jsonl", "a.json.answers.jsonl"] {
        assert!(!read(&place, file).contains("secret"), "the key stands in {file}");
    }
    let n_asked = judge.requests().len();
    let first = read(&place, "a.json");
    run(&place, &command).check(0, &[]);
    assert_eq!(judge.requests().len(), n_asked, "nobody is asked twice");
    assert_eq!(read(&place, "a.json"), first);
    let mut narrow = arguments(judge.url(), "b.json");
    narrow[5] = "30";
    let outcome = run(&place, &narrow).check(0, &["lose their beginning"]);
    let note = "6 of 6 answers follow a prompt that the context had no room for";
    assert!(outcome.stdout.contains(note), "{}", outcome.stdout);
}

#[test]
fn what_was_answered_survives_a_kill_and_a_refusal() {
    let place = place();
    // The judge rates two answers and hangs, then refuses, then rates everything.
    let (phase, rated) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<String>>>::default());
    let (at, kept) = (Arc::clone(&phase), Arc::clone(&rated));
    let judge = JudgeServer::start(move |n, request| match at.load(Ordering::SeqCst) {
        0 if n >= 2 => {
            std::thread::sleep(Duration::from_secs(600));
            (500, "", String::new())
        }
        1 => (401, "", "{\"error\": \"no credit\"}".into()),
        _ => {
            kept.lock().expect("a list").push(request["messages"][1].to_string());
            reply("[[7]]")
        }
    });
    let arguments_of_a = arguments(judge.url(), "a.json");
    let model = snapshot(&place.path("run"));
    let mut process = command(&place, &arguments_of_a).spawn().expect("a process");
    while judge.requests().len() < 3 {
        assert!(process.try_wait().expect("a process").is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().expect("a process");
    process.wait().expect("a process");
    phase.store(1, Ordering::SeqCst);
    let refused = ["refuses the key (401)", "no credit", "OPENAI_API_KEY"];
    run(&place, &arguments_of_a).check(WRONG_INPUT, &refused);
    assert!(!place.path("a.json").exists(), "nothing half done under that name");
    phase.store(2, Ordering::SeqCst);
    run(&place, &arguments_of_a).check(0, &[]);
    let mut rated = rated.lock().expect("a list").clone();
    assert_eq!(rated.len(), 6, "every answer is rated once: {rated:?}");
    rated.sort();
    rated.dedup();
    assert_eq!(rated.len(), 6, "every answer is rated once: {rated:?}");
    run(&place, &arguments(judge.url(), "b.json")).check(0, &[]);
    assert_eq!(read(&place, "a.json"), read(&place, "b.json"));
    assert!(snapshot(&place.path("run")) == model, "the model is left as it was");
}

#[test]
fn wrong_input_is_named() {
    let place = place();
    let html = JudgeServer::start(|_, _| (200, "", "<html>".into()));
    let other = JudgeServer::start(|_, _| (200, "", "{\"text\": \"8\"}".into()));
    let check = |arguments: &[&str], parts: &[&str]| {
        run(&place, arguments).check(WRONG_INPUT, parts);
    };
    let command = arguments(html.url(), "a.json");
    let mut keyless = place.command(&command);
    let missing = ["OPENAI_API_KEY is not set", "hint: "];
    Outcome::of(keyless.env_remove("OPENAI_API_KEY")).check(WRONG_INPUT, &missing);
    check(&command, &["the answer is no JSON: `<html>`", "hint: "]);
    check(&arguments(other.url(), "a.json"), &["choices[0].message.content", "\"text\""]);
    check(&arguments("http://127.0.0.1:1/v1", "a.json"), &["the connection is refused"]);
    check(&arguments("nowhere", "a.json"), &["`nowhere`: this is no address"]);
    let mut long = command.clone();
    long[5] = "32";
    check(&long, &["no room", "context of 32", "--max-new"]);
    let chat = format!("{MODEL}/chat_template.jinja");
    place.write(&chat, "{% for %}");
    check(&command, &["chat template of", "syntax error"]);
    place.write(&chat, "{{ raise_exception('only for robots') }}");
    check(&command, &["only for robots"]);
    place.write("sets/mt_bench_judge_prompts.jsonl", lines(&prompts()[..3]));
    check(&command, &["mt_bench_judge_prompts.jsonl", "no prompt `single-math-v1-multi-turn`"]);
    place.write("sets/mt_bench_reference.jsonl", "");
    check(&command, &["mt_bench_reference.jsonl", "question 101 (math) has no reference answer"]);
    place.write("sets/mt_bench_questions.jsonl", "{\"question_id\": 1}\n");
    check(&command, &["mt_bench_questions.jsonl", "line 1"]);
    let nowhere: Vec<&str> =
        command.iter().map(|word| if *word == "sets" { "nowhere" } else { word }).collect();
    check(&nowhere, &["nowhere/mt_bench_questions.jsonl"]);
    assert!(html.requests().len() <= 3, "what cannot pass is not tried again");
}

/// A reply in OpenAI's form.
fn reply(text: &str) -> (u16, &'static str, String) {
    let message = json!({"role": "assistant", "content": text});
    let body = json!({"model": "judge-1-of-today", "choices": [{"message": message}]});
    (200, "", body.to_string())
}
