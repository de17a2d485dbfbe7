//! `[eval] tasks` of a training recipe: the figures are `neo eval`'s, the weights are as without.

use serde_json::Value;

use super::WRONG_INPUT;
use super::benchmarks::{CHOICE, WRITE, json, untrained_place};
use super::program::{Outcome, Workplace};

/// Keys that ask the first 7 questions of three tasks.
const QUESTIONS: [&str; 6] = [
    "--set",
    "eval.tasks=[\"mill.yaml\", \"write.yaml\", \"told.yaml\"]",
    "--set",
    "eval.data=.",
    "--set",
    "eval.max_docs=7",
];

fn place() -> Workplace {
    let place = untrained_place();
    let told = WRITE
        .replace("task: write", "task: told")
        .replace("generate_until", "loglikelihood")
        .replace("'{{a[gold]}}'", "' {{a[gold]}}'");
    place.write("told.yaml", format!("{told}metric_list: [{{metric: perplexity}}]\n"));
    place
}

fn train(place: &Workplace, out: &str, more: &[&str]) -> Outcome {
    let mut arguments = vec!["train", "train.toml", "--out", out, "--device", "flex"];
    arguments.extend(more);
    place.neo(&arguments)
}

/// Evaluations of a run.
fn evaluations(place: &Workplace, run: &str) -> Vec<Value> {
    let text =
        fs_err::read_to_string(place.path(&format!("{run}/metrics.jsonl"))).expect("metrics");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| !line["eval"].is_null()).collect()
}

fn weights(place: &Workplace, run: &str) -> [Vec<u8>; 2] {
    let newest = format!("{run}/checkpoints/step-00000008");
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| fs_err::read(place.path(&format!("{newest}/{name}"))).expect("a file"))
}

#[test]
fn figures_are_those_of_the_evaluation_and_weights_are_as_without() {
    let place = place();
    let with = train(&place, "with", &QUESTIONS);
    let with = with.check(
        0,
        &[
            "acc_mill",
            "gold_bpb_write",
            "evaluating took",
            "% of the time",
            "lower `eval.max_docs` or `eval.max_tokens`",
        ],
    );
    assert!(with.stdout.is_empty(), "progress is for stderr: {}", with.stdout);
    train(&place, "without", &[]).check(0, &["evaluating took"]);
    assert!(weights(&place, "with") == weights(&place, "without"), "the weights differ");
    let without = &evaluations(&place, "without")[0];
    assert!(without["eval"]["acc_mill"].is_null() && without["eval_ms"].is_number(), "{without}");
    let last = evaluations(&place, "with").pop().expect("an evaluation");
    let figure = |name: &str| last["eval"][name].as_f64().expect(name);
    assert_eq!(last["step"], 8);
    place
        .neo(&[
            "eval",
            "--model",
            "with/checkpoints/step-00000008",
            "--device",
            "flex",
            "--limit",
            "7",
            "--tasks",
            "mill.yaml,told.yaml",
            "--out",
            "a.json",
        ])
        .check(0, &[]);
    let results = json(&place, "a.json");
    for metric in ["acc", "acc_norm"] {
        assert_eq!(
            results["results"]["mill"][format!("{metric},none")],
            figure(&format!("{metric}_mill"))
        );
    }
    // Seven answers: `corn` or `old mill` for every third question, else `river` or `corn`.
    let bytes = ["corn", "corn", "river", "old mill", "river", "corn", "corn"].join("").len();
    let perplexity = results["results"]["told"]["perplexity,none"].as_f64().expect("a number");
    let expected = 7.0 * perplexity.ln() / std::f64::consts::LN_2 / bytes as f64;
    for name in ["gold_bpb_told", "gold_bpb_write"] {
        assert!((figure(name) - expected).abs() < 1e-9 * expected, "{name}: {last}, {expected}");
    }
    place.neo(&["report", "with"]).check(0, &[]);
    let page = fs_err::read_to_string(place.path("with/report.html")).expect("a page");
    for part in ["<b>Choices</b>", "<b>Right answers</b>", "evaluating took"] {
        assert!(page.contains(part), "{part} is missing");
    }
}

#[test]
fn questions_may_come_and_go_between_resumes() {
    let place = place();
    train(&place, "run", &["--set", "phase.1.steps=1"]).check(0, &[]);
    train(&place, "run", &QUESTIONS).check(0, &["resuming after step 6", "acc_mill"]);
    train(&place, "whole", &QUESTIONS).check(0, &[]);
    assert!(weights(&place, "run") == weights(&place, "whole"), "the weights differ");
    let last = |run| evaluations(&place, run).pop().map(|line| line["eval"].clone());
    assert_eq!(last("run"), last("whole"));
    train(&place, "run", &[]).check(0, &["finished"]);
}

#[test]
fn questions_are_asked_in_bf16_too() {
    let place = place();
    let more = [&QUESTIONS[..], &["--set", "precision=bf16"]].concat();
    train(&place, "run", &more).check(0, &["acc_mill", "gold_bpb_told"]);
}

#[test]
fn wrong_input_is_named_before_the_first_step() {
    let place = place();
    let check = |tasks: &str, more: &[&str], parts: &[&str]| {
        let tasks = format!("eval.tasks=[\"{tasks}\"]");
        let keys = ["--set", &tasks, "--set", "eval.data=.", "--set", "eval.max_docs=7"];
        train(&place, "run", &[&keys[..], more].concat()).check(WRONG_INPUT, parts);
        assert!(!place.path("run/metrics.jsonl").exists(), "it trained");
    };
    check("arc_eazy", &[], &["no such task", "did you mean `arc_easy`"]);
    check("arc_easy", &[], &["arc_easy.jsonl.zst` is missing", "`eval.data`"]);
    check("mill.yaml", &["--set", "eval.max_docs=0"], &["`eval.max_docs` is `0`"]);
    check("mill.yaml", &["--set", "eval.task=1"], &["eval", "nearest known key is `tasks`"]);
    place.write("run.yaml", format!("{WRITE}unsafe_code: true\n"));
    check("run.yaml", &[], &["runs programs", "--run-programs"]);
    place.write(
        "long.yaml",
        CHOICE.replace("doc_to_choice: a", "doc_to_choice: \"{{[q*20, q*30]}}\""),
    );
    check("long.yaml", &[], &["a continuation has", "more than the model's context of 32"]);
    place.write("pinned.yaml", CHOICE.replace("chance: 0.5", "prompt_sha256: abc"));
    check("pinned.yaml", &[], &["its first prompt has the hash"]);
    for name in ["tokenizer.model", "tokenizer.json"] {
        fs_err::remove_file(place.path("data/corpus").join(name)).ok();
    }
    check("mill.yaml", &[], &["data/corpus` has no tokenizer", "`eval.tasks` needs"]);
    let alone = ["--set", "eval.data=."];
    train(&place, "run", &alone)
        .check(WRONG_INPUT, &["`eval.data` is set and `eval.tasks` is not"]);
}

#[test]
fn long_prompts_lose_their_beginning_with_a_warning() {
    let place = place();
    place.write("shots.yaml", CHOICE.replace("num_fewshot: 1", "num_fewshot: 9"));
    let keys = ["--set", "eval.tasks=[\"shots.yaml\"]", "--set", "eval.data=."];
    train(&place, "run", &[&keys[..], &["--set", "eval.max_docs=2"]].concat())
        .check(0, &["prompts with their answers are longer", "lose their beginning", "acc_mill"]);
}
