//! The same first steps of a recipe in several ways, and how far their losses are apart:
//! `cargo run --release --example compare_curves -- RECIPE OUT STEPS DEVICE [KEY=VALUE..]`
//!
//! The device's own kernels in f32, burn's operations in f32, and the device's kernels in bf16 with
//! moments in f32 and in bf16, where the device has that format.

use std::{
    io::{Write, stderr, stdout},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use burn::tensor::Device;
use neo_backends::{Precision, device, fallback, form};
use neo_train::{
    Error, Result,
    metrics::{self, Line},
    pretrain::{Event, RunOptions, pretrain},
    recipe::Recipe,
    run_folder::Resume,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, out, steps, device, overrides @ ..] = &arguments[..] else {
        return Err(Error::Setting("expected four arguments: RECIPE OUT STEPS DEVICE".to_owned()));
    };
    let steps = steps
        .parse()
        .map_err(|_| Error::Setting(format!("STEPS is `{steps}`, expected a number")))?;
    let recipe = first_steps(Recipe::read(Path::new(recipe), overrides)?, steps)?;
    let device = device::open(device).map_err(neo_model::Error::from)?;
    let out = PathBuf::from(out);
    let run = |name: &str, precision, moments| {
        let mut recipe = recipe.clone();
        (recipe.precision, recipe.optimizer.moments) = (precision, moments);
        losses(&recipe, out.join(name), &device)
    };
    let ours = run("kernels", Precision::F32, Precision::F32)?;
    print(&format!("fallbacks in f32: {}", fallback::count()));
    let reference = form::with_reference(|| run("reference", Precision::F32, Precision::F32))?;
    compare("burn's operations, f32", &reference, &ours);
    if Precision::Bf16.check(&device).is_ok() {
        compare("bf16", &run("bf16", Precision::Bf16, Precision::F32)?, &ours);
        let moments = run("bf16_moments", Precision::Bf16, Precision::Bf16)?;
        compare("bf16, moments too", &moments, &ours);
    }
    Ok(())
}

/// The recipe cut after `steps` of its first phase.
fn first_steps(mut recipe: Recipe, steps: u64) -> Result<Recipe> {
    recipe.phases.truncate(1);
    recipe.phases[0].steps = steps;
    recipe.eval.interval_steps = steps;
    recipe.checkpoint.interval_steps = steps;
    recipe.log.interval_steps = 1;
    recipe.validate()?;
    Ok(recipe)
}

/// Trains to the end and returns the loss of every step.
fn losses(recipe: &Recipe, out: PathBuf, device: &Device) -> Result<Vec<f64>> {
    let options = RunOptions {
        out,
        resume: Resume::Never,
        max_time: None,
        device: device.clone(),
        stop: Arc::new(AtomicBool::new(false)),
        environment: serde_json::Value::Null,
    };
    pretrain(recipe, &options, &mut |event| {
        if let Event::Step(step) = event
            && step.step.is_multiple_of(20)
        {
            drop(writeln!(
                stderr(),
                "{}: step {} loss {:.4}",
                options.out.display(),
                step.step,
                step.loss
            ));
        }
    })?;
    let lines = metrics::read(&options.out.join(metrics::FILE_NAME))?;
    Ok(lines
        .iter()
        .filter_map(|line| if let Line::Step(step) = line { Some(step.loss) } else { None })
        .collect())
}

fn compare(name: &str, theirs: &[f64], ours: &[f64]) {
    let apart = |(theirs, ours): (&f64, &f64)| ((theirs - ours) / ours).abs();
    let largest = theirs.iter().zip(ours).map(apart).fold(0.0, f64::max);
    let last =
        |losses: &[f64]| losses.iter().rev().take(10).sum::<f64>() / losses.len().min(10) as f64;
    print(&format!(
        "{name}: {} steps, largest relative difference {largest:.1e}; mean of the last ten {:.5} against {:.5}, {:+.2} %",
        theirs.len(),
        last(theirs),
        last(ours),
        100.0 * (last(theirs) / last(ours) - 1.0),
    ));
}

/// A closed pipe is no error.
fn print(line: &str) {
    drop(writeln!(stdout(), "{line}"));
}
