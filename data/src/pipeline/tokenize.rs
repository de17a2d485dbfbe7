//! The last stage: kept documents to token shards, training and held-out apart.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Event;
use crate::{
    Document, Error, Language, Result,
    corpus::{CorpusManifest, CorpusWriter, Split, Vocabulary},
    read::{Format, Reader, Record, Source},
    tokenizer::{Tokenizer, TrainerSettings},
};

/// Documents encoded at a time.
const BATCH_DOCUMENTS: usize = 512;
/// Text bytes after which a batch is encoded before it is full.
const BATCH_BYTES: usize = 16 << 20;

/// Encodes document files, in order, into a corpus folder with the tokenizer beside the shards.
///
/// Every document's ids end with EOD; held-out documents go to shards of their own. A corpus that was there
/// before is not valid from the first moment on.
///
/// # Errors
/// A file cannot be read or written, or there is no document.
pub fn tokenize(
    documents: &[PathBuf],
    tokenizer: &Tokenizer,
    corpus: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<CorpusManifest> {
    let manifest = corpus.join("corpus.json");
    match std::fs::remove_file(&manifest) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(&manifest)(error));
        }
        _ => {}
    }
    let eod_id = tokenizer.eod_id();
    let vocabulary =
        Vocabulary { hash: tokenizer.vocab_hash(), size: tokenizer.vocab_size(), eod_id };
    let mut writer = CorpusWriter::create(corpus, vocabulary)?;
    tokenizer.save(corpus)?;
    let mut n_documents = 0;
    for file in documents {
        let mut reader = DocumentFile::open(file)?;
        loop {
            let batch = reader.batch()?;
            if batch.is_empty() {
                break;
            }
            let encoded: Vec<Vec<u32>> =
                batch.par_iter().map(|document| encode(document, tokenizer)).collect();
            for (document, ids) in batch.iter().zip(&encoded) {
                push(&mut writer, document, ids)?;
            }
            n_documents += batch.len() as u64;
            on_event(reader.progress("tokenize", &batch[0].source, n_documents));
        }
    }
    if n_documents == 0 {
        return Err(Error::Setting(
            "the document files hold no document, nothing to tokenize".to_owned(),
        ));
    }
    writer.finish()
}

/// Trains a tokenizer on the documents that are not held out.
///
/// # Errors
/// A file cannot be read, or the settings make no sense for the texts.
pub fn train_tokenizer(
    documents: &[PathBuf],
    settings: &TrainerSettings,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Tokenizer> {
    // The trainer takes plain texts, so an error on the way ends them and is told afterwards.
    let mut failure = None;
    let mut batches = TrainingTexts { files: documents.iter(), current: None, n_documents: 0 };
    let texts = std::iter::from_fn(|| {
        batches.next_batch(on_event).unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    let tokenizer = Tokenizer::train(texts.flatten(), settings, &mut |_, _| ());
    match failure {
        Some(error) => Err(error),
        None => tokenizer,
    }
}

/// Sources and texts of documents that are not held out, batch by batch.
struct TrainingTexts<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    current: Option<DocumentFile>,
    n_documents: u64,
}

impl TrainingTexts<'_> {
    fn next_batch(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Vec<(String, String)>>> {
        loop {
            let Some(file) = &mut self.current else {
                let Some(path) = self.files.next() else { return Ok(None) };
                self.current = Some(DocumentFile::open(path)?);
                continue;
            };
            let batch = file.batch()?;
            let Some(first) = batch.first() else {
                self.current = None;
                continue;
            };
            self.n_documents += batch.len() as u64;
            on_event(file.progress("train tokenizer", &first.source, self.n_documents));
            let train = batch.into_iter().filter(|document| !document.is_held_out());
            return Ok(Some(train.map(|document| (document.source, document.text)).collect()));
        }
    }
}

fn encode(document: &Document, tokenizer: &Tokenizer) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode_into(&document.text, &mut ids);
    ids.push(tokenizer.eod_id());
    ids
}

fn push(writer: &mut CorpusWriter, document: &Document, ids: &[u32]) -> Result<()> {
    let split = if document.is_held_out() { Split::HeldOut } else { Split::Train };
    let nats = document.meta.get("nats").and_then(serde_json::Value::as_f64);
    writer.push(&document.source, document.language, split, ids, document.text.len() as u64, nats)
}

/// A document file read in batches.
struct DocumentFile {
    reader: Reader,
}

impl DocumentFile {
    fn open(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().into_owned();
        let format = Format::of_path(&name);
        let source = Source::new("documents", Language::Other, vec![name], format);
        Ok(Self { reader: Reader::open(&source)? })
    }

    /// The next documents; empty at the end.
    fn batch(&mut self) -> Result<Vec<Document>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
            match self.reader.next().transpose()? {
                None => break,
                Some(Record::Bad(bad)) => {
                    return Err(Error::Setting(format!(
                        "{} is no document: {}",
                        bad.place, bad.detail
                    )));
                }
                Some(Record::Document(document)) => {
                    bytes += document.text.len();
                    batch.push(document);
                }
            }
        }
        Ok(batch)
    }

    fn progress<'a>(&self, stage: &'static str, source: &'a str, documents: u64) -> Event<'a> {
        let (done_bytes, total_bytes) = self.reader.progress();
        Event::Progress { stage, source, done_bytes, total_bytes, documents }
    }
}
