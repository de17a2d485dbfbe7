//! Gives every reader damaged forms of valid files and sees that none panics, hangs or takes memory without end.
//!
//! `cargo run --release --example fuzz_readers -- SECONDS [SEED] [FILE..]`
//!
//! Each reader gets its share of the time. A FILE is one more valid input: a fastText `.bin`, a SentencePiece
//! `.model`, a `tokenizer.json`. A mutation is a function of seed and number, so what fails can be had again.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use neo_data::{
    Language, Result,
    corpus::Corpus,
    dedup::IndexReader,
    engine::Observer,
    extract,
    fast_text::FastText,
    filter::{RuleSet, RuleSource},
    personal,
    pipeline::{self, Dedup, Single, Stage},
    read::{Format, Reader, Source},
    shard::Shard,
    tokenizer::{Tokenizer, TrainerSettings},
    write::FileFormat,
};
use sha2::{Digest as _, Sha256};

/// A reading that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Memory that the process may come to, in KiB.
const MAX_MEMORY_KIB: u64 = 2 << 20;

/// A reader with valid inputs; it gets the damaged file.
struct Target {
    name: &'static str,
    file: &'static str,
    valid: Vec<Vec<u8>>,
    read: Box<dyn Fn(&Path)>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let seconds: u64 = number(arguments.next()).unwrap_or(60);
    let seed: u64 = number(arguments.next()).unwrap_or(1);
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let dir = std::env::temp_dir().join(format!("fuzz_readers-{}", std::process::id()));
    let targets = targets(&dir, &files)?;
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    for target in &targets {
        let n_runs = fuzz(target, &dir, seed, share);
        println!("{:<14}{n_runs:>9} damaged files of {} valid", target.name, target.valid.len());
    }
    std::fs::remove_dir_all(&dir).map_err(neo_data::Error::io(&dir))
}

/// Reads mutations until the time is over; returns how many.
fn fuzz(target: &Target, dir: &Path, seed: u64, share: Duration) -> u64 {
    let path = dir.join(target.file);
    let (start, mut number) = (Instant::now(), 0);
    while start.elapsed() < share {
        let mut random = Random(seed ^ (number << 20) ^ (target.name.len() as u64 * 0x9e37_79b9));
        let valid = &target.valid[random.below(target.valid.len())];
        let bytes = random.damage(valid);
        std::fs::write(&path, &bytes).expect("the temporary folder is writable");
        let begun = Instant::now();
        // A panic ends the program with the number that makes it happen again.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (target.read)(&path)));
        let kept =
            || format!("{} seed {seed} number {number}, kept as {}", target.name, path.display());
        assert!(outcome.is_ok(), "panic: {}", kept());
        assert!(begun.elapsed() < PATIENCE, "{:?} in {}", begun.elapsed(), kept());
        assert!(peak_memory_kib() < MAX_MEMORY_KIB, "memory: {}", kept());
        number += 1;
    }
    number
}

/// Most memory that the process had so far, where the system tells (Linux).
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

/// A counter-based generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A few changes: bytes flipped, set to extremes, taken out, doubled, the end cut off.
    fn damage(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for _ in 0..1 + self.below(8) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(8) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                3 => bytes[at..end].fill(0xff),
                4 => bytes[at..end].fill(0),
                5 => {
                    let piece = valid[self.below(valid.len())..].iter().take(32).copied();
                    drop(bytes.splice(at..end, piece.collect::<Vec<u8>>()));
                }
                6 => bytes[at] = self.next() as u8,
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory is writable")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory is writable")
}

/// The bytes plain, as gzip and as zstd.
fn packed(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![bytes.to_vec(), gzip(bytes), zstd(bytes)]
}

fn read_all(format: Format) -> Box<dyn Fn(&Path)> {
    Box::new(move |path| {
        let input = vec![path.to_string_lossy().into_owned()];
        if let Ok(reader) = Reader::open(&Source::new("s", Language::En, input, format)) {
            reader.for_each(drop);
        }
    })
}

const PAGE: &str = "<html><head><title>T</title></head><body><nav><a href=x>menu</a></nav><main><h1>Head</h1>\
    <p>A paragraph of <b>some</b> length, so that it is text.<table><tr><td>a<td>b</table><ul><li>one<li>two</ul>\
    <pre>code</pre></main><footer>&copy; 2024</footer></body></html>";

fn jsonl() -> Vec<u8> {
    let line = |i: usize| {
        format!(
            "{{\"id\":\"d{i}\",\"text\":\"text {i} 文本 {}\",\"n\":{i}}}\n",
            "word ".repeat(i % 9)
        )
    };
    (0..60).map(line).collect::<String>().into_bytes()
}

fn warcs() -> Vec<Vec<u8>> {
    let record = |kind: &str, content: &str| {
        let n_bytes = content.len();
        format!("WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:x>\r\nContent-Length: {n_bytes}\r\n\r\n{content}\r\n\r\n")
            .into_bytes()
    };
    let page = |head: &str, body: &str| {
        record(
            "response",
            &format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{head}\r\n{body}"),
        )
    };
    let chunked = format!("{:x}\r\n{PAGE}\r\n0\r\n\r\n", PAGE.len());
    let records = [
        record("warcinfo", "software: x"),
        page("", PAGE),
        page("Transfer-Encoding: chunked\r\n", &chunked),
        record("conversion", "some text"),
        page("Content-Encoding: br\r\n", "no brotli"),
    ];
    let by_record =
        |pack: fn(&[u8]) -> Vec<u8>| records.iter().flat_map(|record| pack(record)).collect();
    let mut files = packed(&records.concat());
    files.extend([by_record(gzip), by_record(zstd)]);
    files
}

/// Every reader with its inputs, made in `dir`.
fn targets(dir: &Path, files: &[PathBuf]) -> Result<Vec<Target>> {
    let io = |path: &Path| std::fs::read(path).map_err(neo_data::Error::io(path));
    std::fs::create_dir_all(dir).map_err(neo_data::Error::io(dir))?;
    let raw = dir.join("raw.jsonl");
    neo_data::write::write_file(&raw, &jsonl())?;
    let source = Source::new("s", Language::En, vec![raw.to_string_lossy().into()], Format::Jsonl);
    let (index, kept) = (dir.join("kept.index"), dir.join("kept.parquet"));
    let single = Single {
        out: dir,
        kept: "kept",
        format: FileFormat::Parquet,
        memory_bytes: 1 << 28,
        index: Some(&index),
    };
    let stage = Stage::Dedup(Dedup::Exact {});
    pipeline::run_single(&single, Some(&stage), &source, Observer::quiet())?;
    let tokenizer = Tokenizer::train(
        [("s", "the river ran past the old mill 河水流过古老的磨坊")],
        &TrainerSettings { character_coverage: 1.0, ..TrainerSettings::neo(300) },
        &mut |_, _| (),
    )?;
    let corpus = dir.join("corpus");
    pipeline::tokenize(std::slice::from_ref(&kept), &tokenizer, &corpus, &Observer::quiet())?;
    let mut targets = vec![
        Target { name: "jsonl", file: "x", valid: packed(&jsonl()), read: read_all(Format::Jsonl) },
        Target {
            name: "parquet",
            file: "x",
            valid: vec![io(&kept)?],
            read: read_all(Format::Parquet),
        },
        Target { name: "warc", file: "x", valid: warcs(), read: read_all(Format::Warc) },
        Target {
            name: "text",
            file: "x",
            valid: packed(PAGE.as_bytes()),
            read: read_all(Format::Text),
        },
        Target {
            name: "paragraphs",
            file: "x",
            valid: packed(&jsonl()),
            read: read_all(Format::Paragraphs),
        },
        Target { name: "html", file: "x", valid: vec![PAGE.into()], read: Box::new(read_html) },
        Target { name: "rules", file: "x.toml", valid: rule_files(), read: Box::new(read_rules) },
        Target {
            name: "dedup index",
            file: "x",
            valid: vec![io(&index)?],
            read: Box::new(read_index),
        },
    ];
    let mut models = vec![io(&corpus.join("tokenizer.json"))?];
    for file in files {
        let bytes = io(file)?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("bin") => targets.push(Target {
                name: "fastText",
                file: "x.bin",
                valid: vec![bytes],
                read: Box::new(|path| {
                    if let Ok(model) = FastText::read(path) {
                        model.predict("some words 词");
                    }
                }),
            }),
            Some("model") => targets.push(tokenizer_target("x.model", vec![bytes])),
            _ => models.push(bytes),
        }
    }
    targets.push(tokenizer_target("x.json", models));
    targets.extend(shard_targets(&corpus)?);
    Ok(targets)
}

fn tokenizer_target(file: &'static str, valid: Vec<Vec<u8>>) -> Target {
    let read = |path: &Path| {
        if let Ok(tokenizer) = Tokenizer::from_path(path) {
            let ids = tokenizer.encode("the river 河水 \u{1f600}");
            tokenizer.decode(&ids);
        }
    };
    let name = if file == "x.json" { "tokenizer.json" } else { "SentencePiece" };
    Target { name, file, valid, read: Box::new(read) }
}

/// The index of a shard and the manifest of a corpus, among their sound neighbours.
fn shard_targets(corpus: &Path) -> Result<Vec<Target>> {
    let entries = std::fs::read_dir(corpus).map_err(neo_data::Error::io(corpus))?;
    let mut indices: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
        .collect();
    indices.sort();
    let mut targets = Vec::new();
    if let Some(index) = indices.first() {
        let tokens = index.with_extension("bin");
        let read = move |path: &Path| {
            let _ = std::fs::copy(&tokens, path.with_extension("bin"));
            if let Ok(shard) = Shard::open(&path.with_extension(""), None) {
                for document in 0..shard.n_documents() {
                    let _ = shard.document(document);
                }
            }
        };
        let valid = vec![std::fs::read(index).map_err(neo_data::Error::io(index))?];
        targets.push(Target {
            name: "shard index",
            file: "shard.idx",
            valid,
            read: Box::new(read),
        });
    }
    let manifest = corpus.join("corpus.json");
    let valid = vec![std::fs::read(&manifest).map_err(neo_data::Error::io(&manifest))?];
    let dir = corpus.to_owned();
    let read = move |path: &Path| {
        let _ = std::fs::copy(path, &manifest);
        if let Ok(corpus) = Corpus::open(&dir) {
            let _ = corpus.verify();
        }
    };
    targets.push(Target { name: "corpus.json", file: "manifest", valid, read: Box::new(read) });
    Ok(targets)
}

fn rule_files() -> Vec<Vec<u8>> {
    let rules = "measures = \"matrix-en\"\nmode = \"faithful\"\n[rules]\nE10 = { min = 5 }\nE15 = { max = 0.1 }\n";
    vec![include_bytes!("../src/filter/basic.toml").to_vec(), rules.into()]
}

fn read_rules(path: &Path) {
    let name = path.to_string_lossy();
    let _ = RuleSet::read(RuleSource { name: &name, ..RuleSource::default() });
}

/// Damaged content under a right checksum, which alone would refuse it.
fn read_index(path: &Path) {
    let Ok(mut bytes) = std::fs::read(path) else { return };
    bytes.truncate(bytes.len().saturating_sub(32));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    let _ = std::fs::write(path, bytes);
    let Ok(mut index) = IndexReader::open(path, "exact {}") else { return };
    while let Ok(Some(_)) = index.next_document() {}
}

fn read_html(path: &Path) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let text = extract::page(&extract::charset::decode(&bytes, None).text).text;
    if let Some(masked) = personal::mask(&text, &personal::Kinds::ALL) {
        assert_eq!(personal::mask(&masked.text, &personal::Kinds::ALL), None, "masked twice");
    }
}
