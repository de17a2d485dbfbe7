//! How fast a tokenizer encodes texts that lie in memory, after one pass to warm up:
//! `cargo run --release --example tokenizer_speed -- TOKENIZER THREADS FILE..`
//!
//! The files are JSONL with a field `text`. Prints a JSON line for each file and one for all, with the
//! fastest of some passes by the clock and by processor time, which other work on the machine disturbs
//! less; `bench/tokenizer.sh` puts them beside other programs' lines. Linux only, for processor time.

use std::{
    io::{Write, stdout},
    path::Path,
    time::Instant,
};

use neo_data::{
    Error, Language, Result,
    read::{Format, Reader, Record, Source},
    tokenizer::Tokenizer,
};

/// Rounds of passes over the texts; the fastest counts.
const N_ROUNDS: usize = 5;
/// Text bytes of a round at least: the system counts processor time in milliseconds.
const ROUND_BYTES: usize = 10_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, n_threads, files @ ..] = &arguments[..] else {
        return Err(Error::Setting("expected arguments: TOKENIZER THREADS FILE..".to_owned()));
    };
    let n_threads = n_threads.parse().map_err(|_| Error::Setting("THREADS is no number".into()))?;
    let tokenizer = Tokenizer::from_path(Path::new(tokenizer))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
    let pool = pool.map_err(|error| Error::Setting(error.to_string()))?;
    let mut all = Vec::new();
    for file in files {
        let texts = texts(file)?;
        pool.install(|| report(&tokenizer, file, n_threads, &texts));
        all.extend(texts);
    }
    pool.install(|| report(&tokenizer, "all", n_threads, &all));
    Ok(())
}

fn texts(file: &str) -> Result<Vec<String>> {
    let source = Source::new("input", Language::Other, vec![file.to_owned()], Format::Jsonl);
    let mut texts = Vec::new();
    for record in Reader::open(&source)? {
        if let Record::Document(document) = record? {
            texts.push(document.text);
        }
    }
    Ok(texts)
}

fn report(tokenizer: &Tokenizer, name: &str, n_threads: usize, texts: &[String]) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let n_bytes: usize = texts.iter().map(|text| text.len()).sum();
    let n_ids = tokenizer.encode_all(&texts, None).ids().len();
    let n_passes = ROUND_BYTES.div_ceil(n_bytes.max(1));
    let (mut by_clock, mut by_processor) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..N_ROUNDS {
        let (start, started) = (Instant::now(), processor_secs());
        for _ in 0..n_passes {
            drop(tokenizer.encode_all(&texts, None));
        }
        by_clock = by_clock.min(start.elapsed().as_secs_f64() / n_passes as f64);
        by_processor = by_processor.min((processor_secs() - started) / n_passes as f64);
    }
    let rate = |seconds: f64| n_bytes as f64 / 1e6 / seconds;
    drop(writeln!(
        stdout(),
        "{{\"what\":{name:?},\"threads\":{n_threads},\"bytes\":{n_bytes},\"ids\":{n_ids},\
         \"mb_per_s\":{:.1},\"mb_per_cpu_s\":{:.1}}}",
        rate(by_clock),
        rate(by_processor)
    ));
}

/// Seconds that all threads of this process have run; the kernel writes nanoseconds.
fn processor_secs() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(nanoseconds).sum::<f64>() / 1e9
}
