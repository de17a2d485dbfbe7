//! The sample corpus of `neo demo`: small grammars of our own, written out as a raw crawl.
//!
//! A clean document states in `nats` what its choices cost: `-ln` of the probability with which its
//! grammar makes exactly this text, given its source. Every choice can be read off the text, so this
//! is the text's information content and no model can do better on average. Were a grammar
//! ambiguous somewhere, it would be an upper bound. Each document ends with a sentence that only
//! ends documents, so the end itself costs nothing more. Cleaning and training come after.

mod arithmetic;
mod chinese;
mod choice;
mod code;
mod english;
mod junk;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::{Document, Error, Language, Result};
use choice::Chooser;

/// Where a document comes from, one grammar each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// English stories.
    English,
    /// Chinese stories.
    Chinese,
    /// Sums with right results.
    Arithmetic,
    /// Small programs.
    Code,
}

impl Source {
    /// All sources, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::English, Self::Chinese, Self::Arithmetic, Self::Code];

    /// Name of the source in the data recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
            Self::Arithmetic => "math",
            Self::Code => "code",
        }
    }

    /// Language its documents are reported under.
    pub fn language(self) -> Language {
        match self {
            Self::English => Language::En,
            Self::Chinese => Language::Zh,
            Self::Arithmetic => Language::Other,
            Self::Code => Language::Code,
        }
    }

    /// Share of the corpus's clean documents.
    fn share(self) -> f64 {
        match self {
            Self::English => 0.42,
            Self::Chinese => 0.32,
            Self::Arithmetic => 0.15,
            Self::Code => 0.11,
        }
    }

    fn files(self) -> &'static [&'static str] {
        match self {
            Self::English => &["en-0.jsonl", "en-1.jsonl.gz"],
            Self::Chinese => &["zh-0.jsonl.zst", "zh-1.jsonl.gz"],
            Self::Arithmetic => &["math-0.jsonl.zst"],
            Self::Code => &["code-0.jsonl"],
        }
    }
}

/// Size of a sample corpus; with the seed it determines every byte.
#[derive(Clone, Copy, Debug)]
pub struct SampleSettings {
    /// Seed of all choices.
    pub seed: u64,
    /// Clean documents, over all sources.
    pub documents: usize,
    /// Share of the records that are junk, from 0 to below 1.
    pub junk_share: f64,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleSummary {
    /// Files, in the order of the sources.
    pub files: Vec<PathBuf>,
    /// Clean documents.
    pub documents: usize,
    /// UTF-8 bytes of clean text.
    pub utf8_bytes: u64,
    /// Nats of the clean documents.
    pub nats: f64,
    /// Junk records.
    pub junk: usize,
    /// Lines that are no record at all.
    pub broken_lines: usize,
}

/// Lines that no reader can take: cut off, not JSON, without a text.
const BROKEN_LINES: [&str; 3] = [
    r#"{"id":"en-broken-0","text":"The line was cut o"#,
    "This line was never JSON.",
    r#"{"id":"en-broken-2","title":"no text here"}"#,
];

/// The clean document of `source` with the given index, its entropy in `meta["nats"]`.
pub fn document(seed: u64, source: Source, idx: usize) -> Document {
    let mut chooser = Chooser::new(seed, source.name(), idx as u64);
    let text = match source {
        Source::English => english::document(&mut chooser),
        Source::Chinese => chinese::document(&mut chooser),
        Source::Arithmetic => arithmetic::document(&mut chooser),
        Source::Code => code::document(&mut chooser),
    };
    Document {
        id: format!("{}-{idx:06}", source.name()),
        text,
        source: source.name().to_owned(),
        url: None,
        language: source.language(),
        meta: Map::from_iter([("nats".to_owned(), json!(chooser.nats()))]),
        origin: None,
    }
}

/// Writes the corpus as raw JSONL files (plain, gz and zst) into `dir`, junk mixed in.
///
/// A record holds `id`, `text` and, when it is a clean document, `nats`.
///
/// # Errors
/// A junk share outside `[0, 1)`, no documents, or a file that cannot be written.
pub fn write(dir: &Path, settings: &SampleSettings) -> Result<SampleSummary> {
    if !(0.0..1.0).contains(&settings.junk_share) {
        return Err(Error::Setting(format!(
            "junk share must be at least 0 and below 1, found `{}`",
            settings.junk_share
        )));
    }
    if settings.documents == 0 {
        return Err(Error::Setting("a sample corpus needs documents, found `0`".into()));
    }
    fs_err::create_dir_all(dir).map_err(Error::io(dir))?;
    let mut summary = SampleSummary::default();
    for source in Source::ALL {
        write_source(dir, source, settings, &mut summary)?;
    }
    Ok(summary)
}

fn write_source(
    dir: &Path,
    source: Source,
    settings: &SampleSettings,
    summary: &mut SampleSummary,
) -> Result<()> {
    let n_documents = (settings.documents as f64 * source.share()).ceil() as usize;
    let names = source.files();
    let n_per_file = n_documents.div_ceil(names.len());
    for (file_idx, name) in names.iter().enumerate() {
        let path = dir.join(name);
        let first = file_idx * n_per_file;
        let records =
            Records { source, settings, range: first..(first + n_per_file).min(n_documents) };
        let body = records.render(summary);
        write_compressed(&path, body.as_bytes()).map_err(Error::io(&path))?;
        summary.files.push(path);
    }
    Ok(())
}

/// The records of one file.
struct Records<'a> {
    source: Source,
    settings: &'a SampleSettings,
    range: std::ops::Range<usize>,
}

impl Records<'_> {
    fn render(&self, summary: &mut SampleSummary) -> String {
        let seed = self.settings.seed;
        let mut body = String::new();
        if self.source == Source::English && self.range.start == 0 {
            for line in BROKEN_LINES {
                body += line;
                body.push('\n');
            }
            summary.broken_lines += BROKEN_LINES.len();
        }
        for idx in self.range.clone() {
            let document = document(seed, self.source, idx);
            summary.documents += 1;
            summary.utf8_bytes += document.text.len() as u64;
            let nats = &document.meta["nats"];
            summary.nats += nats.as_f64().unwrap_or_default();
            push_line(&mut body, json!({"id": document.id, "text": document.text, "nats": nats}));
            for junk_idx in self.junk_before(idx)..self.junk_before(idx + 1) {
                let text = self.junk_text(junk_idx, idx);
                let id = format!("{}-junk-{junk_idx:06}", self.source.name());
                push_line(&mut body, json!({"id": id, "text": text}));
                summary.junk += 1;
            }
        }
        body
    }

    /// Junk records that stand before the clean document `idx`: evenly spread, exact in number.
    fn junk_before(&self, idx: usize) -> usize {
        let share = self.settings.junk_share;
        (idx as f64 * share / (1.0 - share)).round() as usize
    }

    fn junk_text(&self, junk_idx: usize, idx: usize) -> String {
        let seed = self.settings.seed;
        let stream = format!("{} junk", self.source.name());
        let mut chooser = Chooser::new(seed, &stream, junk_idx as u64);
        junk::text(&mut chooser, idx + 1, |earlier| document(seed, self.source, earlier).text)
    }
}

fn push_line(body: &mut String, record: Value) {
    body.push_str(&record.to_string());
    body.push('\n');
}

fn write_compressed(path: &Path, body: &[u8]) -> std::io::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut encoder = GzEncoder::new(file, flate2::Compression::default());
            encoder.write_all(body)?;
            encoder.finish()?.flush()
        }
        Some("zst") => {
            let mut encoder = zstd::Encoder::new(file, 3)?;
            encoder.write_all(body)?;
            encoder.finish()?.flush()
        }
        _ => {
            file.write_all(body)?;
            file.flush()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SETTINGS: SampleSettings = SampleSettings { seed: 3, documents: 200, junk_share: 0.25 };

    #[test]
    fn documents_are_repeatable_and_differ() {
        let mut seen = BTreeSet::new();
        for source in Source::ALL {
            for idx in 0..100 {
                let one = document(1, source, idx);
                assert_eq!(one, document(1, source, idx));
                assert_ne!(one.text, document(2, source, idx).text);
                assert!(seen.insert(one.text), "{} repeats a document", one.id);
            }
        }
    }

    #[test]
    fn entropy_is_positive_and_far_below_the_bytes() {
        for source in Source::ALL {
            let (mut nats, mut bytes) = (0.0, 0);
            for idx in 0..200 {
                let one = document(1, source, idx);
                let own = one.meta["nats"].as_f64().unwrap();
                assert!(own > 10.0, "{}: {own}", one.id);
                nats += own;
                bytes += one.text.len();
                let n_chars = one.text.chars().count();
                assert!((80..1000).contains(&n_chars), "{}: {n_chars}", one.id);
            }
            let bits_per_byte = nats / std::f64::consts::LN_2 / bytes as f64;
            assert!((0.05..1.0).contains(&bits_per_byte), "{source:?}: {bits_per_byte}");
        }
    }

    #[test]
    fn writing_twice_gives_the_same_bytes_and_the_share_of_junk() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let summary = write(one.path(), &SETTINGS).unwrap();
        write(two.path(), &SETTINGS).unwrap();
        for path in &summary.files {
            let other = two.path().join(path.file_name().unwrap());
            assert_eq!(fs_err::read(path).unwrap(), fs_err::read(other).unwrap());
        }
        let share = summary.junk as f64 / (summary.junk + summary.documents) as f64;
        assert!((share - SETTINGS.junk_share).abs() < 0.01, "{share}");
        assert!(summary.nats > 0.0 && summary.broken_lines == BROKEN_LINES.len());
    }

    #[test]
    fn a_copy_differs_in_white_space_only() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let clean: BTreeSet<_> =
            (0..50).map(|idx| words(&document(3, Source::English, idx).text)).collect();
        let records = Records { source: Source::English, settings: &SETTINGS, range: 0..50 };
        let texts: Vec<String> = (0..200).map(|idx| records.junk_text(idx, 49)).collect();
        let n_copies = texts.iter().filter(|text| clean.contains(&words(text))).count();
        assert!((60..100).contains(&n_copies), "{n_copies}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let check = |settings: SampleSettings| {
            let dir = tempfile::tempdir().unwrap();
            assert!(write(dir.path(), &settings).unwrap_err().is_input());
        };
        check(SampleSettings { junk_share: 1.0, ..SETTINGS });
        check(SampleSettings { junk_share: f64::NAN, ..SETTINGS });
        check(SampleSettings { documents: 0, ..SETTINGS });
    }
}
