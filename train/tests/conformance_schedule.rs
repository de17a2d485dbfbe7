//! Learning rates against the golden tables: `schedule_{fundamental,decay,wsd}.csv`.
//!
//! The tables state the samples, steps and rates; what only their README states (peak, floor,
//! warm-up and length of the first two) is found from the tables themselves.

use std::{collections::BTreeMap, path::PathBuf};

use neo_train::schedule::{MegatronWsd, Schedule};

const RELATIVE: f64 = 1e-12;

/// The golden folder, or `None` where there is none and none was asked for.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn golden() -> Option<PathBuf> {
    let (folder, asked) = match std::env::var_os("NEO_GOLDEN") {
        Some(folder) => (PathBuf::from(folder), true),
        None => {
            let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
            (root.join("../shared/data/golden"), false)
        }
    };
    if folder.join("train").is_dir() {
        return Some(folder.join("train"));
    }
    assert!(!asked, "NEO_GOLDEN leads to `{}`, which has no folder `train`", folder.display());
    eprintln!("skipped: no golden folder at `{}`", folder.display());
    None
}

/// Rows of a table by column name; fields of these tables hold no commas or quotes.
fn table(name: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let path = golden()?.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a heading").split(',').collect();
    let rows: Vec<_> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), names.len(), "{name}: {line}");
            names.iter().zip(fields).map(|(n, f)| ((*n).to_owned(), f.to_owned())).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "`{}` has no rows", path.display());
    Some(rows)
}

fn number<T: std::str::FromStr>(row: &BTreeMap<String, String>, column: &str) -> T {
    let field = row.get(column).unwrap_or_else(|| panic!("no column `{column}`"));
    field.parse().unwrap_or_else(|_| panic!("column `{column}`: `{field}`"))
}

#[track_caller]
fn check(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(error <= RELATIVE * expected.abs(), "{what}: {found:e}, expected {expected:e}");
}

fn column(rows: &[BTreeMap<String, String>], name: &str) -> Vec<(u64, f64)> {
    rows.iter().map(|row| (number(row, "t"), number(row, name))).collect()
}

fn highest(points: &[(u64, f64)]) -> (u64, f64) {
    points.iter().copied().fold((0, f64::MIN), |best, p| if p.1 > best.1 { p } else { best })
}

#[test]
fn conformance_schedule_fundamental() {
    let Some(rows) = table("schedule_fundamental.csv") else { return };
    let names: Vec<&String> = rows[0].keys().filter(|name| name.starts_with("lr_from")).collect();
    assert!(!names.is_empty(), "no column `lr_from_..`");
    for name in names {
        let points = column(&rows, name);
        let (warmup_steps, peak_lr) = highest(&points);
        let min_lr = points.last().expect("rows").1;
        let (total_steps, _) =
            *points.iter().find(|p| p.0 > warmup_steps && p.1 == min_lr).unwrap();
        let warmup_from_lr = points[0].1;
        let schedule =
            Schedule::Cosine { peak_lr, min_lr, warmup_steps, warmup_from_lr, total_steps };
        assert_eq!(schedule.problem(total_steps), None);
        for (t, lr) in points {
            check(schedule.lr(t, total_steps), lr, &format!("{name}, t = {t}"));
        }
    }
}

#[test]
fn conformance_schedule_decay() {
    let Some(rows) = table("schedule_decay.csv") else { return };
    let names: Vec<&String> = rows[0].keys().filter(|name| name.starts_with("lr_")).collect();
    assert!(!names.is_empty(), "no column `lr_..`");
    for name in names {
        let points = column(&rows, name);
        let peak_lr = points[0].1;
        let (past_end, min_lr) = *points.last().expect("rows");
        let total_steps = past_end - 1;
        let half_life_steps = match name.rsplit_once("_batch_") {
            None => total_steps as f64 / 2.0,
            Some((_, batch)) => {
                let megatron = MegatronWsd {
                    peak_lr,
                    min_lr,
                    batch_sequences: batch.parse().expect("the batch in the column's name"),
                    total_steps,
                    warmup_steps: 0,
                    stable_samples: 0,
                    half_life_samples: -1.0,
                    ratio: 0.0,
                };
                for &(t, lr) in &points {
                    let found = megatron.schedule().lr(t, total_steps);
                    check(found, lr, &format!("{name} as wsd, t = {t}"));
                }
                megatron.samples().1 / megatron.batch_sequences as f64
            }
        };
        let schedule = Schedule::Exponential { peak_lr, min_lr, half_life_steps };
        for (t, lr) in points {
            check(schedule.lr(t, total_steps), lr, &format!("{name}, t = {t}"));
        }
    }
}

#[test]
fn conformance_schedule_wsd() {
    let Some(rows) = table("schedule_wsd.csv") else { return };
    let lrs = column(&rows, "lr");
    let peak_lr = highest(&lrs).1;
    let total = |row| number::<u64>(row, "total_steps");
    let past_end = rows.iter().find(|row| number::<u64>(row, "t") > total(row));
    let min_lr = number(past_end.expect("a row past the end"), "lr");
    for row in &rows {
        let batch_sequences: u64 = number(row, "batch");
        let stable: i64 = number(row, "stable_arg");
        let half_life: f64 = number(row, "half_life_arg");
        let megatron = MegatronWsd {
            peak_lr,
            min_lr,
            batch_sequences,
            total_steps: total(row),
            warmup_steps: number(row, "warmup_steps"),
            // The table gives a stable part of its own in steps, and a half-life in samples.
            stable_samples: if stable > 0 { stable * batch_sequences as i64 } else { stable },
            half_life_samples: half_life,
            ratio: number(row, "ratio"),
        };
        let t: u64 = number(row, "t");
        let what = format!("{}, t = {t}", row["case"]);
        let samples = (number(row, "stable_samples"), number(row, "half_life_samples"));
        assert_eq!(megatron.samples(), samples, "{what}");
        check(megatron.schedule().lr(t, megatron.total_steps), number(row, "lr"), &what);
    }
}
