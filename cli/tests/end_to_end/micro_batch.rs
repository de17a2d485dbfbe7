//! `batch.micro_batch_sequences = "auto"`: chosen once, kept by the run, shown by the plan.

use super::program::Workplace;

const TRAIN: [&str; 6] = ["train", "train.toml", "--out", "run", "--device", "flex"];
const AUTO: [&str; 2] = ["--set", "batch.micro_batch_sequences=auto"];

fn train<'a>(place: &Workplace, more: &[&'a str], told: &[&'a str]) {
    place.neo(&[&TRAIN[..], more].concat()).check(0, told);
}

fn has_rows(place: &Workplace, rows: usize) -> bool {
    let recipe = fs_err::read_to_string(place.path("run/recipe.toml")).expect("a run's recipe");
    recipe.contains(&format!("micro_batch_sequences = {rows}\n"))
}

#[test]
fn a_new_run_takes_what_fits_and_writes_it_down() {
    let place = Workplace::new();
    place.prepare_training();
    train(&place, &AUTO, &["rows of a micro-batch: 4, the most that fit", "GiB free"]);
    assert!(has_rows(&place, 4));
}

#[test]
fn going_on_keeps_the_rows_unless_others_are_stated() {
    let place = Workplace::new();
    place.prepare_training();
    train(&place, &[], &["finished"]);
    let longer = ["--set", "phase.1.steps=5"];
    let told = ["rows of a micro-batch: 2, as this run had it", "resuming after step 8"];
    train(&place, &[&AUTO[..], &longer].concat(), &told);
    assert!(has_rows(&place, 2));
    let other = ["--set", "phase.1.steps=6", "--set", "batch.micro_batch_sequences=1"];
    let told = ["rows of a micro-batch: 1, it was 2", "resuming after step 10"];
    train(&place, &other, &told);
    assert!(has_rows(&place, 1));
}

#[test]
fn the_plan_shows_what_would_be_chosen() {
    let place = Workplace::new();
    place.prepare_training();
    let plan = |memory: &str| {
        place.neo(&[&["plan", "train.toml", "--memory", memory], &AUTO[..]].concat())
    };
    let table = plan("1GiB").check(0, &[]).stdout;
    let line = table.lines().find(|line| line.contains("micro-batch")).expect("a line for it");
    assert!(line.contains(" 4 ") && line.contains("the most that fit"), "{line}");
    plan("100KB").check(2, &["--memory", "expected a size such as `80GiB`"]);
    plan("0.1MiB").check(2, &["in a micro-batch needs", "master weights", "smaller model"]);
    place.neo(&[&["plan", "train.toml"], &AUTO[..]].concat()).check(0, &[]);
}
