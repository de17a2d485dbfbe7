//! The real binary on bad input: training recipes, and corpora that do not fit a model.

use crate::checkpoints::trained;
use crate::program::Workplace;
use crate::training::TRAIN_RECIPE;
use crate::{TRAIN, WRONG_INPUT};

/// Trains by a recipe in which `from` is replaced by `to`.
fn check_recipe(from: &str, to: &str, expected: &[&str]) {
    let place = Workplace::new();
    let recipe = TRAIN_RECIPE.replacen(from, to, 1);
    assert_ne!(recipe, TRAIN_RECIPE, "`{from}` is not in the recipe");
    place.write("train.toml", recipe);
    place.neo(&TRAIN).check(WRONG_INPUT, expected);
    assert!(!place.path("run").exists(), "a refused recipe leaves nothing");
}

#[test]
fn an_unknown_key_is_told_with_line_and_nearest_name() {
    let line = TRAIN_RECIPE.lines().position(|line| line.starts_with("weight_decay"));
    let line = format!("line {}", line.expect("the recipe has this key") + 1);
    check_recipe(
        "weight_decay",
        "weigth_decay",
        &["train.toml", &line, "unknown key `optimizer.weigth_decay`", "`weight_decay`"],
    );
}

#[test]
fn a_wrong_type_is_told_with_line_expected_and_found() {
    let line = TRAIN_RECIPE.lines().position(|line| line.starts_with("beta1"));
    let line = format!("line {}", line.expect("the recipe has this key") + 1);
    check_recipe(
        "beta1 = 0.9",
        "beta1 = \"high\"",
        &["train.toml", &line, "`optimizer.beta1` is the string `high`, expected a number"],
    );
}

#[test]
fn heads_that_do_not_divide_are_told() {
    check_recipe("n_kv_heads = 2", "n_kv_heads = 3", &["train.toml", "`n_heads` is `4`", "`3`"]);
}

#[test]
fn a_shard_with_a_wrong_header_is_named() {
    let place = Workplace::new();
    place.prepare_training();
    let indices: Vec<_> = fs_err::read_dir(place.path("data/corpus"))
        .expect("the corpus is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
        .collect();
    let index = indices.first().expect("a corpus has shards");
    let mut bytes = fs_err::read(index).expect("a readable file");
    bytes[..8].copy_from_slice(b"NOTSHARD");
    fs_err::write(index, bytes).expect("a writable file");
    let name = index.file_name().expect("a file has a name").to_string_lossy().into_owned();
    place.neo(&TRAIN).check(WRONG_INPUT, &[&name, "NEOSHARD"]);
}

#[test]
fn a_model_with_too_few_rows_for_the_vocabulary_is_refused() {
    let place = Workplace::new();
    place.prepare_training();
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--set", "model.vocab_size=300"]);
    place.neo(&arguments).check(WRONG_INPUT, &["vocab", "300", "345"]);
    assert!(!place.path("run/checkpoints").exists());
}

#[test]
fn an_unknown_device_is_told_with_the_known_ones() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let outcome = place.neo(&["train", "train.toml", "--out", "run", "--device", "tpu"]);
    outcome.check(WRONG_INPUT, &["unknown device `tpu`", "`flex`", "`cuda[:n]`"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_model_larger_than_the_machine_is_refused_at_once() {
    let place = Workplace::new();
    place.write("train.toml", TRAIN_RECIPE);
    let huge = "model.n_layers=1000000000";
    let problem =
        ["in a micro-batch needs", "GiB, the device can give", "master weights", "smaller model"];
    place.neo(&[&TRAIN[..], &["--set", huge]].concat()).check(WRONG_INPUT, &problem);
    let auto = ["--set", huge, "--set", "batch.micro_batch_sequences=auto"];
    place.neo(&[&TRAIN[..], &auto].concat()).check(WRONG_INPUT, &problem);
    assert!(!place.path("run").exists(), "a run folder was made");
    let bench = ["bench", "step", "--recipe", "train.toml", "--set", huge, "--device", "flex"];
    place.neo(&bench).check(WRONG_INPUT, &problem);
}

#[test]
fn a_refused_recipe_leaves_the_run_folder_free() {
    let place = Workplace::new();
    place.prepare_training();
    let wrong = [&TRAIN[..], &["--set", "phase.0.mixture.nowhere=1.0"]].concat();
    let problem = ["mixture names source `nowhere`", "which has `en`, `zh`"];
    place.neo(&wrong).check(WRONG_INPUT, &problem);
    place.neo(&TRAIN).check(0, &["finished; newest checkpoint: run/checkpoints/step-"]);
}

#[test]
fn a_corpus_of_another_tokenizer_is_refused() {
    let place = trained();
    let other = ["--set", "tokenizer.train.n_pieces=320", "--out", "other"];
    place.neo(&[&["data", "run", "data.toml"], &other[..]].concat()).check(0, &[]);
    let checkpoints = fs_err::read_dir(place.path("run/checkpoints")).expect("a run");
    let newest = checkpoints.map(|entry| entry.expect("a folder").path()).max();
    let newest = newest.expect("a checkpoint").display().to_string();
    let eval = ["eval", "--model", &newest, "--corpus", "other/corpus", "--device", "flex"];
    place.neo(&eval).check(WRONG_INPUT, &["have different tokenizers", "neo data tokenize"]);
}

// ---- data recipes ----

/// A data recipe with three stages before the others of `data.toml`.
const STAGES: &str = "\
[[stage]]
kind = \"filter\"
rules = \"basic\"
[[stage]]
kind = \"mask\"
mail = true
phone = true
id_number = true
ip = true
bank_card = false
[[stage]]
kind = \"decontaminate\"
against = \"sets\"
action = \"drop\"
";

/// Runs `data.toml` with these stages, of which one line is another.
fn check_stages(line: &str, replacement: &str, expected: &[&str]) {
    let place = Workplace::new();
    place.write_raw_text();
    place.write("sets/quiz.jsonl", "{\"question\": \"Who?\", \"answer\": \"The miller.\"}\n");
    let stages = STAGES.replacen(line, replacement, 1);
    assert!(stages != STAGES || line == replacement, "`{line}` is not in the recipe");
    let recipe = fs_err::read_to_string(place.path("data.toml")).expect("a recipe");
    place.write("data.toml", recipe.replacen("[[stage]]\n", &format!("{stages}[[stage]]\n"), 1));
    place.neo(&["data", "run", "data.toml", "--out", "data"]).check(WRONG_INPUT, expected);
    assert!(!place.path("data").exists(), "a refused recipe leaves nothing");
}

#[test]
fn a_wrong_value_in_a_stage_is_told_with_its_index_and_line() {
    check_stages("ip = true", "ip = \"yes\"", &["line 13: `stage.1.ip` is the string `yes`"]);
    check_stages("phone = true\n", "", &["line 8: missing key `stage.1.phone`"]);
    check_stages("phone = true", "phon = true", &["line 11: unknown key `stage.1.phon`"]);
    check_stages("\"drop\"", "\"dorp\"", &["line 18: `stage.2.action` is `dorp`", "`drop`"]);
    check_stages("\"drop\"", "1", &["line 18: `stage.2.action` is the whole number `1`"]);
}

#[test]
fn a_missing_path_is_told_with_the_key_that_names_it() {
    let missing = "`stage.2`: `against` is `nowhere`, which does not exist";
    check_stages("\"sets\"", "\"nowhere\"", &[missing]);
    check_stages("\"basic\"", "\"own.toml\"", &["`stage.0`: `rules` is `own.toml`"]);
    let place = Workplace::new();
    place.write_raw_text();
    fs_err::remove_file(place.path("raw/zh.jsonl")).expect("the file is there");
    place
        .neo(&["data", "run", "data.toml", "--out", "data"])
        .check(WRONG_INPUT, &["`input` of source `zh` is `raw/zh.jsonl`, which does not exist"]);
}

#[test]
fn an_input_for_no_source_or_of_another_format_is_refused() {
    let place = Workplace::new();
    place.write_raw_text();
    let run =
        |input: &str| place.neo(&["data", "run", "data.toml", "--out", "d", "--input", input]);
    run("zk=other.jsonl")
        .check(WRONG_INPUT, &["the recipe has no source `zk`", "hint: its sources are `zh`, `en`"]);
    run("zh=crawl.warc.gz").check(
        WRONG_INPUT,
        &["`crawl.warc.gz` is `warc` by its name, source `zh`", "reads `jsonl`"],
    );
    run("zh=a/*.parquet").check(WRONG_INPUT, &["hint: add `--set source.1.format=parquet`"]);
    assert!(!place.path("d").exists());
}
