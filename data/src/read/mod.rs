//! Raw files to documents: the first stage, streaming, one record at a time.
//!
//! A [`Source`] says what to read and how; [`Reader`] yields a [`Record`] for each record of its files in a fixed
//! order. A bad record is data: it comes out as [`Record::Bad`] with its place and reason. Only what makes a whole
//! file unusable is an error. Cutting long documents is [`split`]'s, judging them is the filters'.

mod file;
mod guarded;
mod inputs;
mod jsonl;
mod parquet;
pub mod split;
mod stream;
mod text;
mod warc;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use self::file::InputFile;
pub(crate) use self::stream::for_each_line;
use crate::{Document, Error, Language, Result, engine::Fingerprint, store::Store};

/// Longest record in bytes: a line of JSON, a paragraph, a whole text file. Longer ones are bad records, so a
/// file without line ends cannot fill the memory. The longest book of Project Gutenberg is under 10 MB.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// One named source of documents: a `[[source]]` of a data recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name by which mixtures and reports refer to it.
    pub name: String,
    /// Language of its documents.
    pub language: Language,
    /// Files, folders (read recursively) or patterns with `*` inside a path component; also `s3://bucket/key` and
    /// `https://` addresses.
    pub input: Vec<String>,
    /// What the files hold.
    pub format: Format,
    /// Field of a record that holds the text.
    #[serde(default = "default_text_field")]
    pub text_field: String,
    /// Field of a record that holds its id.
    #[serde(default = "default_id_field")]
    pub id_field: String,
    /// Field of a record that holds its address.
    #[serde(default = "default_url_field")]
    pub url_field: String,
    /// Which files of a folder are read, by extension; each format has its own usual ones, `tree` needs this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
    /// Documents longer than this many characters are cut into parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_chars: Option<usize>,
    /// Reading stops before the text read exceeds this many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Text bytes taken at most from each first-level folder of a `tree`, so that the sample is varied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_folder: Option<u64>,
    /// A `Cargo.lock`: of a `tree`, only the first-level folders `name-version` that it pins are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_file: Option<PathBuf>,
    /// How `s3://` and `https://` addresses of `input` are reached; the caller's matter, not the recipe's.
    #[serde(skip)]
    pub store: Store,
}

fn default_text_field() -> String {
    "text".to_owned()
}

fn default_id_field() -> String {
    "id".to_owned()
}

fn default_url_field() -> String {
    "url".to_owned()
}

impl Source {
    /// A source with the usual field names and no limits.
    pub fn new(name: &str, language: Language, input: Vec<String>, format: Format) -> Self {
        Self {
            name: name.to_owned(),
            language,
            input,
            format,
            text_field: default_text_field(),
            id_field: default_id_field(),
            url_field: default_url_field(),
            extensions: None,
            split_chars: None,
            max_bytes: None,
            max_bytes_per_folder: None,
            lock_file: None,
            store: Store::default(),
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the source and the key.
    pub fn validate(&self) -> Result<()> {
        let fail = |what: &str| Err(Error::Setting(format!("source `{}`: {what}", self.name)));
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return fail(
                "the name must be letters, digits, `-`, `_` and `.`, for it becomes a file name",
            );
        }
        if self.input.is_empty() {
            return fail("`input` is empty, expected at least one path");
        }
        if self.split_chars.is_some_and(|chars| chars < split::MIN_PART_CHARS) {
            return fail(&format!("`split_chars` must be at least {}", split::MIN_PART_CHARS));
        }
        if self.format == Format::Tree && self.extensions.as_ref().is_none_or(Vec::is_empty) {
            return fail("format `tree` needs `extensions`, for example [\"rs\"]");
        }
        if self.format != Format::Tree
            && (self.max_bytes_per_folder.is_some() || self.lock_file.is_some())
        {
            return fail("`max_bytes_per_folder` and `lock_file` are for format `tree`");
        }
        Ok(())
    }
}

/// What the files of a source hold, and so what one document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Parquet with a text column.
    Parquet,
    /// Plain text: the whole file is one document.
    Text,
    /// Plain text: every line is a document.
    Lines,
    /// Plain text: paragraphs between blank lines are documents.
    Paragraphs,
    /// Plain text with ` = Title = ` lines (WikiText): every such line starts a document.
    Articles,
    /// WARC: web pages as HTML, whose text is taken out, or the plain texts of WET files.
    Warc,
    /// A folder of files, each one document, in the order of the hash of their names, so that a byte limit takes
    /// a fair sample and not the first letters of the alphabet.
    Tree,
}

impl Format {
    /// The format that a file's name tells for sure: `.jsonl`, `.json`, `.ndjson`, `.parquet`, `.warc`, `.wet`.
    pub fn of_name(name: &str) -> Option<Self> {
        match inputs::extension(name).as_deref() {
            Some("jsonl" | "ndjson" | "json") => Some(Self::Jsonl),
            Some("parquet") => Some(Self::Parquet),
            Some("warc" | "wet") => Some(Self::Warc),
            _ => None,
        }
    }

    /// The format that a file's name tells, else text.
    pub fn of_path(path: &str) -> Self {
        Self::of_name(path).unwrap_or(Self::Text)
    }

    /// The format of an input: that of its name, or of the files in it if it is a folder, here or in a store.
    ///
    /// # Errors
    /// A folder whose files are of several formats or of none that is known, or that cannot be read.
    pub fn of_input(input: &str, store: &Store) -> Result<Self> {
        if !crate::store::is_address(input) {
            return Self::of_local(input);
        }
        match Self::of_name(input) {
            Some(format) => Ok(format),
            None => Ok(inputs::format_under(input, store)?.unwrap_or(Self::Text)),
        }
    }

    fn of_local(path: &str) -> Result<Self> {
        match std::path::Path::new(path).is_dir() {
            true => inputs::format_in(path),
            false => Ok(Self::of_path(path)),
        }
    }

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Text => "text",
            Self::Lines => "lines",
            Self::Paragraphs => "paragraphs",
            Self::Articles => "articles",
            Self::Warc => "warc",
            Self::Tree => "tree",
        }
    }

    /// Extensions read in a folder when the source names none.
    fn usual_extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jsonl => &["jsonl", "ndjson", "json"],
            Self::Parquet => &["parquet"],
            Self::Warc => &["warc", "wet"],
            Self::Text | Self::Lines | Self::Paragraphs | Self::Articles => {
                &["txt", "md", "tokens"]
            }
            Self::Tree => &[],
        }
    }
}

/// Identity of the files that a source reads: their names in ids, their order, their contents.
///
/// # Errors
/// As [`Reader::open`], or a file cannot be read.
pub(crate) fn fingerprint(source: &Source) -> Result<Fingerprint> {
    let mut parts = Vec::new();
    for file in inputs::find(source)? {
        let content = file.fingerprint()?;
        parts.extend([file.name, content.to_string()]);
    }
    Ok(Fingerprint::of(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// What a reader yields for each record of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A usable document.
    Document(Document),
    /// A record that is not one.
    Bad(BadRecord),
}

/// A record that holds no document: where, why, and how much text was lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BadRecord {
    /// `file:line`, counted from 1; for Parquet the row, for WARC the byte offset.
    pub place: String,
    /// The kind, by which it is counted.
    pub reason: BadReason,
    /// What exactly was wrong.
    pub detail: String,
    /// Size of the record.
    pub bytes: u64,
}

/// Kinds of bad records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReason {
    /// Not valid UTF-8.
    InvalidUtf8,
    /// Not valid JSON, or not an object.
    BrokenJson,
    /// The text field is missing or not a string.
    NoText,
    /// Longer than [`MAX_RECORD_BYTES`].
    TooLong,
    /// A WARC record that is not built as one, or an answer in it that is not.
    BrokenRecord,
    /// The file ends within the record.
    Truncated,
    /// The compressed data that the record is in are damaged.
    Damaged,
}

impl BadReason {
    /// The name in accounts.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::BrokenJson => "broken_json",
            Self::NoText => "no_text",
            Self::TooLong => "too_long",
            Self::BrokenRecord => "broken_record",
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
        }
    }
}

/// Kinds of records that hold no document and are not meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PassedOver {
    Request,
    Metadata,
    OtherKind,
    Status,
    ContentType,
}

/// How many records of each kind were passed over.
#[derive(Debug, Default)]
struct PassedCounts([AtomicU64; 5]);

impl PassedCounts {
    const NAMES: [&str; 5] = ["request", "metadata", "other_kind", "http_status", "content_type"];

    fn count(&self, kind: PassedOver) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn by_name(&self) -> BTreeMap<String, u64> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Self::NAMES
            .map(str::to_owned)
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// Records of one file.
type FileReader = Box<dyn Iterator<Item = Result<Record>> + Send>;

/// Streams the records of a source, file after file. After an error it yields nothing more.
pub struct Reader {
    source: Source,
    files: std::vec::IntoIter<InputFile>,
    current: Option<FileReader>,
    position: Arc<AtomicU64>,
    total_bytes: u64,
    taken_bytes: u64,
    folder_bytes: HashMap<String, u64>,
    limits: Limits,
    passed: Arc<PassedCounts>,
}

/// What of a source was left unread, because of its byte limits or because it is no text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Whether `max_bytes` ended the reading.
    pub max_bytes_reached: bool,
    /// Files left out because their folder had given its `max_bytes_per_folder`.
    pub files_over_folder_limit: u64,
    /// Records of WARC files that are no pages, by kind: requests, metadata, other answers than 200.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub passed_over: BTreeMap<String, u64>,
}

impl Reader {
    /// Finds the files of a source; nothing is opened yet.
    ///
    /// # Errors
    /// A setting that makes no sense, a path that does not exist, a folder without a fitting file.
    pub fn open(source: &Source) -> Result<Self> {
        source.validate()?;
        let files = inputs::find(source)?;
        let total_bytes = files.iter().map(|file| file.bytes).sum();
        Ok(Self {
            source: source.clone(),
            files: files.into_iter(),
            current: None,
            position: Arc::default(),
            total_bytes,
            taken_bytes: 0,
            folder_bytes: HashMap::new(),
            limits: Limits::default(),
            passed: Arc::default(),
        })
    }

    /// Bytes of the files read so far and in all, as they lie on disk, for progress.
    pub fn progress(&self) -> (u64, u64) {
        (self.position.load(Ordering::Relaxed), self.total_bytes)
    }

    /// What was left unread.
    pub fn limits(&self) -> Limits {
        Limits { passed_over: self.passed.by_name(), ..self.limits.clone() }
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(reader) = &mut self.current {
                match reader.next() {
                    Some(Ok(Record::Document(document))) if self.over_limit(&document) => {
                        return Ok(None);
                    }
                    Some(record) => return record.map(Some),
                    None => self.current = None,
                }
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            if self.folder_has_room(&file) {
                self.current = Some(self.open_file(&file)?);
            } else {
                self.position.fetch_add(file.bytes, Ordering::Relaxed);
            }
        }
    }

    fn open_file(&self, file: &InputFile) -> Result<FileReader> {
        let (source, position) = (&self.source, Arc::clone(&self.position));
        Ok(match source.format {
            Format::Jsonl => Box::new(jsonl::Jsonl::open(file, source, position)?),
            Format::Parquet => Box::new(parquet::Parquet::open(file, source, position)?),
            Format::Warc => {
                Box::new(warc::Warc::open(file, source, position, Arc::clone(&self.passed))?)
            }
            Format::Text | Format::Tree => Box::new(text::WholeFile::new(file, source, position)),
            Format::Lines => {
                Box::new(text::Pieces::open(file, source, text::Unit::Line, position)?)
            }
            Format::Paragraphs => {
                Box::new(text::Pieces::open(file, source, text::Unit::Paragraph, position)?)
            }
            Format::Articles => {
                Box::new(text::Pieces::open(file, source, text::Unit::Article, position)?)
            }
        })
    }

    /// Counts a document against `max_bytes`; the one that would exceed it ends the reading.
    fn over_limit(&mut self, document: &Document) -> bool {
        self.taken_bytes += document.text.len() as u64;
        let over = self.source.max_bytes.is_some_and(|limit| self.taken_bytes > limit);
        if over {
            self.limits.max_bytes_reached = true;
            self.current = None;
            self.files = Vec::new().into_iter();
        }
        over
    }

    fn folder_has_room(&mut self, file: &InputFile) -> bool {
        let Some(limit) = self.source.max_bytes_per_folder else { return true };
        let folder = file.name.split('/').next().unwrap_or_default().to_owned();
        let used = self.folder_bytes.entry(folder).or_default();
        if *used + file.bytes > limit {
            self.limits.files_over_folder_limit += 1;
            return false;
        }
        *used += file.bytes;
        true
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record().transpose();
        if matches!(record, Some(Err(_))) {
            self.current = None;
            self.files = Vec::new().into_iter();
        }
        record
    }
}
