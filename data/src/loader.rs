//! Loader: the batch of any step, computed from the corpus, the seed and the step alone.
//!
//! It has no position, so resuming, restarting and splitting into micro-batches cannot change what
//! is trained on. `order.rs` and `megatron.rs` decide which sample comes when; this file reads its
//! tokens. A sample is `seq_len + 1` consecutive tokens of a source; neighbouring samples share
//! one, which is a target of the one and an input of the other.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use crate::batch::TokenBatch;
use crate::corpus::Corpus;
use crate::megatron::{Blend, DocumentOrder, GptOrder};
use crate::mixture::{Mixture, SourceShare, shares};
use crate::order::{Interleaving, Key};
use crate::stream::Stream;
use crate::{Error, Result};

/// What, besides the corpus, decides every batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderSettings {
    /// Repetitions by source.
    pub mixture: Mixture,
    /// Seed of the order.
    pub seed: u64,
    /// Inputs per sequence.
    pub seq_len: usize,
    /// Sequences per step, over all micro-batches.
    pub batch_sequences: usize,
    /// Which order.
    pub order: Order,
}

/// In which order samples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ours: endless; an epoch of a source visits each sample once, in an order of its own.
    Neo,
    /// Megatron's, exactly; it depends on the length of the run.
    Megatron {
        /// Samples of the whole run: steps times sequences per step.
        total_samples: u64,
        /// `Stored` in MAP-Neo.
        documents: DocumentOrder,
    },
}

/// Hands out the batch of any step.
#[derive(Clone, Debug)]
pub struct Loader {
    corpus: Arc<Corpus>,
    seq_len: usize,
    batch_sequences: usize,
    streams: Vec<Stream>,
    sampler: Sampler,
}

/// Where a row of a batch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOrigin {
    /// Index of the row.
    pub row: usize,
    /// Name of the source.
    pub source: String,
    /// File name of the shard, without suffix.
    pub shard: String,
    /// First token, counted in the shard.
    pub token: u64,
}

impl fmt::Display for RowOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, source, shard, token } = self;
        write!(f, "row {row}: source `{source}`, shard `{shard}`, token {token}")
    }
}

impl Loader {
    /// Prepares an order over a corpus. Order `Neo` costs nothing, `Megatron` builds its tables.
    ///
    /// # Errors
    /// A mixture that does not fit the corpus, sizes that make no batch, or a source too short for
    /// one sample.
    pub fn new(corpus: Arc<Corpus>, settings: LoaderSettings) -> Result<Self> {
        let LoaderSettings { mixture, seed, seq_len, batch_sequences, order } = settings;
        check_sizes(seq_len, batch_sequences)?;
        let shares = shares(&corpus, &mixture)?;
        for SourceShare { name, tokens, .. } in &shares {
            if *tokens <= seq_len as u64 {
                let needed = seq_len + 1;
                let problem = format!(
                    "source `{name}` has {tokens} training tokens, a sequence needs {needed}"
                );
                return Err(Error::Setting(problem));
            }
        }
        let streams: Vec<Stream> =
            shares.iter().map(|source| Stream::new(&corpus, &source.name)).collect();
        let shares: Vec<f64> = shares.iter().map(|source| source.share).collect();
        let sampler = match order {
            Order::Neo => Sampler::neo(corpus.hash(), seed, seq_len, &streams, &shares),
            Order::Megatron { total_samples, documents } => {
                let settings = MegatronSettings { seq_len, seed, total_samples, documents };
                Sampler::megatron(&corpus, &streams, &shares, settings)?
            }
        };
        Ok(Self { corpus, seq_len, batch_sequences, streams, sampler })
    }

    /// The batch of a step, counted from 0.
    ///
    /// # Errors
    /// A step beyond the end of order `Megatron`, or a shard with ids outside the vocabulary.
    pub fn batch(&self, step: u64) -> Result<TokenBatch> {
        let mut ids = vec![0; self.batch_sequences * (self.seq_len + 1)];
        let rows = ids.chunks_exact_mut(self.seq_len + 1);
        for (mut row, sample) in rows.zip(self.samples(step)?) {
            for piece in sample.pieces {
                let (now, rest) = row.split_at_mut((piece.end - piece.start) as usize);
                self.streams[sample.source].read(&self.corpus, piece.start, now)?;
                row = rest;
            }
        }
        Ok(TokenBatch::new(ids, self.seq_len, self.corpus.manifest().eod_id))
    }

    /// Where the rows of a step's batch begin, for messages about that step.
    ///
    /// # Errors
    /// A step beyond the end of order `Megatron`.
    pub fn describe(&self, step: u64) -> Result<Vec<RowOrigin>> {
        let origin = |(row, sample): (usize, Sample)| {
            let stream = &self.streams[sample.source];
            let (entry, token) = stream.locate(sample.pieces[0].start);
            let shard = self.corpus.manifest().sources[entry].shard.clone();
            RowOrigin { row, source: stream.name().to_owned(), shard, token }
        };
        Ok(self.samples(step)?.into_iter().enumerate().map(origin).collect())
    }

    fn samples(&self, step: u64) -> Result<Vec<Sample>> {
        let batch = self.batch_sequences as u64;
        let first = step.checked_mul(batch);
        let range = first.and_then(|first| Some(first..first.checked_add(batch)?));
        range.and_then(|range| self.sampler.samples(range)).ok_or_else(|| {
            Error::Setting(format!("step {step} is beyond the samples the data order was made for"))
        })
    }
}

/// The sizes must give a batch that can be held; 2^32 tokens are far beyond any step.
fn check_sizes(seq_len: usize, batch_sequences: usize) -> Result<()> {
    let tokens = seq_len.checked_add(1).and_then(|row| row.checked_mul(batch_sequences));
    if seq_len > 0 && batch_sequences > 0 && tokens.is_some_and(|tokens| tokens <= 1 << 32) {
        return Ok(());
    }
    let problem = format!("seq_len {seq_len} times batch_sequences {batch_sequences} is no batch");
    Err(Error::Setting(problem))
}

/// One row: token ranges of one source's stream, together `seq_len + 1` long.
struct Sample {
    source: usize,
    pieces: Vec<Range<u64>>,
}

#[derive(Clone, Debug)]
enum Sampler {
    Neo { seq_len: u64, interleaving: Interleaving, sources: Vec<NeoSource> },
    Megatron { blend: Blend, sources: Vec<GptOrder> },
}

#[derive(Clone, Debug)]
struct NeoSource {
    key: Key,
    epoch_samples: u64,
}

struct MegatronSettings {
    seq_len: usize,
    seed: u64,
    total_samples: u64,
    documents: DocumentOrder,
}

impl Sampler {
    fn neo(
        corpus_hash: &str,
        seed: u64,
        seq_len: usize,
        streams: &[Stream],
        shares: &[f64],
    ) -> Self {
        let key = Key::new(corpus_hash, seed);
        let seq_len = seq_len as u64;
        let source = |stream: &Stream| NeoSource {
            key: key.derive(&format!("source {}", stream.name()), 0),
            epoch_samples: (stream.n_tokens() - 1) / seq_len,
        };
        let sources = streams.iter().map(source).collect();
        Self::Neo { seq_len, interleaving: Interleaving::new(shares), sources }
    }

    fn megatron(
        corpus: &Corpus,
        streams: &[Stream],
        shares: &[f64],
        settings: MegatronSettings,
    ) -> Result<Self> {
        let MegatronSettings { seq_len, seed, total_samples, documents } = settings;
        let blend = Blend::new(shares, total_samples)?;
        let order = |stream: &Stream, wanted| {
            GptOrder::new(stream.document_offsets(corpus), seq_len, wanted, seed, documents)
        };
        let mut sources = Vec::new();
        for ((stream, share), &drawn) in streams.iter().zip(shares).zip(blend.totals()) {
            // Megatron asks for half a percent more when it blends. In short runs this can be less
            // than it draws, and it stops there; we ask for what is drawn.
            let with_margin = (total_samples as f64 * share * 1.005).ceil() as u64;
            let source = order(stream, if streams.len() > 1 { with_margin } else { drawn })?;
            sources.push(if source.n_samples() < drawn { order(stream, drawn)? } else { source });
        }
        Ok(Self::Megatron { blend, sources })
    }

    /// The samples of a range of the global stream; `None` when it ends before.
    fn samples(&self, range: Range<u64>) -> Option<Vec<Sample>> {
        match self {
            Self::Neo { seq_len, interleaving, sources } => {
                let sample = |number| {
                    let (source, drawn) = interleaving.locate(number);
                    let NeoSource { key, epoch_samples } = &sources[source];
                    let epoch = key.derive("epoch", drawn / epoch_samples);
                    let start = seq_len * epoch.permute(*epoch_samples, drawn % epoch_samples);
                    let whole = start..start + seq_len + 1;
                    Sample { source, pieces: vec![whole] }
                };
                Some(range.map(sample).collect())
            }
            Self::Megatron { blend, sources } => {
                let places = blend.locate(range)?.into_iter();
                places
                    .map(|(source, drawn)| {
                        Some(Sample { source, pieces: sources[source].pieces(drawn)? })
                    })
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::corpus::toy::{self, EOD};

    /// A source of documents of the given sizes whose tokens are all different.
    fn distinct(sizes: &[usize], first: u32) -> Vec<Vec<u32>> {
        let mut ids = first..;
        sizes.iter().map(|size| ids.by_ref().take(*size).collect()).collect()
    }

    fn settings(
        rounds: &[f64],
        seed: u64,
        seq_len: usize,
        batch: usize,
        order: Order,
    ) -> LoaderSettings {
        let mixture =
            ["a", "b"].map(str::to_owned).into_iter().zip(rounds.iter().copied()).collect();
        LoaderSettings { mixture, seed, seq_len, batch_sequences: batch, order }
    }

    fn corpus(dir: &tempfile::TempDir, sizes: &[usize]) -> Arc<Corpus> {
        let sources = [("a", distinct(sizes, 0)), ("b", distinct(&[30, 1, 70], 5000))];
        Arc::new(toy::corpus(dir.path(), &sources))
    }

    fn tokens_of(documents: &[Vec<u32>]) -> Vec<u32> {
        documents.iter().flat_map(|ids| ids.iter().copied().chain([EOD])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_epoch_visits_every_token_but_the_tail(
            sizes in vec(0usize..40, 1..12), seq_len in 1usize..30, seed: u64, epoch in 0u64..3,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let corpus = corpus(&dir, &sizes);
            let tokens = tokens_of(&distinct(&sizes, 0));
            prop_assume!(tokens.len() > seq_len);
            let n_samples = (tokens.len() - 1) / seq_len;
            // With that many sequences a step, a step is an epoch.
            let settings = settings(&[1.0], seed, seq_len, n_samples, Order::Neo);
            let batch = Loader::new(corpus, settings).unwrap().batch(epoch).unwrap();
            let mut rows: Vec<&[u32]> = batch.ids.chunks(seq_len + 1).collect();
            let mut expected: Vec<&[u32]> = tokens.windows(seq_len + 1).step_by(seq_len).collect();
            rows.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(rows, expected);
        }

        #[test]
        fn batches_depend_on_nothing_but_settings_and_step(
            rounds in vec(0.01f64..4.0, 2),
            seed: u64,
            step in 0u64..1 << 40,
            batch in 1usize..9,
            split in 0usize..9,
        ) {
            let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let loaders = dirs.each_ref().map(|dir| {
                let settings = settings(&rounds, seed, 16, batch, Order::Neo);
                Loader::new(corpus(dir, &[100, 50]), settings).unwrap()
            });
            let found = loaders[0].batch(step).unwrap();
            loaders[1].batch(step / 2).unwrap();
            prop_assert_eq!(&found, &loaders[1].batch(step).unwrap());
            let split = split.min(batch);
            let parts = [found.rows(0..split), found.rows(split..batch)];
            prop_assert_eq!(parts.map(|part| part.ids).concat(), found.ids.clone());
            // A batch of one at a time gives the same global stream.
            let one_each = settings(&rounds, seed, 16, 1, Order::Neo);
            let single = Loader::new(loaders[0].corpus.clone(), one_each).unwrap();
            for row in 0..batch {
                let alone = single.batch(step * batch as u64 + row as u64).unwrap();
                prop_assert_eq!(alone, found.rows(row..row + 1));
            }
        }

        #[test]
        fn megatron_draws_every_sample_of_the_run(
            sizes in vec(0usize..40, 1..9), seed in 0u64..9, total in 1u64..70,
        ) {
            let dir = tempfile::tempdir().unwrap();
            prop_assume!(tokens_of(&distinct(&sizes, 0)).len() > 5);
            let documents = DocumentOrder::Shuffled;
            let order = Order::Megatron { total_samples: total, documents };
            let settings = settings(&[1.0, 0.7], seed, 5, 1, order);
            let loader = Loader::new(corpus(&dir, &sizes), settings).unwrap();
            for step in 0..total {
                prop_assert_eq!(loader.batch(step).unwrap().ids.len(), 6);
            }
            let message = loader.batch(total).unwrap_err().to_string();
            prop_assert!(message.starts_with(&format!("step {total} is beyond")), "{}", message);
        }
    }

    #[test]
    fn seed_epoch_and_corpus_change_the_order() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let corpora = [corpus(&dirs[0], &[400]), corpus(&dirs[1], &[401])];
        let first = |corpus: usize, seed, step| {
            let settings = settings(&[1.0], seed, 10, 40, Order::Neo);
            Loader::new(corpora[corpus].clone(), settings).unwrap().batch(step).unwrap().ids
        };
        let found: BTreeSet<_> =
            [first(0, 1, 0), first(0, 1, 1), first(0, 2, 0), first(1, 1, 0)].into();
        assert_eq!(found.len(), 4);
        assert_eq!(first(0, 1, 0), first(0, 1, 0));
    }

    #[test]
    fn describe_names_the_shard_the_row_begins_in() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(&dir, &[40, 60, 50, 20]);
        let loader =
            Loader::new(corpus.clone(), settings(&[1.0, 1.0], 3, 7, 20, Order::Neo)).unwrap();
        let (batch, origins) = (loader.batch(5).unwrap(), loader.describe(5).unwrap());
        assert_eq!(origins.len(), 20);
        for RowOrigin { row, source, shard, token } in &origins {
            let entry = corpus
                .sources(crate::corpus::Split::Train)
                .find(|entry| entry.shard == *shard)
                .unwrap();
            assert_eq!(&entry.name, source);
            let mut id = [0];
            corpus.shard(entry).read(*token, &mut id).unwrap();
            assert_eq!(id[0], batch.ids[row * 8]);
        }
        assert!(origins.iter().any(|origin| origin.shard.ends_with("001")));
        let message =
            RowOrigin { row: 1, source: "a".into(), shard: "a-0".into(), token: 9 }.to_string();
        assert_eq!(message, "row 1: source `a`, shard `a-0`, token 9");
    }

    #[test]
    fn settings_that_give_no_batch_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(&dir, &[20]);
        let check = |seq_len, batch, order, expected: &str| {
            let error =
                Loader::new(corpus.clone(), settings(&[1.0], 1 << 32, seq_len, batch, order))
                    .unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(21, 1, Order::Neo, "source `a` has 21 training tokens, a sequence needs 22");
        check(0, 1, Order::Neo, "seq_len 0 times batch_sequences 1 is no batch");
        check(4, 0, Order::Neo, "seq_len 4 times batch_sequences 0 is no batch");
        check(4, usize::MAX, Order::Neo, "is no batch");
        let megatron =
            |total_samples| Order::Megatron { total_samples, documents: DocumentOrder::Stored };
        check(4, 1, megatron(9), "seeds below 2^32");
        check(4, 1, megatron(u64::MAX), "too long for the 32-bit tables");
    }
}
