//! The real binary on bad input: runs that are there already, damaged checkpoints and a full disk.

use std::process::Command;

use crate::program::{Outcome, Workplace, snapshot};
use crate::{FAILED, TRAIN, WRONG_INPUT, flip_a_byte};

/// A finished run in `run`.
pub(crate) fn trained() -> Workplace {
    let place = Workplace::new();
    place.prepare_training();
    place.neo(&TRAIN).check(0, &[]);
    place
}

fn resume(place: &Workplace, more: &[&str]) -> Outcome {
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--resume", "auto"]);
    arguments.extend(more);
    place.neo(&arguments)
}

#[test]
fn a_corrupt_checkpoint_is_told_and_the_one_before_it_taken() {
    let place = trained();
    let older = place.path("run/checkpoints/step-00000006");
    let before = snapshot(&older);
    let newest = "run/checkpoints/step-00000008";
    let weights =
        fs_err::read(place.path(&format!("{newest}/model.safetensors"))).expect("weights");
    flip_a_byte(&place, &format!("{newest}/model.safetensors"));
    place.neo(&["verify", newest]).check(WRONG_INPUT, &["model.safetensors", "SHA-256"]);
    place.neo(&["export", "--model", newest, "--out", "hf"]).check(WRONG_INPUT, &["SHA-256"]);

    resume(&place, &[]).check(0, &["step-00000008", "model.safetensors"]);
    assert!(snapshot(&older) == before, "the old checkpoint is intact");
    let again = fs_err::read(place.path(&format!("{newest}/model.safetensors"))).expect("weights");
    assert!(again == weights, "the steps after it are done again, bit for bit");
}

#[test]
fn a_run_whose_checkpoints_are_all_corrupt_is_not_begun_anew() {
    let place = trained();
    for step in [4, 6, 8] {
        flip_a_byte(&place, &format!("run/checkpoints/step-{step:08}/optimizer.safetensors"));
    }
    resume(&place, &[]).check(FAILED, &["step-00000008", "optimizer.safetensors"]);
}

#[test]
fn a_changed_recipe_is_refused_on_resume() {
    let place = trained();
    let before = snapshot(&place.path("run"));
    let outcome = resume(&place, &["--set", "optimizer.beta1=0.8", "--set", "seed=2"]);
    outcome.check(WRONG_INPUT, &["`optimizer.beta1`", "`seed`"]);
    assert!(snapshot(&place.path("run")) == before, "the run is intact");
}

#[test]
fn an_out_that_holds_another_run_is_refused() {
    let place = trained();
    let before = snapshot(&place.path("run"));
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--resume", "never", "--set", "log.interval_steps=2"]);
    place.neo(&arguments).check(WRONG_INPUT, &["`run`", "hint: "]);
    assert!(snapshot(&place.path("run")) == before, "the run is intact");
}

/// A small file system of its own in memory, or `None` where mounting is not allowed.
struct SmallDisk<'a> {
    place: &'a Workplace,
}

impl<'a> SmallDisk<'a> {
    fn mount(place: &'a Workplace, kib: u64) -> Option<Self> {
        let point = place.path("disk");
        fs_err::create_dir(&point).expect("a folder");
        let size = format!("size={kib}k");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&point)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { place })
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.place.path("disk")).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("the test's tmpfs at {} stays mounted", self.place.path("disk").display());
        }
    }
}

/// Size of a folder's files in KiB, as a file system with pages of 4 KiB counts them.
fn kib(place: &Workplace, name: &str) -> u64 {
    snapshot(&place.path(name))
        .iter()
        .map(|(_, content)| content.len().div_ceil(4096) as u64 * 4)
        .sum()
}

#[test]
fn a_full_disk_during_a_checkpoint_leaves_the_one_before_it() {
    let place = trained();
    let checkpoint = kib(&place, "run/checkpoints/step-00000008");
    let beside = kib(&place, "run") - kib(&place, "run/checkpoints");
    // Room for one checkpoint and half of the next.
    let Some(disk) = SmallDisk::mount(&place, beside + checkpoint * 3 / 2) else {
        println!("SKIPPED: mounting a tmpfs is not allowed here");
        return;
    };
    let outcome = place.neo(&["train", "train.toml", "--out", "disk/run", "--device", "flex"]);
    outcome
        .check(FAILED, &["error: checkpoint `", "step-00000004", "No space left", "step-00000002"]);
    place.neo(&["verify", "disk/run"]).check(0, &[]);
    let kept = snapshot(&place.path("disk/run/checkpoints"));
    assert!(
        kept.iter().all(|(path, _)| path.to_string_lossy().contains("step-00000002")),
        "nothing of the failed checkpoint is left"
    );
    drop(disk);
}
