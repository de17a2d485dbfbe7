//! Which held-out documents are measured, and the sums that every measure reports.
//!
//! One protocol for the network and for the n-gram models it is compared with (design, section 5):
//! the EOD id is the first context token of every document, contexts never cross documents, and the
//! EOD that ends a document is counted apart from its text.

use neo_data::{
    Language, Result,
    corpus::{Corpus, SourceEntry, Split},
};
use serde::{Deserialize, Serialize};

/// Sums over held-out documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Documents measured.
    pub documents: u64,
    /// Nats of the text's tokens, the final EODs left out.
    pub nats: f64,
    /// Text tokens, the final EODs left out.
    pub tokens: u64,
    /// UTF-8 bytes of the texts.
    pub utf8_bytes: u64,
    /// Nats of the final EODs.
    pub eod_nats: f64,
}

impl HeldOut {
    /// Nats / ln 2 / UTF-8 bytes.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.utf8_bytes as f64
    }

    /// Nats per token, final EODs included: what the training loss measures.
    pub fn loss(&self) -> f64 {
        (self.nats + self.eod_nats) / (self.tokens + self.documents) as f64
    }

    /// Adds the sums of other documents.
    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.nats += other.nats;
        self.tokens += other.tokens;
        self.utf8_bytes += other.utf8_bytes;
        self.eod_nats += other.eod_nats;
    }
}

/// One held-out document as it is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutDocument {
    /// EOD, the text's tokens, EOD.
    pub ids: Vec<u32>,
    /// UTF-8 bytes of the text.
    pub utf8_bytes: u64,
}

/// Languages of which a corpus holds text out, in order.
pub fn languages(corpus: &Corpus) -> Vec<Language> {
    let mut found: Vec<Language> =
        corpus.sources(Split::HeldOut).filter(|s| s.documents > 0).map(|s| s.language).collect();
    found.sort();
    found.dedup();
    found
}

/// Held-out documents of a language, about `max_tokens` tokens of them (0: all).
///
/// Every source gives its share of the limit, from its first documents on and at least one, so the
/// choice is the same at every evaluation.
///
/// # Errors
/// A shard that cannot be read.
pub fn documents(
    corpus: &Corpus,
    language: Language,
    max_tokens: u64,
) -> Result<Vec<HeldOutDocument>> {
    let sources = corpus.held_out(language);
    let all: u64 = sources.iter().map(|source| source.tokens).sum();
    let share = if max_tokens == 0 { 1.0 } else { (max_tokens as f64 / all as f64).min(1.0) };
    let mut documents = Vec::new();
    for source in sources {
        take(corpus, source, (source.tokens as f64 * share).ceil() as u64, &mut documents)?;
    }
    Ok(documents)
}

fn take(
    corpus: &Corpus,
    source: &SourceEntry,
    limit: u64,
    documents: &mut Vec<HeldOutDocument>,
) -> Result<()> {
    let shard = corpus.shard(source);
    let mut taken = 0;
    for document in 0..shard.n_documents() {
        if taken >= limit {
            break;
        }
        let mut ids = vec![corpus.manifest().eod_id];
        ids.extend(shard.document(document)?);
        taken += ids.len() as u64 - 1;
        documents.push(HeldOutDocument { ids, utf8_bytes: shard.utf8_bytes(document) });
    }
    Ok(())
}
