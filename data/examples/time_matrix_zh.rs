//! Times the Chinese rules of Matrix on one thread.
//!
//! `cargo run --release -p neo-data --example time_matrix_zh -- GOLDEN_MATRIX_FOLDER [faithful|corrected]`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, path::Path, sync::LazyLock, time::Instant};

use neo_data::filter::{Mode, Verdict, matrix_zh::MatrixZh};
use serde_json::Value;

/// Passes over the texts; the fastest counts.
const N_PASSES: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected the folder of the golden values")?;
    let mode = match arguments.next().as_deref() {
        None | Some("faithful") => Mode::Faithful,
        Some("corrected") => Mode::Corrected,
        Some(other) => return Err(format!("unknown mode `{other}`").into()),
    };
    let folder = Path::new(&folder);
    let filter = MatrixZh::own(mode, &folder.join("data"))?;
    let packed = std::fs::File::open(folder.join("zh_verdicts.jsonl.zst"))?;
    let lines = String::from_utf8(zstd::decode_all(packed)?)?;
    let records: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let documents: Vec<(&str, Option<&str>)> = records
        .iter()
        .filter_map(|record| Some((record["raw_content"].as_str()?, record["url"].as_str())))
        .collect();
    let megabytes = documents.iter().map(|(text, _)| text.len()).sum::<usize>() as f64 / 1e6;
    for _ in 0..N_PASSES {
        let start = seconds();
        let verdicts = documents.iter().map(|&(text, url)| filter.judge(Some(text), url));
        let n_kept = verdicts.filter(|verdict| !matches!(verdict, Verdict::Drop { .. })).count();
        let (n, speed) = (documents.len(), megabytes / (seconds() - start));
        println!("{n_kept} of {n} kept, {megabytes:.2} MB, {speed:.2} MB/s");
    }
    Ok(())
}

/// Time that this thread was on a processor, where the system tells it (Linux), else the time of the clock. On a
/// machine with other work only the first says what the rules cost.
fn seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = *START;
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |told| told / 1e9)
}
