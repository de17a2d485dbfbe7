//! The learning rate as a pure function of the step: no state, so a resumed run cannot drift.
//!
//! Steps count from 0 within a phase, as Megatron counts them: its scheduler advances after the
//! update, so the first update of a warm-up from 0 has rate 0. The shapes are MAP-Neo's: a cosine
//! for the fundamental phase, an exponential for the decay phase, "wsd" (warm-up, stable, decay) as
//! the general option. The recipe holds one [`Schedule`] per phase.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Learning-rate shape of one phase. Rates are per update, lengths are in steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", try_from = "Written")]
pub enum Schedule {
    /// Linear warm-up, then half a cosine down to the floor.
    Cosine {
        /// Rate at the end of the warm-up.
        peak_lr: f64,
        /// Rate from `total_steps` on.
        min_lr: f64,
        /// Length of the warm-up, 0 for none.
        warmup_steps: u64,
        /// Rate of step 0 when there is a warm-up.
        warmup_from_lr: f64,
        /// Step at which the floor is reached, the warm-up included.
        total_steps: u64,
    },
    /// Halves every `half_life_steps` from the first step, down to the floor.
    Exponential {
        /// Rate of step 0.
        peak_lr: f64,
        /// Lowest rate.
        min_lr: f64,
        /// Steps in which the rate halves. Megatron adds one sample, a fraction of a step.
        half_life_steps: f64,
    },
    /// Linear warm-up from 0, the peak until `stable_steps`, then halving down to the floor.
    Wsd {
        /// Rate between warm-up and decay.
        peak_lr: f64,
        /// Lowest rate.
        min_lr: f64,
        /// Last step at the peak, the warm-up included.
        stable_steps: f64,
        /// Steps in which the rate halves afterwards.
        half_life_steps: f64,
        /// Length of the warm-up, 0 for none.
        warmup_steps: u64,
    },
    /// One rate throughout.
    Constant {
        /// The rate.
        lr: f64,
    },
}

impl Schedule {
    /// Learning rate of update `step` (from 0) of a phase of `phase_steps` updates.
    ///
    /// Past the phase's end an exponential or "wsd" schedule is at its floor, as Megatron's is.
    pub fn lr(&self, step: u64, phase_steps: u64) -> f64 {
        match *self {
            Self::Cosine { peak_lr, min_lr, warmup_steps, warmup_from_lr, total_steps } => {
                if step > total_steps {
                    return min_lr;
                }
                warmup(step, warmup_steps, warmup_from_lr, peak_lr).unwrap_or_else(|| {
                    let done = (step - warmup_steps) as f64 / (total_steps - warmup_steps) as f64;
                    min_lr + 0.5 * (peak_lr - min_lr) * (1.0 + (PI * done).cos())
                })
            }
            Self::Exponential { peak_lr, min_lr, half_life_steps } => {
                if step > phase_steps {
                    return min_lr;
                }
                halving(peak_lr, step as f64, half_life_steps).max(min_lr)
            }
            Self::Wsd { peak_lr, min_lr, stable_steps, half_life_steps, warmup_steps } => {
                if let Some(lr) = warmup(step, warmup_steps, 0.0, peak_lr) {
                    return lr;
                }
                if step > phase_steps {
                    return min_lr;
                }
                let past = (step as f64 - stable_steps).max(0.0);
                halving(peak_lr, past, half_life_steps).max(min_lr)
            }
            Self::Constant { lr } => lr,
        }
    }

    /// The name that the recipe's `kind` has.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cosine { .. } => "cosine",
            Self::Exponential { .. } => "exponential",
            Self::Wsd { .. } => "wsd",
            Self::Constant { .. } => "constant",
        }
    }

    /// What makes no sense in a phase of `phase_steps` steps, if anything; values in backticks.
    pub fn problem(&self, phase_steps: u64) -> Option<String> {
        match *self {
            Self::Cosine { peak_lr, min_lr, warmup_steps, warmup_from_lr, total_steps } => {
                rates_problem(peak_lr, min_lr)
                    .or_else(|| warmup_problem(warmup_steps, phase_steps))
                    .or_else(|| {
                        (!(0.0..=peak_lr).contains(&warmup_from_lr)).then(|| {
                            format!(
                                "`warmup_from_lr` is `{warmup_from_lr}`, expected 0 to `peak_lr` \
                                 `{peak_lr}`"
                            )
                        })
                    })
                    .or_else(|| {
                        (total_steps <= warmup_steps).then(|| {
                            format!(
                                "`total_steps` is `{total_steps}`, expected more than \
                                 `warmup_steps` `{warmup_steps}`"
                            )
                        })
                    })
            }
            Self::Exponential { peak_lr, min_lr, half_life_steps } => {
                rates_problem(peak_lr, min_lr).or_else(|| half_life_problem(half_life_steps))
            }
            Self::Wsd { peak_lr, min_lr, stable_steps, half_life_steps, warmup_steps } => {
                rates_problem(peak_lr, min_lr)
                    .or_else(|| warmup_problem(warmup_steps, phase_steps))
                    .or_else(|| half_life_problem(half_life_steps))
                    .or_else(|| {
                        (!(stable_steps.is_finite() && stable_steps >= warmup_steps as f64)).then(
                            || {
                                format!(
                                    "`stable_steps` is `{stable_steps}`, expected at least \
                                     `warmup_steps` `{warmup_steps}`"
                                )
                            },
                        )
                    })
            }
            Self::Constant { lr } => (!(lr.is_finite() && lr > 0.0))
                .then(|| format!("`lr` is `{lr}`, expected a finite number above 0")),
        }
    }
}

/// Megatron's arguments of its "wsd" style, which counts samples (steps times global batch).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MegatronWsd {
    /// Highest rate.
    pub peak_lr: f64,
    /// Lowest rate.
    pub min_lr: f64,
    /// Sequences in one global batch.
    pub batch_sequences: u64,
    /// Steps of the whole schedule.
    pub total_steps: u64,
    /// Steps of the warm-up from 0.
    pub warmup_steps: u64,
    /// Samples at the peak; -1 for `int(total / (1 + ratio))`, -2 for all.
    pub stable_samples: i64,
    /// Samples in which the rate halves; -1 for `0.5 * (total - stable) + 1`.
    pub half_life_samples: f64,
    /// Share of the decay in the stable part, used by `stable_samples = -1`.
    pub ratio: f64,
}

impl MegatronWsd {
    /// Samples at the peak and samples of the half-life, with -1 and -2 worked out.
    pub fn samples(&self) -> (u64, f64) {
        let total = self.total_steps * self.batch_sequences;
        let stable = match self.stable_samples {
            -2 => total,
            -1 => (total as f64 / (1.0 + self.ratio)) as u64,
            given => given.max(0).unsigned_abs(),
        };
        let half_life = if self.half_life_samples == -1.0 {
            0.5 * (total as f64 - stable as f64) + 1.0
        } else {
            self.half_life_samples
        };
        (stable, half_life)
    }

    /// The same schedule counted in steps, as a recipe states it.
    pub fn schedule(&self) -> Schedule {
        let (stable, half_life) = self.samples();
        Schedule::Wsd {
            peak_lr: self.peak_lr,
            min_lr: self.min_lr,
            stable_steps: stable as f64 / self.batch_sequences as f64,
            half_life_steps: half_life / self.batch_sequences as f64,
            warmup_steps: self.warmup_steps,
        }
    }
}

/// The linear part, `None` once it is over.
fn warmup(step: u64, warmup_steps: u64, from_lr: f64, peak_lr: f64) -> Option<f64> {
    (warmup_steps > 0 && step <= warmup_steps)
        .then(|| from_lr + (peak_lr - from_lr) * step as f64 / warmup_steps as f64)
}

fn halving(peak_lr: f64, steps: f64, half_life_steps: f64) -> f64 {
    peak_lr * 0.5f64.powf(steps / half_life_steps)
}

fn rates_problem(peak_lr: f64, min_lr: f64) -> Option<String> {
    if !(peak_lr.is_finite() && peak_lr > 0.0) {
        return Some(format!("`peak_lr` is `{peak_lr}`, expected a finite number above 0"));
    }
    (!(0.0..=peak_lr).contains(&min_lr))
        .then(|| format!("`min_lr` is `{min_lr}`, expected 0 to `peak_lr` `{peak_lr}`"))
}

fn warmup_problem(warmup_steps: u64, phase_steps: u64) -> Option<String> {
    (warmup_steps > phase_steps).then(|| {
        format!("`warmup_steps` is `{warmup_steps}`, expected at most the phase's `{phase_steps}`")
    })
}

fn half_life_problem(half_life_steps: f64) -> Option<String> {
    (!(half_life_steps.is_finite() && half_life_steps > 0.0)).then(|| {
        format!("`half_life_steps` is `{half_life_steps}`, expected a finite number above 0")
    })
}

/// A schedule as it stands in a file: every key optional, so that a wrong one is named with its
/// own line before the kind is looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Kind,
    peak_lr: Option<f64>,
    min_lr: Option<f64>,
    warmup_steps: Option<u64>,
    warmup_from_lr: Option<f64>,
    total_steps: Option<u64>,
    stable_steps: Option<f64>,
    half_life_steps: Option<f64>,
    lr: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Cosine,
    Exponential,
    Wsd,
    Constant,
}

impl TryFrom<Written> for Schedule {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let w = &mut written;
        let schedule = match w.kind {
            Kind::Cosine => Self::Cosine {
                peak_lr: taken(&mut w.peak_lr, "peak_lr")?,
                min_lr: taken(&mut w.min_lr, "min_lr")?,
                warmup_steps: taken(&mut w.warmup_steps, "warmup_steps")?,
                warmup_from_lr: taken(&mut w.warmup_from_lr, "warmup_from_lr")?,
                total_steps: taken(&mut w.total_steps, "total_steps")?,
            },
            Kind::Exponential => Self::Exponential {
                peak_lr: taken(&mut w.peak_lr, "peak_lr")?,
                min_lr: taken(&mut w.min_lr, "min_lr")?,
                half_life_steps: taken(&mut w.half_life_steps, "half_life_steps")?,
            },
            Kind::Wsd => Self::Wsd {
                peak_lr: taken(&mut w.peak_lr, "peak_lr")?,
                min_lr: taken(&mut w.min_lr, "min_lr")?,
                stable_steps: taken(&mut w.stable_steps, "stable_steps")?,
                half_life_steps: taken(&mut w.half_life_steps, "half_life_steps")?,
                warmup_steps: taken(&mut w.warmup_steps, "warmup_steps")?,
            },
            Kind::Constant => Self::Constant { lr: taken(&mut w.lr, "lr")? },
        };
        match written.left_over() {
            Some(key) => Err(format!("key `{key}` has no use in kind `{}`", schedule.kind())),
            None => Ok(schedule),
        }
    }
}

impl Written {
    /// A key that was given and not taken by the kind.
    fn left_over(&self) -> Option<&'static str> {
        [
            ("peak_lr", self.peak_lr.is_some()),
            ("min_lr", self.min_lr.is_some()),
            ("warmup_steps", self.warmup_steps.is_some()),
            ("warmup_from_lr", self.warmup_from_lr.is_some()),
            ("total_steps", self.total_steps.is_some()),
            ("stable_steps", self.stable_steps.is_some()),
            ("half_life_steps", self.half_life_steps.is_some()),
            ("lr", self.lr.is_some()),
        ]
        .into_iter()
        .find_map(|(key, given)| given.then_some(key))
    }
}

fn taken<T>(value: &mut Option<T>, key: &str) -> Result<T, String> {
    value.take().ok_or_else(|| format!("missing key `{key}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_text(text: &str, expected: &str) {
        let found = match toml::from_str::<Schedule>(text) {
            Ok(schedule) => format!("{schedule:?}"),
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_each_kind_and_refuses_foreign_keys() {
        check_text("kind = 'constant'\nlr = 1", "Constant { lr: 1.0 }");
        check_text(
            "kind = 'exponential'\npeak_lr = 2e-4\nmin_lr = 0\nhalf_life_steps = 10",
            "Exponential { peak_lr: 0.0002, min_lr: 0.0, half_life_steps: 10.0 }",
        );
        check_text("kind = 'constant'", "missing key `lr`");
        check_text(
            "kind = 'constant'\nlr = 1\nmin_lr = 0",
            "key `min_lr` has no use in kind `constant`",
        );
        check_text(
            "kind = 'wsd'\npeak_lr = 1\nmin_lr = 0\nstable_steps = 5\nhalf_life_steps = 2",
            "missing key `warmup_steps`",
        );
    }

    #[test]
    fn writes_what_it_reads() {
        for schedule in any_kinds(1e-3, 1e-4, 5, 20, 7.25) {
            let text = toml::to_string(&schedule).unwrap();
            assert_eq!(toml::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
        }
    }

    fn check_problem(schedule: Schedule, expected: &str) {
        assert_eq!(schedule.problem(100).as_deref(), Some(expected));
    }

    #[test]
    fn nonsense_is_named() {
        let cosine = |peak_lr, min_lr, warmup_steps, warmup_from_lr, total_steps| {
            Schedule::Cosine { peak_lr, min_lr, warmup_steps, warmup_from_lr, total_steps }
        };
        assert_eq!(cosine(1.0, 0.1, 10, 0.0, 100).problem(100), None);
        check_problem(
            cosine(0.0, 0.0, 1, 0.0, 9),
            "`peak_lr` is `0`, expected a finite number above 0",
        );
        check_problem(
            cosine(f64::NAN, 0.0, 1, 0.0, 9),
            "`peak_lr` is `NaN`, expected a finite number above 0",
        );
        check_problem(cosine(1.0, 2.0, 1, 0.0, 9), "`min_lr` is `2`, expected 0 to `peak_lr` `1`");
        check_problem(
            cosine(1.0, 0.0, 101, 0.0, 900),
            "`warmup_steps` is `101`, expected at most the phase's `100`",
        );
        check_problem(
            cosine(1.0, 0.0, 10, -1.0, 100),
            "`warmup_from_lr` is `-1`, expected 0 to `peak_lr` `1`",
        );
        check_problem(
            cosine(1.0, 0.0, 10, 0.0, 10),
            "`total_steps` is `10`, expected more than `warmup_steps` `10`",
        );
        check_problem(
            Schedule::Exponential { peak_lr: 1.0, min_lr: 0.0, half_life_steps: 0.0 },
            "`half_life_steps` is `0`, expected a finite number above 0",
        );
        check_problem(
            Schedule::Wsd {
                peak_lr: 1.0,
                min_lr: 0.0,
                stable_steps: 9.0,
                half_life_steps: 5.0,
                warmup_steps: 10,
            },
            "`stable_steps` is `9`, expected at least `warmup_steps` `10`",
        );
        check_problem(
            Schedule::Constant { lr: -1.0 },
            "`lr` is `-1`, expected a finite number above 0",
        );
    }

    /// One schedule of each kind from the same numbers.
    fn any_kinds(
        peak_lr: f64,
        min_lr: f64,
        warmup: u64,
        total: u64,
        half_life: f64,
    ) -> [Schedule; 4] {
        let stable_steps = warmup as f64 + half_life / 3.0;
        [
            Schedule::Cosine {
                peak_lr,
                min_lr,
                warmup_steps: warmup,
                warmup_from_lr: min_lr,
                total_steps: total,
            },
            Schedule::Exponential { peak_lr, min_lr, half_life_steps: half_life },
            Schedule::Wsd {
                peak_lr,
                min_lr,
                stable_steps,
                half_life_steps: half_life,
                warmup_steps: warmup,
            },
            Schedule::Constant { lr: peak_lr },
        ]
    }

    proptest! {
        #[test]
        fn continuous_and_bounded(
            peak_lr in 1e-6f64..1.0,
            floor_share in 0.0f64..=1.0,
            warmup in 0u64..300,
            rest in 1u64..1000,
            half_life in 0.5f64..500.0,
        ) {
            let total = warmup + rest;
            let min_lr = peak_lr * floor_share;
            for schedule in any_kinds(peak_lr, min_lr, warmup, total, half_life) {
                prop_assert_eq!(schedule.problem(total), None);
                // No step may move further than the steepest of the shapes does.
                let slope = peak_lr * (1.0 - 0.5f64.powf(1.0 / half_life))
                    + if warmup > 0 { peak_lr / warmup as f64 } else { 0.0 }
                    + 0.5 * PI * peak_lr / rest as f64;
                let is_wsd = matches!(schedule, Schedule::Wsd { .. });
                for step in 0..total {
                    let (lr, next) = (schedule.lr(step, total), schedule.lr(step + 1, total));
                    let lowest = if is_wsd && step <= warmup { 0.0 } else { min_lr };
                    prop_assert!(lr >= lowest * (1.0 - 1e-12) && lr <= peak_lr * (1.0 + 1e-12));
                    prop_assert!((next - lr).abs() <= slope * (1.0 + 1e-9));
                    prop_assert!(step < warmup || next <= lr * (1.0 + 1e-12));
                }
            }
        }
    }
}
