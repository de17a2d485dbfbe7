//! The last stages: a tokenizer, shards of tokens, and the corpus that they make together.
//!
//! A shard of documents becomes a shard of tokens on its own ([`pieces`]); the corpus is those joined in order, so it
//! does not depend on where shards were cut. Held-out documents go to shards of their own.

mod pieces;

use std::path::{Path, PathBuf};

use self::pieces::{Piece, PieceReader, PieceWriter};
use super::{
    batches::Batches,
    shard::{Flow, Place, document_file},
};
use crate::{
    Error, Result,
    corpus::{CorpusManifest, CorpusWriter, Vocabulary},
    engine::{Fingerprint, Meter, Observer, Unit, for_each, spend},
    read::{Reader, Source},
    tokenizer::{Tokenizer, TrainerSettings},
};

/// Changes whenever the ids of a text, or the form of a corpus, do.
const VERSION: &str = "1";
/// What training is called while it goes on.
const STAGE: &str = "train tokenizer";
/// Name of the file of a shard of tokens.
const TOKENS: &str = "tokens.arrow";

/// Trains a tokenizer on the documents of shards that are not held out; returns it with its identity.
///
/// # Errors
/// A shard cannot be read, or the settings make no sense for the texts.
pub(super) fn train(
    place: &Place<'_>,
    settings: &TrainerSettings,
    flow: &Flow,
) -> Result<Tokenizer> {
    let text = serde_json::json!(settings).to_string();
    let content = Fingerprint::of_all(flow.shards.iter().map(|shard| &shard.content));
    let key = Fingerprint::of(&["tokenizer", VERSION, &text, content.as_str()]);
    let unit = place.work.unit("tokenizer", "trained", &key, |dir| {
        let inputs = flow.shards.iter().map(|shard| shard.input().cloned());
        let inputs = inputs.collect::<Result<Vec<Source>>>()?;
        train_on(&inputs, settings, &place.work.observer().meter(STAGE, flow.file_bytes()))?
            .save(dir)
    })?;
    Tokenizer::from_path(&unit.path(""))
}

/// Shards of documents to a corpus with its tokenizer beside it.
///
/// # Errors
/// A unit cannot be made, or the observer wants to stop.
pub(super) fn corpus(
    place: &Place<'_>,
    tokenizer: &Tokenizer,
    flow: &Flow,
) -> Result<Unit<CorpusManifest>> {
    let identity = place.work.unit("tokenizer", "used", &identity(tokenizer), |dir| {
        tokenizer.save(dir).map(|()| tokenizer.vocab_hash())
    })?;
    let identity = identity.fingerprint();
    let meter = place.work.observer().meter("tokenize", flow.file_bytes());
    let pieces = for_each(&flow.shards, |_, shard| {
        let (of_tokenizer, content) = (identity.as_str(), shard.content.as_str());
        let key = Fingerprint::of(&["tokens", VERSION, of_tokenizer, content]);
        place.work.unit("tokens", &shard.name, &key, |dir| {
            let mut writer = PieceWriter::create(&dir.join(TOKENS))?;
            encode_all(shard.input()?, &meter, tokenizer, |piece| writer.push(&piece))?;
            writer.finish()
        })
    })?;
    let corpus = join(place, tokenizer, &identity, &pieces)?;
    if !place.keeps_intermediates {
        pieces.iter().try_for_each(|piece| spend(&piece.path(TOKENS)))?;
    }
    Ok(corpus)
}

/// Shards of tokens to one corpus.
fn join(
    place: &Place<'_>,
    tokenizer: &Tokenizer,
    identity: &Fingerprint,
    pieces: &[Unit<()>],
) -> Result<Unit<CorpusManifest>> {
    let content =
        Fingerprint::of_all(&pieces.iter().map(|piece| piece.checksum(TOKENS)).collect::<Vec<_>>());
    let key = Fingerprint::of(&["corpus", VERSION, identity.as_str(), content.as_str()]);
    place.work.unit("corpus", "all", &key, |dir| {
        let mut writer = corpus_writer(dir, tokenizer)?;
        for piece in pieces {
            if piece.is_spent(TOKENS) {
                return Err(Error::Spent { path: piece.path(TOKENS) });
            }
            let mut reader = PieceReader::open(&piece.path(TOKENS))?;
            while let Some(piece) = reader.next()? {
                push(&mut writer, &piece)?;
            }
            place.work.observer().check()?;
        }
        writer.finish()
    })
}

/// What two tokenizers must share to give the same ids under the same names.
fn identity(tokenizer: &Tokenizer) -> Fingerprint {
    Fingerprint::of(&["tokenizer", VERSION, &tokenizer.vocab_hash()])
}

/// Encodes document files, in order, into a corpus folder with the tokenizer beside the shards.
///
/// Every document's ids end with EOD; held-out documents go to shards of their own. A corpus that was there
/// before is not valid from the first moment on.
///
/// # Errors
/// A file cannot be read or written, or there is no document.
pub fn tokenize(
    files: &[PathBuf],
    tokenizer: &Tokenizer,
    corpus: &Path,
    observer: &Observer<'_>,
) -> Result<CorpusManifest> {
    let mut writer = corpus_writer(corpus, tokenizer)?;
    let mut n_documents = 0;
    for file in files {
        let source = document_file(file);
        let meter = observer.meter("tokenize", Reader::open(&source)?.progress().1);
        n_documents += encode_all(&source, &meter, tokenizer, |piece| push(&mut writer, &piece))?;
    }
    if n_documents == 0 {
        return Err(Error::Setting(
            "the document files hold no document, nothing to tokenize".to_owned(),
        ));
    }
    writer.finish()
}

/// Trains on the documents that are not held out.
fn train_on(inputs: &[Source], settings: &TrainerSettings, meter: &Meter<'_>) -> Result<Tokenizer> {
    // The trainer takes plain texts, so an error on the way ends them and is told afterwards.
    let mut failure = None;
    let texts = TrainingTexts { inputs: inputs.iter(), batches: None, meter };
    let texts = texts.map_while(|batch| batch.map_err(|error| failure = Some(error)).ok());
    let tokenizer = Tokenizer::train(texts.flatten(), settings, &mut |_, _| ());
    match failure {
        Some(error) => Err(error),
        None => tokenizer,
    }
}

/// Sources and texts of documents that are not held out, batch by batch.
struct TrainingTexts<'a> {
    inputs: std::slice::Iter<'a, Source>,
    batches: Option<Batches<'a>>,
    meter: &'a Meter<'a>,
}

impl Iterator for TrainingTexts<'_> {
    type Item = Result<Vec<(String, String)>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl TrainingTexts<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<(String, String)>>> {
        loop {
            let Some(batches) = &mut self.batches else {
                let Some(input) = self.inputs.next() else { return Ok(None) };
                self.batches = Some(Batches::open(input, self.meter)?);
                continue;
            };
            let batch = batches.next_documents()?;
            if batch.is_empty() {
                self.batches = None;
                continue;
            }
            let train = batch.into_iter().filter(|document| !document.is_held_out());
            return Ok(Some(train.map(|document| (document.source, document.text)).collect()));
        }
    }
}

/// Encodes the documents of a source in order; returns how many there were.
fn encode_all(
    source: &Source,
    meter: &Meter<'_>,
    tokenizer: &Tokenizer,
    mut take: impl FnMut(Piece<'_>) -> Result<()>,
) -> Result<u64> {
    let mut batches = Batches::open(source, meter)?;
    let mut n_documents = 0;
    loop {
        let batch = batches.next_documents()?;
        if batch.is_empty() {
            return Ok(n_documents);
        }
        let texts: Vec<&str> = batch.iter().map(|document| document.text.as_str()).collect();
        let encoded = tokenizer.encode_all(&texts, Some(tokenizer.eod_id()));
        let pieces = batch.iter().zip(encoded.texts());
        let mut pieces = pieces.map(|(document, ids)| Piece::of(document, ids));
        pieces.try_for_each(&mut take)?;
        n_documents += batch.len() as u64;
    }
}

fn corpus_writer(dir: &Path, tokenizer: &Tokenizer) -> Result<CorpusWriter> {
    let eod_id = tokenizer.eod_id();
    let vocabulary =
        Vocabulary { hash: tokenizer.vocab_hash(), size: tokenizer.vocab_size(), eod_id };
    let writer = CorpusWriter::create(dir, vocabulary)?;
    tokenizer.save(dir)?;
    Ok(writer)
}

fn push(writer: &mut CorpusWriter, piece: &Piece<'_>) -> Result<()> {
    let (source, language, split) = (piece.source.as_ref(), piece.language, piece.split);
    writer.push(source, language, split, &piece.ids, piece.bytes, piece.nats)
}
