//! The training documents of one source as one long row of tokens, over however many shards they
//! lie in.
//!
//! Between the corpus and the data orders: an order names token ranges of a stream, this file reads
//! them.

use crate::Result;
use crate::corpus::{Corpus, Split};

/// Where a source's training shards lie in its stream of tokens.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    name: String,
    parts: Vec<Part>,
    n_tokens: u64,
}

/// One shard's place: an index into the manifest's entries, and its first token in the stream.
#[derive(Clone, Copy, Debug)]
struct Part {
    entry: usize,
    start: u64,
}

impl Stream {
    /// The stream of a source's training split; empty when the corpus has none.
    pub(crate) fn new(corpus: &Corpus, name: &str) -> Self {
        let mut stream = Self { name: name.to_owned(), parts: Vec::new(), n_tokens: 0 };
        for (entry, source) in corpus.manifest().sources.iter().enumerate() {
            if source.name == name && source.split == Split::Train {
                stream.parts.push(Part { entry, start: stream.n_tokens });
                stream.n_tokens += source.tokens;
            }
        }
        stream
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn n_tokens(&self) -> u64 {
        self.n_tokens
    }

    /// Fills `out` with the tokens from `start` on, which must be there.
    pub(crate) fn read(&self, corpus: &Corpus, mut start: u64, mut out: &mut [u32]) -> Result<()> {
        while !out.is_empty() {
            let (entry, offset) = self.locate(start);
            let shard = corpus.shard(&corpus.manifest().sources[entry]);
            let count = (shard.n_tokens() - offset).min(out.len() as u64);
            let (now, rest) = out.split_at_mut(count as usize);
            shard.read(offset, now)?;
            (start, out) = (start + count, rest);
        }
        Ok(())
    }

    /// Manifest entry and token offset in its shard of a token of the stream.
    pub(crate) fn locate(&self, token: u64) -> (usize, u64) {
        assert!(
            token < self.n_tokens,
            "token {token} of {} in source `{}`",
            self.n_tokens,
            self.name
        );
        let part = self.parts[self.parts.partition_point(|part| part.start <= token) - 1];
        (part.entry, token - part.start)
    }

    /// First token of every document of the stream, and at the end the number of tokens.
    pub(crate) fn document_offsets(&self, corpus: &Corpus) -> Vec<u64> {
        let offsets = self.parts.iter().flat_map(|part| {
            let shard = corpus.shard(&corpus.manifest().sources[part.entry]);
            (0..shard.n_documents()).map(|document| part.start + shard.document_offset(document))
        });
        offsets.chain([self.n_tokens]).collect()
    }
}
