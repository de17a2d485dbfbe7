//! A corpus: one folder with `corpus.json`, the token shards it lists and the tokenizer's files.
//!
//! Written by the tokenize stage through `CorpusWriter`, opened by the loader and by evaluation. A
//! source (the key of mixture weights) may have several entries: one per language, split and shard.
//! What the shards' bytes mean is told in `shard.rs`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pending_file::PendingFile;
use crate::shard::{Shard, ShardWriter, expect_equal, hex};
use crate::{Error, Language, Result};

const VERSION: u32 = 1;
const MANIFEST: &str = "corpus.json";
/// A shard is closed at the first document that takes it here: 4 GiB of two-byte ids.
const SHARD_TOKENS: u64 = 1 << 31;

/// What `corpus.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusManifest {
    /// Version of this file's layout.
    pub version: u32,
    /// `Tokenizer::vocab_hash` of the tokenizer the ids come from.
    pub vocab_hash: String,
    /// Number of ids, the specials included.
    pub vocab_size: usize,
    /// The id at the end of every document.
    pub eod_id: u32,
    /// The shards, ordered by source, language and split.
    pub sources: Vec<SourceEntry>,
}

/// One shard of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// Name of the source, the key of mixture weights.
    pub name: String,
    /// Language of all documents in the shard.
    pub language: Language,
    /// Whether training may see them.
    pub split: Split,
    /// File name of the shard without suffix, in the corpus folder.
    pub shard: String,
    /// Number of documents.
    pub documents: u64,
    /// Number of tokens, EOD included.
    pub tokens: u64,
    /// UTF-8 bytes of the texts.
    pub utf8_bytes: u64,
    /// `Shard::checksum`.
    pub sha256: String,
    /// Sum of the documents' own entropy in nats, where a generator states it for every one of
    /// them.
    pub meta_nats: Option<f64>,
}

/// Which half of a source an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Sampled for training.
    Train,
    /// Kept for evaluation (`Document::is_held_out`).
    HeldOut,
}

impl Split {
    fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "held-out",
        }
    }
}

/// An opened corpus with all its shards mapped.
#[derive(Debug)]
pub struct Corpus {
    dir: PathBuf,
    hash: String,
    manifest: CorpusManifest,
    shards: BTreeMap<String, Shard>,
}

impl Corpus {
    /// Opens a corpus folder; every shard must have the manifest's vocabulary, counts and sizes.
    ///
    /// # Errors
    /// A missing or malformed file, naming it.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let bytes = fs_err::read(&path).map_err(Error::io(&path))?;
        let manifest: CorpusManifest = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Malformed { path: path.clone(), problem: error.to_string() })?;
        manifest.check(&path)?;
        let mut shards = BTreeMap::new();
        for entry in &manifest.sources {
            let shard = Shard::open(&dir.join(&entry.shard), Some(&manifest.vocab_hash))?;
            entry.check(&manifest, &shard)?;
            if shards.insert(entry.shard.clone(), shard).is_some() {
                let problem = format!("shard `{}` is listed twice", entry.shard);
                return Err(Error::Malformed { path, problem });
            }
        }
        Ok(Self { dir: dir.to_owned(), hash: hex(&Sha256::digest(&bytes)), manifest, shards })
    }

    /// Reads every shard and compares its checksum with the manifest's.
    ///
    /// # Errors
    /// The first shard that differs.
    pub fn verify(&self) -> Result<()> {
        self.manifest.sources.iter().try_for_each(|entry| {
            let shard = self.shard(entry);
            expect_equal(shard.path(), "SHA-256", entry.sha256.as_str(), &shard.checksum())
        })
    }

    /// What `corpus.json` says.
    pub fn manifest(&self) -> &CorpusManifest {
        &self.manifest
    }

    /// SHA-256 of `corpus.json` in hex; through the shards' checksums in it, of everything.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The folder, which also holds the tokenizer.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shard of an entry of this corpus's manifest.
    ///
    /// # Panics
    /// When the entry is another corpus's.
    pub fn shard(&self, entry: &SourceEntry) -> &Shard {
        self.shards.get(&entry.shard).expect("all shards of the manifest are opened with it")
    }

    /// The entries of one split, in the manifest's order.
    pub fn sources(&self, split: Split) -> impl Iterator<Item = &SourceEntry> {
        self.manifest.sources.iter().filter(move |entry| entry.split == split)
    }

    /// The held-out entries of one language.
    pub fn held_out(&self, language: Language) -> Vec<&SourceEntry> {
        self.sources(Split::HeldOut).filter(|entry| entry.language == language).collect()
    }
}

impl CorpusManifest {
    fn check(&self, path: &Path) -> Result<()> {
        expect_equal(path, "version", &VERSION, &self.version)?;
        let wrong = |problem| Err(Error::Malformed { path: path.to_owned(), problem });
        if self.eod_id as usize >= self.vocab_size {
            return wrong(format!(
                "eod_id {} is not below vocab_size {}",
                self.eod_id, self.vocab_size
            ));
        }
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']);
        match self.sources.iter().find(|entry| !plain(&entry.shard)) {
            Some(entry) => wrong(format!("shard `{}` is not a plain file name", entry.shard)),
            None => Ok(()),
        }
    }
}

impl SourceEntry {
    fn check(&self, manifest: &CorpusManifest, shard: &Shard) -> Result<()> {
        let path = shard.path();
        expect_equal(path, "vocabulary size", &(manifest.vocab_size as u64), &shard.vocab_size())?;
        expect_equal(path, "number of documents", &self.documents, &(shard.n_documents() as u64))?;
        expect_equal(path, "number of tokens", &self.tokens, &shard.n_tokens())?;
        let utf8_bytes = (0..shard.n_documents()).map(|i| u128::from(shard.utf8_bytes(i))).sum();
        expect_equal(path, "number of UTF-8 bytes", &u128::from(self.utf8_bytes), &utf8_bytes)
    }
}

/// The tokenizer's part of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// `Tokenizer::vocab_hash`.
    pub hash: String,
    /// `Tokenizer::vocab_size`.
    pub size: usize,
    /// `Tokenizer::eod_id`.
    pub eod_id: u32,
}

/// Distributes tokenized documents over the shards of a new corpus. `corpus.json` is written last.
#[derive(Debug)]
pub struct CorpusWriter {
    dir: PathBuf,
    vocabulary: Vocabulary,
    shard_tokens: u64,
    open: BTreeMap<Part, OpenShard>,
    finished: BTreeMap<(Part, usize), SourceEntry>,
}

/// What documents must share to be in one shard.
type Part = (String, Language, Split);

#[derive(Debug)]
struct OpenShard {
    stem: String,
    number: usize,
    writer: ShardWriter,
    meta_nats: Option<f64>,
}

impl CorpusWriter {
    /// Starts a corpus in `dir`, which is made when missing; an older `corpus.json` there is
    /// removed, since its shards are about to be replaced. The tokenizer's files are the caller's
    /// to save there.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn create(dir: &Path, vocabulary: Vocabulary) -> Result<Self> {
        fs_err::create_dir_all(dir).map_err(Error::io(dir))?;
        let manifest = dir.join(MANIFEST);
        match fs_err::remove_file(&manifest) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(&manifest)(error));
            }
            _ => {}
        }
        Ok(Self {
            dir: dir.to_owned(),
            vocabulary,
            shard_tokens: SHARD_TOKENS,
            open: BTreeMap::new(),
            finished: BTreeMap::new(),
        })
    }

    /// Appends a document: its ids, which must end with EOD, the UTF-8 bytes of its text, and its
    /// own entropy in nats where the generator states it.
    ///
    /// # Errors
    /// Ids that are outside the vocabulary or do not end with EOD, or a failed write.
    pub fn push(
        &mut self,
        source: &str,
        language: Language,
        split: Split,
        ids: &[u32],
        utf8_bytes: u64,
        meta_nats: Option<f64>,
    ) -> Result<()> {
        if ids.last() != Some(&self.vocabulary.eod_id) {
            let problem = format!("a document of source `{source}` does not end with EOD");
            return Err(Error::Setting(problem));
        }
        let part = (source.to_owned(), language, split);
        if !self.open.contains_key(&part) {
            let shard = self.start_shard(&part)?;
            self.open.insert(part.clone(), shard);
        }
        let shard = self.open.get_mut(&part).expect("inserted above when it was missing");
        shard.writer.push(ids, utf8_bytes)?;
        shard.meta_nats = shard.meta_nats.zip(meta_nats).map(|(sum, nats)| sum + nats);
        if shard.writer.n_tokens() >= self.shard_tokens {
            self.finish_shard(&part)?;
        }
        Ok(())
    }

    /// Finishes all shards and writes `corpus.json`.
    ///
    /// # Errors
    /// A failed write; there is no `corpus.json` of this writer then.
    pub fn finish(mut self) -> Result<CorpusManifest> {
        while let Some(part) = self.open.keys().next().cloned() {
            self.finish_shard(&part)?;
        }
        let Vocabulary { hash, size, eod_id } = self.vocabulary;
        let manifest = CorpusManifest {
            version: VERSION,
            vocab_hash: hash,
            vocab_size: size,
            eod_id,
            sources: self.finished.into_values().collect(),
        };
        let mut json = serde_json::to_vec_pretty(&manifest).expect("plain fields always serialize");
        json.push(b'\n');
        let mut file = PendingFile::create(&self.dir.join(MANIFEST))?;
        file.write(&json)?;
        file.commit()?;
        Ok(manifest)
    }

    fn start_shard(&self, part: &Part) -> Result<OpenShard> {
        let number = self.finished.keys().filter(|(other, _)| other == part).count();
        let stem = self.free_stem(part, number);
        let writer = ShardWriter::create(
            &self.dir.join(&stem),
            self.vocabulary.size,
            &self.vocabulary.hash,
        )?;
        Ok(OpenShard { stem, number, writer, meta_nats: Some(0.0) })
    }

    /// A file name that tells the part and that no other shard of this corpus has.
    fn free_stem(&self, (source, language, split): &Part, number: usize) -> String {
        let plain: String = source
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
            .collect();
        let base = format!("{plain}-{}-{}-{number:03}", language.name(), split.as_str());
        let taken = |stem: &str| {
            self.open.values().any(|shard| shard.stem == stem)
                || self.finished.values().any(|entry| entry.shard == stem)
        };
        let variants = (2..).map(|variant| format!("{base}-{variant}"));
        let stem = std::iter::once(base.clone()).chain(variants).find(|stem| !taken(stem));
        stem.expect("an endless list has a free name")
    }

    fn finish_shard(&mut self, part: &Part) -> Result<()> {
        let Some(OpenShard { stem, number, writer, meta_nats }) = self.open.remove(part) else {
            return Ok(());
        };
        let summary = writer.finish()?;
        let (name, language, split) = part.clone();
        let entry = SourceEntry {
            name,
            language,
            split,
            shard: stem,
            documents: summary.documents,
            tokens: summary.tokens,
            utf8_bytes: summary.utf8_bytes,
            sha256: summary.sha256,
            meta_nats,
        };
        self.finished.insert((part.clone(), number), entry);
        Ok(())
    }
}

/// Small corpora for the tests of this crate.
#[cfg(test)]
pub(crate) mod toy {
    use super::*;

    pub(crate) const EOD: u32 = 9_999;

    pub(crate) fn vocabulary() -> Vocabulary {
        Vocabulary { hash: "ab".repeat(32), size: 10_000, eod_id: EOD }
    }

    /// Writes one training entry per source from documents without EOD, which is added.
    pub(crate) fn corpus(dir: &Path, sources: &[(&str, Vec<Vec<u32>>)]) -> Corpus {
        let mut writer = CorpusWriter::create(dir, vocabulary()).unwrap();
        writer.shard_tokens = 64; // so that a source of any size has several shards
        for (name, documents) in sources {
            for ids in documents {
                let ids: Vec<u32> = ids.iter().copied().chain([EOD]).collect();
                writer
                    .push(name, Language::En, Split::Train, &ids, ids.len() as u64, None)
                    .unwrap();
            }
        }
        writer.finish().unwrap();
        Corpus::open(dir).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::toy::{EOD, vocabulary};
    use super::*;

    fn write(dir: &Path) -> CorpusManifest {
        let mut writer = CorpusWriter::create(dir, vocabulary()).unwrap();
        writer.shard_tokens = 5;
        let train = Split::Train;
        writer.push("web", Language::En, train, &[1, 2, EOD], 7, Some(0.5)).unwrap();
        writer.push("web", Language::Zh, train, &[3, EOD], 3, None).unwrap();
        writer.push("web", Language::En, train, &[4, 5, EOD], 8, Some(1.0)).unwrap();
        writer.push("web", Language::En, train, &[6, EOD], 1, Some(2.0)).unwrap();
        writer.push("web", Language::En, Split::HeldOut, &[7, EOD], 2, None).unwrap();
        writer.push("a/b", Language::Code, train, &[8, EOD], 2, None).unwrap();
        writer.push("a-b", Language::Code, train, &[8, EOD], 2, None).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn opens_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path());
        let corpus = Corpus::open(dir.path()).unwrap();
        assert_eq!(corpus.manifest(), &manifest);
        corpus.verify().unwrap();
        let names: Vec<_> = manifest.sources.iter().map(|entry| entry.shard.as_str()).collect();
        let expected = [
            "a-b-code-train-000-2",
            "a-b-code-train-000",
            "web-en-train-000",
            "web-en-train-001",
            "web-en-held-out-000",
            "web-zh-train-000",
        ];
        assert_eq!(names[2..], expected[2..]);
        assert!(names[..2].contains(&expected[0]) && names[..2].contains(&expected[1]));
        let first = &manifest.sources[2];
        assert_eq!((first.documents, first.tokens, first.utf8_bytes), (2, 6, 15));
        assert_eq!(first.meta_nats, Some(1.5));
        assert_eq!(manifest.sources[4].meta_nats, None);
        assert_eq!(corpus.shard(first).document(1).unwrap(), [4, 5, EOD]);
        assert_eq!(corpus.held_out(Language::En), [&manifest.sources[4]]);
        assert!(corpus.held_out(Language::Zh).is_empty());
        assert_eq!(corpus.sources(Split::Train).count(), 5);
    }

    #[test]
    fn the_same_documents_give_the_same_hash() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hashes = dirs.each_ref().map(|dir| {
            write(dir.path());
            Corpus::open(dir.path()).unwrap().hash().to_owned()
        });
        assert_eq!(hashes[0], hashes[1]);
    }

    /// Changes the text of `corpus.json` and compares the end of the message.
    fn check(from: &str, to: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let path = dir.path().join(MANIFEST);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
        let message = Corpus::open(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }

    #[test]
    fn a_manifest_that_does_not_fit_is_refused() {
        check("\"version\": 1", "\"version\": 2", "corpus.json`: version is `2`, expected `1`");
        check("\"tokens\": 6", "\"tokens\": 7", "number of tokens is `6`, expected `7`");
        check("\"utf8_bytes\": 15", "\"utf8_bytes\": 16", "UTF-8 bytes is `15`, expected `16`");
        check(
            "\"eod_id\": 9999",
            "\"eod_id\": 10000",
            "eod_id 10000 is not below vocab_size 10000",
        );
        check("web-en-train-000", "../x", "shard `../x` is not a plain file name");
        check("web-en-train-000", "web-en-train-001", "expected `2`");
        let (old, new) = ("ab".repeat(32), "cd".repeat(32));
        let expected = format!("vocabulary hash is `{old}`, expected `{new}`");
        check(&old, &new, &expected);
    }

    #[test]
    fn a_changed_token_is_found_by_verify_only() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        let path = dir.path().join("web-en-train-000.bin");
        let mut bytes = fs_err::read(&path).unwrap();
        bytes[0] ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let message = Corpus::open(dir.path()).unwrap().verify().unwrap_err().to_string();
        assert!(message.contains("web-en-train-000.idx`: SHA-256 is"), "{message}");
    }

    #[test]
    fn a_corpus_that_is_being_rewritten_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        drop(CorpusWriter::create(dir.path(), vocabulary()).unwrap());
        assert!(matches!(Corpus::open(dir.path()), Err(Error::Io { .. })));
        write(dir.path());
        Corpus::open(dir.path()).unwrap();
    }

    #[test]
    fn a_document_without_eod_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(dir.path(), vocabulary()).unwrap();
        let error = writer.push("web", Language::En, Split::Train, &[1], 1, None).unwrap_err();
        assert_eq!(error.to_string(), "a document of source `web` does not end with EOD");
    }
}
