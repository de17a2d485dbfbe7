//! What tests that evaluate start from: a trained model, two task files and their questions.

use serde_json::Value;

use super::program::Workplace;

/// The model that the small training run leaves.
pub(crate) const MODEL: &str = "run/checkpoints/step-00000008";

pub(crate) const CHOICE: &str = "task: mill\ndataset_path: json\noutput_type: multiple_choice\ntest_split: test\n\
    fewshot_split: test\nnum_fewshot: 1\ndataset_kwargs: {data_files: {test: questions.jsonl}}\n\
    doc_to_text: '{{q}}'\ndoc_to_choice: a\ndoc_to_target: gold\n\
    metadata: {version: 2.0, neo: {chance: 0.5, opencompass: {mode: ppl, template: '{{q}} {{label}}'}}}\n";

pub(crate) const WRITE: &str = "task: write\ndataset_path: json\noutput_type: generate_until\ntest_split: test\n\
    dataset_kwargs: {data_files: {test: questions.jsonl}}\ndoc_to_text: '{{q}}'\n\
    doc_to_target: '{{a[gold]}}'\ngeneration_kwargs: {until: ['.'], max_gen_toks: 6}\n";

/// Questions and task files, and what a training run starts from.
pub(crate) fn untrained_place() -> Workplace {
    let place = Workplace::new();
    place.prepare_training();
    let row = |i: usize| {
        let answers =
            if i.is_multiple_of(3) { r#"["corn", "old mill"]"# } else { r#"["river", "corn"]"# };
        format!("{{\"q\": \"the miller {i}\", \"a\": {answers}, \"gold\": {}}}\n", i % 2)
    };
    place.write("questions.jsonl", (0..12).map(row).collect::<String>());
    place.write("mill.yaml", CHOICE);
    place.write("write.yaml", WRITE);
    place
}

/// The same with the model.
pub(crate) fn place() -> Workplace {
    let place = untrained_place();
    place.neo(&["train", "train.toml", "--out", "run", "--device", "flex"]).check(0, &[]);
    place
}

pub(crate) fn json(place: &Workplace, name: &str) -> Value {
    let text = fs_err::read_to_string(place.path(name)).expect("results");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn eval<'a>(tasks: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["eval", "--model", MODEL, "--device", "flex", "--tasks", tasks];
    arguments.extend(more);
    arguments
}
