//! `neo eval` with benchmarks on a tiny model: results, continuation, comparison, page, in-loop, wrong input.

#[path = "program/benchmarks.rs"]
mod benchmarks;
#[path = "evaluation/in_loop.rs"]
mod in_loop;
mod program;
#[path = "evaluation/report.rs"]
mod report;
#[path = "program/training.rs"]
mod training;

use benchmarks::{CHOICE, MODEL, WRITE, eval, json, place};
use program::snapshot;
use serde_json::Value;

/// Exit code for wrong usage or input.
const WRONG_INPUT: i32 = 2;

#[test]
fn results_have_that_programs_layout_and_can_be_compared() {
    let place = place();
    let files = ["--out", "a.json", "--samples", "a.jsonl"];
    let outcome = place.neo(&eval("mill.yaml,write.yaml", &files)).check(0, &[]);
    assert!(outcome.stdout.contains("mode: harness"), "{}", outcome.stdout);
    let results = json(&place, "a.json");
    let mill = &results["results"]["mill"];
    for key in ["acc,none", "acc_stderr,none", "acc_ci95,none", "acc_norm,none"] {
        assert!(!mill[key].is_null(), "{key} in {mill}");
    }
    assert_eq!(mill["sample_len"], 12);
    assert_eq!(results["versions"]["mill"], 2.0);
    assert_eq!(results["n-shot"]["mill"], 1);
    assert_eq!(results["n-samples"]["write"]["effective"], 12);
    assert_eq!(results["configs"]["mill"]["doc_to_text"], "{{q}}");
    let samples = fs_err::read_to_string(place.path("a.jsonl")).expect("samples");
    assert_eq!(samples.lines().count(), 24);
    let first: Value = serde_json::from_str(samples.lines().next().expect("a line")).expect("JSON");
    for key in ["doc_id", "doc", "target", "arguments", "resps", "doc_hash", "prompt_hash", "acc"] {
        assert!(!first[key].is_null(), "{key} in {first}");
    }
    place.neo(&eval("mill.yaml", &["--out", "b.json"])).check(0, &[]);
    let compared = place.neo(&["eval", "compare", "a.json", "b.json", "--json"]).check(0, &[]);
    let compared: Value = serde_json::from_str(&compared.stdout).expect("JSON");
    assert_eq!(compared["mill"]["acc,none"]["difference"], 0.0);
    assert_eq!(compared["mill"]["acc,none"]["mcnemar_p"], 1.0);
    place.neo(&eval("mill.yaml", &["--out", "c.json", "--mode", "opencompass"])).check(0, &[]);
    place.neo(&["eval", "compare", "a.json", "c.json"]).check(WRONG_INPUT, &["different modes"]);
    place.neo(&eval("mill.yaml", &["--out", "d.json", "--shots", "0"])).check(0, &[]);
    place.neo(&["eval", "compare", "a.json", "d.json"]).check(WRONG_INPUT, &["`mill` differently"]);
}

#[test]
fn an_evaluation_that_broke_off_goes_on_and_writes_the_same_bytes() {
    let place = place();
    let command = |out: &'static str| eval("mill.yaml,write.yaml", &["--out", out]);
    let model = snapshot(&place.path("run"));
    place.neo(&command("whole.json")).check(0, &[]);
    assert!(!place.path("whole.json.answers").exists(), "answers are removed at the end");
    let too_long = CHOICE.replace("doc_to_choice: a", "doc_to_choice: \"{{[q*20, q*30]}}\"");
    place.write("write.yaml", too_long.replace("task: mill", "task: write"));
    place.neo(&command("broken.json")).check(WRONG_INPUT, &["a continuation has"]);
    assert!(place.path("broken.json.answers").exists(), "answers are kept");
    assert!(!place.path("broken.json").exists(), "nothing half done under that name");
    let of_another = eval("mill.yaml", &["--out", "broken.json"]);
    place.neo(&of_another).check(WRONG_INPUT, &["answers of an unfinished evaluation"]);
    place.write("write.yaml", WRITE);
    place.neo(&command("broken.json")).check(0, &["answers are there from before"]);
    place.neo(&command("broken.json")).check(WRONG_INPUT, &["`broken.json` is there already"]);
    let read = |name: &str| fs_err::read(place.path(name)).expect("results");
    assert!(read("whole.json") == read("broken.json"), "the files differ");
    assert!(snapshot(&place.path("run")) == model, "the model is left as it was");
}

#[test]
fn wrong_input_is_named() {
    let place = place();
    let check = |arguments: &[&str], parts: &[&str]| {
        place.neo(arguments).check(WRONG_INPUT, parts);
    };
    check(&eval("arc_eazy", &[]), &["no such task", "did you mean `arc_easy`"]);
    check(&eval("arc_easy", &["--data", "nowhere"]), &["is missing", "--data DIR"]);
    check(&eval("mill.yaml", &["--limit", "0"]), &["--limit"]);
    check(&["eval", "--model", MODEL, "--corpus", "c", "--samples", "s"], &["--samples"]);
    place.write("write.yaml", WRITE.replace("max_gen_toks: 6", "max_gen_toks: 600"));
    let no_room = "task `write` may write 600 tokens, the model's context has 32";
    check(&eval("mill.yaml,write.yaml", &[]), &[no_room, "max_gen_toks"]);
    place.write("write.yaml", WRITE);
    check(&eval("mill.yaml", &["--shots", "12"]), &["12 shots need 13 documents, 12 are there"]);
    check(&eval("write.yaml", &["--mode", "opencompass"]), &["no OpenCompass form"]);
    check(&eval("humaneval", &["--data", "nowhere"]), &["is missing"]);
    place.write(
        "field.yaml",
        CHOICE.replace("{{q}}'\ndoc_to_choice", "{{question}}'\ndoc_to_choice"),
    );
    check(
        &eval("field.yaml", &[]),
        &["names the field `question`; documents have `q`, `a`, `gold`"],
    );
    place.write("sum.yaml", CHOICE.replace("chance: 0.5", "sha256: {test: abc}"));
    check(&eval("sum.yaml", &[]), &["questions.jsonl", "has the checksum", "expected abc"]);
    place.write(
        "hook.yaml",
        CHOICE.replace("doc_to_choice: a", "doc_to_choice: !function utils.choices"),
    );
    check(&eval("hook.yaml", &[]), &["`doc_to_choice` needs Python: `utils.choices`"]);
    place.write("run.yaml", format!("{WRITE}unsafe_code: true\n"));
    check(&eval("run.yaml", &[]), &["runs programs", "--run-programs"]);
    place.write(
        "long.yaml",
        CHOICE.replace("doc_to_choice: a", "doc_to_choice: \"{{[q*20, q*30]}}\""),
    );
    check(&eval("long.yaml", &[]), &["a continuation has", "more than the model's context of 32"]);
    place.write("broken.yaml", "task: [");
    check(&eval("broken.yaml", &[]), &["broken.yaml"]);
    check(&["eval", "--model", MODEL], &["nothing to measure", "--tasks"]);
    fs_err::remove_file(place.path(MODEL).join("tokenizer.model")).expect("a file");
    fs_err::remove_file(place.path(MODEL).join("tokenizer.json")).ok();
    check(&eval("mill.yaml", &[]), &["has no tokenizer"]);
}

#[test]
fn prompts_can_be_put_into_the_chat_template() {
    let place = place();
    let chat = format!("{MODEL}/chat_template.jinja");
    let template = "{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}\
                    {% if add_generation_prompt %}a:{% endif %}";
    place.write(&chat, template);
    let prompt_of = |more: &[&str]| {
        let mut arguments = eval("mill.yaml", &["--out", "a.json", "--samples", "a.jsonl"]);
        arguments.extend(more);
        for name in ["a.json", "a.jsonl"] {
            fs_err::remove_file(place.path(name)).ok();
        }
        place.neo(&arguments).check(0, &[]);
        let samples = fs_err::read_to_string(place.path("a.jsonl")).expect("samples");
        let first: Value =
            serde_json::from_str(samples.lines().next().expect("a line")).expect("JSON");
        let texts = &first["arguments"][0];
        [&texts[0], &texts[1]].map(|text| text.as_str().expect("a text").to_owned())
    };
    let [plain, choice] = prompt_of(&[]);
    assert_eq!(choice, " corn");
    let (shot, question) = plain.split_once("\n\n").expect("a shot");
    let (asked, answer) = shot.split_at(shot.find(|c: char| c.is_ascii_digit()).expect("a digit"));
    let (number, answer) = answer.split_once(' ').expect("an answer");
    let (shot, said) = (format!("{asked}{number}"), answer);
    let turns = format!("<s>s:Be brief.</s><s>u:{shot}</s><s>a:{said}</s><s>u:{question}</s>a:");
    let system = ["--system-instruction", "Be brief."];
    let chatty = [&system[..], &["--apply-chat-template"]].concat();
    assert_eq!(prompt_of(&chatty), [turns, "corn".to_owned()]);
    let one = format!("<s>s:Be brief.</s><s>u:{plain}</s>a:");
    let single = [&chatty[..], &["--fewshot-as-multiturn", "false"]].concat();
    assert_eq!(prompt_of(&single), [one, "corn".to_owned()]);
    let results = json(&place, "a.json");
    assert_eq!(results["chat_template"], template);
    assert_eq!(results["config"]["system_instruction"], "Be brief.");
    assert_eq!(results["fewshot_as_multiturn"], false);
    assert_eq!(prompt_of(&system), [format!("Be brief.{plain}"), " corn".to_owned()]);
    let refused = |more: &[&str], parts: &[&str]| {
        place.neo(&eval("mill.yaml", more)).check(WRONG_INPUT, parts);
    };
    let named = "--apply-chat-template=other";
    refused(&[named], &["no template of the name `other`", "the folder has `default`"]);
    refused(&["--apply-chat-template", "--mode", "opencompass"], &["takes no chat template"]);
    refused(&["--fewshot-as-multiturn"], &["--apply-chat-template"]);
    place.write(&chat, "{{ messages[7].content }}");
    refused(&["--apply-chat-template"], &["chat template of", "undefined value"]);
}
