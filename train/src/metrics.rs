//! What a run reports while it trains: one schema for terminal, `metrics.jsonl`, TensorBoard, report.
//!
//! `metrics.jsonl` is append-only, one object a line, in the order of the steps, each line handed to
//! the system at once. On resume the lines after the checkpoint's step are cut off, so that the file
//! reads as if the run had never stopped. Event files are in `tfevents.rs`; the loop measures.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, tfevents::EventWriter};

/// Name of the file in the run folder.
pub const FILE_NAME: &str = "metrics.jsonl";

/// One update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMetrics {
    /// Updates done, this one included: 1 after the first.
    pub step: u64,
    /// Input tokens of all updates done.
    pub tokens: u64,
    /// Name of the phase.
    pub phase: String,
    /// Token-weighted mean loss of the batch before the update, nats per token.
    pub loss: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Input tokens per second of this step.
    pub tokens_per_sec: f64,
    /// Wall time of this step, milliseconds.
    pub step_ms: f64,
    /// Share of the stated peak that the model's FLOPs used, attention counted in full; left out
    /// when the device's peak is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
    /// Memory in use on the device, bytes; left out when the device does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bytes: Option<u64>,
}

/// One evaluation on held-out text and benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalMetrics {
    /// Updates done.
    pub step: u64,
    /// Figures by name, such as `bpb_en` and `acc_arc_easy`.
    pub eval: BTreeMap<String, f64>,
    /// Wall time of this evaluation, milliseconds; files of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_ms: Option<f64>,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An evaluation.
    Eval(EvalMetrics),
    /// An update.
    Step(StepMetrics),
}

impl Line {
    /// Updates done when the line was written.
    pub fn step(&self) -> u64 {
        match self {
            Self::Eval(metrics) => metrics.step,
            Self::Step(metrics) => metrics.step,
        }
    }
}

/// Reads a whole `metrics.jsonl`; a torn last line, which a killed run leaves, is ignored.
///
/// # Errors
/// The file cannot be read, or a complete line is not of this schema.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for line in CompleteLines::open(path)? {
        lines.push(line?.parse(path)?);
    }
    Ok(lines)
}

/// Cuts off every line after `step` and a torn last line; returns how many lines stay.
///
/// The steps of a file never fall, so what goes is its tail, and one `set_len` removes it: a crash
/// leaves the old file or the new one. A missing file counts as empty.
///
/// # Errors
/// The file cannot be read or written, or one of the lines that stay is not of this schema; nothing
/// is cut then.
pub fn truncate_after(path: &Path, step: u64) -> Result<u64> {
    if !path.exists() {
        return Ok(0);
    }
    let (mut keep_bytes, mut n_kept) = (0, 0);
    let mut unread = None;
    for (idx, line) in CompleteLines::open(path)?.enumerate() {
        let line = line?;
        match line.parse(path) {
            Ok(parsed) if parsed.step() <= step => {
                if let Some(error) = unread {
                    return Err(error);
                }
                keep_bytes = line.end_bytes;
                n_kept = idx as u64 + 1;
            }
            Ok(_) => {}
            // Garbage may stand behind the part that stays, never within it.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    let file = OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
    file.set_len(keep_bytes).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))?;
    Ok(n_kept)
}

/// Writes both forms of a run's metrics.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
    events: EventWriter,
    last_step: u64,
}

impl MetricsWriter {
    /// Goes on in `run_dir` after `step` updates, 0 for a new run; later lines are cut off.
    ///
    /// # Errors
    /// As [`truncate_after`], and when a file cannot be created.
    pub fn open(run_dir: &Path, step: u64) -> Result<Self> {
        let path = run_dir.join(FILE_NAME);
        truncate_after(&path, step)?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(Error::io(&path))?;
        let events = EventWriter::create(&run_dir.join("events"), step)?;
        Ok(Self { path, file, events, last_step: step })
    }

    /// Writes one update.
    ///
    /// # Errors
    /// A value is not finite, the step is lower than one before, or writing fails.
    pub fn step(&mut self, metrics: &StepMetrics) -> Result<()> {
        let StepMetrics { loss, lr, grad_norm, tokens_per_sec, step_ms, mfu, mem_bytes, .. } =
            *metrics;
        let mut values = vec![
            ("train/loss", loss),
            ("train/lr", lr),
            ("train/grad_norm", grad_norm),
            ("speed/tokens_per_sec", tokens_per_sec),
            ("speed/step_ms", step_ms),
            ("progress/tokens", metrics.tokens as f64),
        ];
        values.extend(mfu.map(|mfu| ("speed/mfu", mfu)));
        values.extend(mem_bytes.map(|bytes| ("speed/mem_bytes", bytes as f64)));
        self.append(metrics.step, metrics, &values)
    }

    /// Writes one evaluation.
    ///
    /// # Errors
    /// As [`MetricsWriter::step`].
    pub fn eval(&mut self, metrics: &EvalMetrics) -> Result<()> {
        let tags: Vec<String> = metrics.eval.keys().map(|name| format!("eval/{name}")).collect();
        let figures = tags.iter().map(String::as_str).zip(metrics.eval.values().copied());
        let time = metrics.eval_ms.map(|eval_ms| ("speed/eval_ms", eval_ms));
        let values: Vec<(&str, f64)> = figures.chain(time).collect();
        self.append(metrics.step, metrics, &values)
    }

    /// Brings all lines so far to the disk; to be called before a checkpoint counts on them.
    ///
    /// # Errors
    /// The system cannot write.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))?;
        self.events.sync()
    }

    fn append(&mut self, step: u64, line: &impl Serialize, values: &[(&str, f64)]) -> Result<()> {
        if let Some((tag, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
            let problem = format!("`{tag}` is `{value}` at step {step}, expected a finite number");
            return Err(Error::Setting(problem));
        }
        if step < self.last_step {
            let last = self.last_step;
            return Err(Error::Setting(format!("metrics of step {step} come after step {last}")));
        }
        self.last_step = step;
        let mut text =
            serde_json::to_vec(line).expect("numbers, strings and maps with string keys");
        text.push(b'\n');
        // One write, so that a kill tears at most the last line.
        self.file.write_all(&text).map_err(Error::io(&self.path))?;
        self.events.scalars(step, values)
    }
}

/// The lines of a file that end with a newline, with their place.
struct CompleteLines {
    path: PathBuf,
    reader: BufReader<File>,
    n_lines: u64,
    end_bytes: u64,
}

struct CompleteLine {
    number: u64,
    end_bytes: u64,
    bytes: Vec<u8>,
}

impl CompleteLines {
    fn open(path: &Path) -> Result<Self> {
        let reader = BufReader::new(File::open(path).map_err(Error::io(path))?);
        Ok(Self { path: path.to_owned(), reader, n_lines: 0, end_bytes: 0 })
    }
}

impl Iterator for CompleteLines {
    type Item = Result<CompleteLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        if let Err(error) = self.reader.read_until(b'\n', &mut bytes) {
            return Some(Err(Error::io(&self.path)(error)));
        }
        if bytes.pop() != Some(b'\n') {
            return None;
        }
        self.n_lines += 1;
        self.end_bytes += bytes.len() as u64 + 1;
        Some(Ok(CompleteLine { number: self.n_lines, end_bytes: self.end_bytes, bytes }))
    }
}

impl CompleteLine {
    fn parse(&self, path: &Path) -> Result<Line> {
        serde_json::from_slice(&self.bytes).map_err(|_| Error::Malformed {
            path: path.to_owned(),
            problem: format!("line {} is not a line of metrics", self.number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            tokens: step * 2048,
            phase: "fundamental".to_owned(),
            loss: 1.0 / 3.0 + step as f64,
            lr: 2e-4,
            grad_norm: 0.1,
            tokens_per_sec: 1e4,
            step_ms: 204.8,
            mfu: None,
            mem_bytes: Some(1 << 40),
        }
    }

    fn eval(step: u64) -> EvalMetrics {
        EvalMetrics { step, eval: BTreeMap::from([("bpb_en".to_owned(), 0.9)]), eval_ms: None }
    }

    /// A run folder with updates 1 to 6 and evaluations after 3 and 6.
    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = MetricsWriter::open(folder.path(), 0).unwrap();
        for n in 1..=6 {
            writer.step(&step(n)).unwrap();
            if n % 3 == 0 {
                writer.eval(&eval(n)).unwrap();
            }
        }
        writer.sync().unwrap();
        let path = folder.path().join(FILE_NAME);
        (folder, path)
    }

    #[test]
    fn what_is_written_reads_back_bit_for_bit() {
        let (_folder, path) = written();
        let lines = read(&path).unwrap();
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[0], Line::Step(step(1)));
        assert_eq!(lines[3], Line::Eval(eval(3)));
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(r#"{"step":1,"tokens":2048,"phase":"fundamental","loss":1.33"#));
        assert!(!first.contains("mfu") && first.contains(r#""mem_bytes":1099511627776"#));
        assert_eq!(text.lines().nth(3), Some(r#"{"step":3,"eval":{"bpb_en":0.9}}"#));
    }

    /// Cuts a copy that ends with `tail` after `step` and compares with the first `n_lines` lines.
    fn check_cut(tail: &[u8], step: u64, n_lines: usize) {
        let (_folder, path) = written();
        let before = std::fs::read(&path).unwrap();
        let mut torn = before.clone();
        torn.extend_from_slice(tail);
        std::fs::write(&path, torn).unwrap();
        assert_eq!(truncate_after(&path, step).unwrap(), n_lines as u64);
        let expected: Vec<u8> =
            before.split_inclusive(|&b| b == b'\n').take(n_lines).flatten().copied().collect();
        assert_eq!(std::fs::read(&path).unwrap(), expected, "after {step}");
    }

    #[test]
    fn cutting_is_exact() {
        for (step, n_lines) in [(0, 0), (1, 1), (2, 2), (3, 4), (5, 6), (6, 8), (99, 8)] {
            for tail in ["", "{\"step\":7,\"tok", "\0\0\0\0", "no metrics\n", "\0\n{\"step\":7"] {
                check_cut(tail.as_bytes(), step, n_lines);
            }
        }
        assert_eq!(truncate_after(Path::new("absent/metrics.jsonl"), 3).unwrap(), 0);
    }

    #[test]
    fn damage_within_the_part_that_stays_is_an_error_and_cuts_nothing() {
        let (_folder, path) = written();
        let damaged = std::fs::read_to_string(&path).unwrap().replacen("loss", "lo\0s", 1);
        std::fs::write(&path, &damaged).unwrap();
        let error = truncate_after(&path, 3).unwrap_err().to_string();
        assert!(error.ends_with("`: line 1 is not a line of metrics"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        assert!(read(&path).is_err());
    }

    #[test]
    fn a_resumed_run_leaves_the_same_file() {
        let (folder, path) = written();
        let uninterrupted = std::fs::read(&path).unwrap();
        let mut writer = MetricsWriter::open(folder.path(), 2).unwrap();
        for n in 3..=6 {
            writer.step(&step(n)).unwrap();
            if n % 3 == 0 {
                writer.eval(&eval(n)).unwrap();
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), uninterrupted);
    }

    #[test]
    fn what_must_not_be_written_is_refused() {
        let (folder, path) = written();
        let before = std::fs::read(&path).unwrap();
        let mut writer = MetricsWriter::open(folder.path(), 6).unwrap();
        let error = writer.step(&StepMetrics { loss: f64::NAN, ..step(7) }).unwrap_err();
        assert!(error.to_string().contains("`train/loss` is `NaN` at step 7"), "{error}");
        let error = writer.step(&step(5)).unwrap_err();
        assert_eq!(error.to_string(), "metrics of step 5 come after step 6");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
