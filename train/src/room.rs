//! Whether a recipe fits a device, and which micro-batch does: the plan's memory against what the
//! device has.

use std::fmt;

use burn::tensor::Device;
use neo_backends::{Precision, device, resident::BESIDE_THE_PLAN};
use neo_model::Recompute;

use crate::{
    Error, Result,
    error::gib,
    plan::{Memory, StepForm},
    recipe::{MicroBatch, Recipe},
};

/// Share of the free memory that `auto` plans with: allocators, kernels and what the plan only
/// estimates need the rest.
const USABLE_SHARE: f64 = 0.9;
/// Rows shorter than this are not proposed.
const SHORTEST_ROW: usize = 256;

/// A micro-batch that was chosen for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Rows of one forward and backward pass.
    pub rows: usize,
    /// Bytes that the step takes with it, as planned.
    pub planned: u64,
    /// Bytes that were free.
    pub free: u64,
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [planned, free] = [self.planned, self.free].map(gib);
        write!(f, "the most that fit, {planned} planned of {free} free")
    }
}

/// The rows that `recipe` states, or for `auto` the most that fit what is free on `device`.
///
/// # Errors
/// For `auto`: nothing fits, or the device does not tell what is free.
pub(crate) fn micro_batch(recipe: &Recipe, device: &Device) -> Result<(usize, Option<Fit>)> {
    match recipe.batch.micro_batch_sequences {
        MicroBatch::Rows(rows) => Ok((rows, None)),
        MicroBatch::Auto => {
            let free = device::free_memory(device).ok_or_else(|| {
                let problem = "the device does not tell how much memory is free";
                Error::Setting(format!(
                    "`batch.micro_batch_sequences` is `auto`, but {problem}; expected a number"
                ))
            })?;
            let fit = largest_micro_batch(recipe, free, StepForm::on(device, recipe))?;
            Ok((fit.rows, Some(fit)))
        }
    }
}

/// The largest micro-batch of a recipe whose plan fits a device with `free` bytes.
///
/// # Errors
/// Not even one row fits; the error has the plan's parts and what would fit.
pub fn largest_micro_batch(recipe: &Recipe, free: u64, form: StepForm) -> Result<Fit> {
    let refusal = || too_large(recipe, 1, usable(free, form), free, form);
    fitting(recipe, free, form).ok_or_else(refusal)
}

/// Refuses a recipe whose step takes more than all memory of the device.
///
/// # Errors
/// The recipe does not fit.
pub(crate) fn check(recipe: &Recipe, rows: usize, device: &Device) -> Result<()> {
    let form = StepForm::on(device, recipe);
    match device::total_memory(device) {
        Some(total) if Memory::of(recipe, rows, form).total() > total => {
            Err(too_large(recipe, rows, total, total, form))
        }
        _ => Ok(()),
    }
}

fn fitting(recipe: &Recipe, free: u64, form: StepForm) -> Option<Fit> {
    let usable = usable(free, form);
    let fits = |&rows: &usize| {
        let planned = Memory::of(recipe, rows, form).total();
        (planned <= usable && form.check(recipe, rows).is_ok()).then_some(Fit {
            rows,
            planned,
            free,
        })
    };
    recipe.possible_micro_batches().iter().find_map(fits)
}

fn usable(free: u64, form: StepForm) -> u64 {
    match form {
        StepForm::Tensors => (free as f64 * USABLE_SHARE) as u64,
        StepForm::Card { .. } => free.saturating_sub(BESIDE_THE_PLAN),
    }
}

fn too_large(recipe: &Recipe, rows: usize, available: u64, free: u64, form: StepForm) -> Error {
    Error::TooLarge {
        rows,
        memory: Box::new(Memory::of(recipe, rows, form)),
        available,
        remedy: remedy(recipe, free, form),
    }
}

/// The smallest change with which the recipe fits: fewer rows, less kept for the backward, smaller
/// moments, shorter rows, each on top of the ones before.
fn remedy(recipe: &Recipe, free: u64, form: StepForm) -> Option<String> {
    let mut recipe = recipe.clone();
    let mut changes = Vec::new();
    loop {
        if let Some(fit) = fitting(&recipe, free, form) {
            changes.push(format!("batch.micro_batch_sequences={}", fit.rows));
            return Some(changes.join(" "));
        }
        if recipe.recompute != Recompute::Block {
            recipe.recompute = Recompute::Block;
            changes.push("recompute=block".to_owned());
        } else if recipe.optimizer.moments != Precision::Bf16 {
            recipe.optimizer.moments = Precision::Bf16;
            changes.push("optimizer.moments=bf16".to_owned());
        } else if recipe.batch.seq_len >= 2 * SHORTEST_ROW {
            recipe.batch.seq_len /= 2;
            changes.retain(|change| !change.starts_with("batch.seq_len"));
            changes.push(format!("batch.seq_len={}", recipe.batch.seq_len));
        } else {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn recipe(name: &str, overrides: &[&str]) -> Recipe {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/{name}.toml"));
        let overrides: Vec<String> = overrides.iter().map(|&item| item.to_owned()).collect();
        Recipe::read(&path, &overrides).unwrap()
    }

    /// What an error says that `largest_micro_batch` gives.
    fn refusal(recipe: &Recipe, free: u64) -> (String, String) {
        let error = largest_micro_batch(recipe, free, StepForm::Tensors).unwrap_err();
        assert!(error.is_input());
        (error.to_string(), error.hint().unwrap())
    }

    #[test]
    fn the_largest_divisor_that_fits_is_taken() {
        let auto = recipe("neo_2b", &["batch.micro_batch_sequences=auto"]);
        let fit = largest_micro_batch(&auto, 80 * GIB, StepForm::Tensors).unwrap();
        assert_eq!((fit.rows, fit.free), (2, 80 * GIB));
        assert_eq!(fit.planned, Memory::of(&auto, 2, StepForm::Tensors).total());
        let usable = 72 * GIB;
        assert!(fit.planned <= usable && Memory::of(&auto, 4, StepForm::Tensors).total() > usable);
        // Any divisor of the batch will do, not powers of two alone.
        let odd = recipe("neo_2b", &["batch.micro_batch_sequences=1", "phase.0.batch_sequences=9"]);
        assert_eq!(largest_micro_batch(&odd, 120 * GIB, StepForm::Tensors).unwrap().rows, 3);
    }

    #[test]
    fn what_does_not_fit_is_told_by_part_with_what_would() {
        let large = recipe("neo_7b", &[]);
        let (message, hint) = refusal(&large, 139 * GIB);
        for part in ["master weights", "29.0 GiB", "moments", "58.1 GiB", "1 row", "125.1 GiB"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let change = "--set recompute=block --set optimizer.moments=bf16 \
                      --set batch.micro_batch_sequences=4`";
        assert!(hint.contains(change), "{hint}");
        let (_, hint) = refusal(&large, 24 * GIB);
        assert!(hint.contains("smaller model"), "{hint}");
        // Weights fit, the activations of a row do not.
        let (_, hint) = refusal(&recipe("neo_250m", &[]), 6 * GIB);
        assert!(hint.contains("recompute=block"), "{hint}");
        let (_, hint) = refusal(&recipe("neo_250m", &["optimizer.moments=bf16"]), 4 * GIB);
        assert!(hint.contains("batch.seq_len="), "{hint}");
    }

    #[test]
    fn a_card_gets_no_more_rows_than_its_kernels_take() {
        let auto = recipe("neo_250m", &["batch.micro_batch_sequences=auto"]);
        let card = StepForm::Card { has_hopper: true };
        let fit = largest_micro_batch(&auto, 1000 * GIB, card).unwrap();
        assert!(card.check(&auto, fit.rows).is_ok());
        assert!(card.check(&auto, 2 * fit.rows).is_err());
        let odd = recipe("neo_250m", &["model.vocab_size=64130"]);
        let problem = card.check(&odd, 1).unwrap_err();
        assert!(problem.is_input() && problem.to_string().contains("`vocab_size` is 64130"));
    }

    #[test]
    fn a_stated_number_stays() {
        let device = Device::flex();
        let stated = recipe("tiny", &["batch.micro_batch_sequences=2"]);
        assert_eq!(micro_batch(&stated, &device).unwrap(), (2, None));
        let auto = recipe("tiny", &["batch.micro_batch_sequences=auto"]);
        let (rows, fit) = micro_batch(&auto, &device).unwrap();
        assert!(auto.possible_micro_batches().contains(&rows));
        assert_eq!(fit.unwrap().rows, rows);
    }

    #[test]
    fn only_what_exceeds_the_whole_device_is_refused() {
        let device = Device::flex();
        check(&recipe("tiny", &[]), 1, &device).unwrap();
        let endless = recipe("neo_7b", &["phase.0.batch_sequences=1048576"]);
        check(&endless, 1_048_576, &device).unwrap_err();
    }
}
