//! N-gram models: what counting alone reaches on the same tokens, for comparison with a network.
//!
//! Interpolated modified Kneser-Ney (Chen and Goodman 1999), ending in a uniform distribution over
//! the vocabulary. Fitted on the training split, measured on held-out documents by the protocol of
//! `held_out.rs`. Counting is sorting: 20 million tokens of a 64,000-piece vocabulary fit in 2 GiB
//! at order 5. Unlike the network's, contexts are not cut at windows, which favours the n-gram a
//! little.

use neo_data::{
    corpus::{Corpus, Split},
    mixture::{self, Mixture},
};

use crate::{Error, HeldOut, Result, held_out::HeldOutDocument};

/// Probabilities of a token after the `order - 1` tokens before it.
#[derive(Clone, Debug)]
pub struct NgramModel {
    vocab_size: usize,
    /// By context length, from 0 to `order - 1`.
    levels: Vec<Level>,
}

/// All contexts of one length, sorted by their tokens from the nearest to the farthest.
#[derive(Clone, Debug)]
struct Level {
    /// Taken from counts of 1, of 2, and of 3 or more.
    discounts: [f64; 3],
    /// One more than there are contexts, so that ranges end at the next one's start.
    contexts: Vec<Context>,
    /// The contexts' successors, each context's sorted by token.
    successors: Vec<Successor>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Context {
    /// The farthest token; the nearer ones are its parent's, one level below.
    token: u32,
    /// Its first successor.
    successors: u32,
    /// The first context of the next level that extends it.
    children: u32,
    /// Sum of its successors' counts.
    total: u32,
    /// Weight of the shorter context's probability.
    backoff: f32,
}

#[derive(Clone, Copy, Debug)]
struct Successor {
    token: u32,
    /// How often; below the longest context, after how many different farther tokens.
    count: u32,
}

impl NgramModel {
    /// Fits a model on sequences whose first token is context only, as in `HeldOutDocument::ids`.
    ///
    /// # Errors
    /// No target at all, an id outside the vocabulary, or more than counting can hold.
    pub fn fit<S: AsRef<[u32]>>(
        order: usize,
        sequences: impl IntoIterator<Item = S>,
        vocab_size: usize,
    ) -> Result<Self> {
        let mut counter = Counter::new(order, vocab_size)?;
        sequences.into_iter().try_for_each(|sequence| counter.add(sequence.as_ref()))?;
        counter.into_model()
    }

    /// Fits a model on the training documents of the sources that a mixture samples, each document
    /// once.
    ///
    /// # Errors
    /// A mixture that does not fit the corpus, a shard that cannot be read, or more than counting
    /// can hold.
    pub fn fit_corpus(order: usize, corpus: &Corpus, mixture: &Mixture) -> Result<Self> {
        let manifest = corpus.manifest();
        let sampled = mixture::shares(corpus, mixture)?;
        let mut counter = Counter::new(order, manifest.vocab_size)?;
        let mut ids = Vec::new();
        for entry in corpus.sources(Split::Train) {
            if !sampled.iter().any(|source| source.name == entry.name) {
                continue;
            }
            let shard = corpus.shard(entry);
            for document in 0..shard.n_documents() {
                ids.clear();
                ids.push(manifest.eod_id);
                ids.extend(shard.document(document)?);
                counter.add(&ids)?;
            }
        }
        counter.into_model()
    }

    /// Tokens that a prediction depends on, plus one.
    pub fn order(&self) -> usize {
        self.levels.len()
    }

    /// Surprise in nats at `token` after `context`, oldest first.
    ///
    /// The context is the document from its start (the EOD before it included), or at least the
    /// last `order - 1` tokens.
    pub fn nats(&self, context: &[u32], token: u32) -> f64 {
        -self.probability(context, token).ln()
    }

    /// Sums over documents; contexts begin with the document's first id and never cross documents.
    pub fn score_documents(&self, documents: &[HeldOutDocument]) -> HeldOut {
        let mut sums = HeldOut::default();
        for HeldOutDocument { ids, utf8_bytes } in documents {
            sums.documents += 1;
            sums.utf8_bytes += utf8_bytes;
            for position in 1..ids.len() {
                let nats = self.nats(&ids[..position], ids[position]);
                if position + 1 == ids.len() {
                    sums.eod_nats += nats;
                } else {
                    sums.nats += nats;
                    sums.tokens += 1;
                }
            }
        }
        sums
    }

    fn probability(&self, context: &[u32], token: u32) -> f64 {
        let pad = self.vocab_size as u32;
        let farther = context.iter().rev().copied().chain(std::iter::repeat(pad));
        let mut probability = 1.0 / self.vocab_size as f64;
        let mut found = 0; // the one context of length 0
        probability = self.levels[0].interpolate(found, token, probability);
        for (pair, word) in self.levels.windows(2).zip(farther) {
            let children = pair[0].contexts[found].children..pair[0].contexts[found + 1].children;
            let (start, end) = (children.start as usize, children.end as usize);
            let Ok(child) = pair[1].contexts[start..end].binary_search_by_key(&word, |c| c.token)
            else {
                break; // then no longer context is known either
            };
            found = start + child;
            probability = pair[1].interpolate(found, token, probability);
        }
        probability
    }
}

impl Level {
    /// Probability of a token after a context, given the one after the shorter context (eq. 24 of
    /// the paper).
    fn interpolate(&self, context: usize, token: u32, shorter: f64) -> f64 {
        let Context { successors, total, backoff, .. } = self.contexts[context];
        let end = self.contexts[context + 1].successors;
        let successors = &self.successors[successors as usize..end as usize];
        let own = match successors.binary_search_by_key(&token, |successor| successor.token) {
            Ok(i) => {
                let count = successors[i].count;
                (f64::from(count) - discount(&self.discounts, count)) / f64::from(total)
            }
            Err(_) => 0.0,
        };
        own + f64::from(backoff) * shorter
    }
}

fn discount(discounts: &[f64; 3], count: u32) -> f64 {
    discounts[count.clamp(1, 3) as usize - 1]
}

/// Collects n-grams, each packed into a number: context from the nearest token on, then the token
/// itself.
#[derive(Debug)]
struct Counter {
    order: usize,
    vocab_size: usize,
    /// Bits of one token; the value `vocab_size` stands for what is before a document.
    bits: u32,
    ngrams: Vec<u128>,
}

impl Counter {
    fn new(order: usize, vocab_size: usize) -> Result<Self> {
        let bits = usize::BITS - vocab_size.leading_zeros();
        if order == 0 || vocab_size == 0 || bits > 31 || order.saturating_mul(bits as usize) > 128 {
            let problem =
                format!("n-grams of order {order} over {vocab_size} ids cannot be counted");
            return Err(Error::Setting(problem));
        }
        Ok(Self { order, vocab_size, bits, ngrams: Vec::new() })
    }

    /// Counts every token but the first.
    fn add(&mut self, sequence: &[u32]) -> Result<()> {
        if let Some(id) = sequence.iter().find(|id| **id as usize >= self.vocab_size) {
            let problem =
                format!("token id {id} is not below the vocabulary size {}", self.vocab_size);
            return Err(Error::Setting(problem));
        }
        let pad = self.vocab_size as u32;
        for position in 1..sequence.len() {
            let nearer = sequence[..position].iter().rev().copied();
            let context = nearer.chain(std::iter::repeat(pad)).take(self.order - 1);
            let tokens = context.chain([sequence[position]]);
            self.ngrams.push(tokens.fold(0, |packed, id| packed << self.bits | u128::from(id)));
        }
        Ok(())
    }

    fn into_model(self) -> Result<NgramModel> {
        let Self { order, vocab_size, bits, mut ngrams } = self;
        if ngrams.is_empty() || ngrams.len() >= u32::MAX as usize {
            let problem = format!("an n-gram model needs 1 to 2^32 tokens, got {}", ngrams.len());
            return Err(Error::Setting(problem));
        }
        let mut levels = Vec::with_capacity(order);
        let mut children = Vec::new();
        for _ in 0..order {
            ngrams.sort_unstable();
            let (level, starts) = build_level(&mut ngrams, bits, &children);
            children = starts;
            levels.push(level);
            let mask = (1 << bits) - 1;
            for ngram in &mut ngrams {
                // The farthest token goes, the context without it and the token itself stay.
                *ngram = (*ngram >> bits >> bits) << bits | *ngram & mask;
            }
        }
        levels.reverse();
        Ok(NgramModel { vocab_size, levels })
    }
}

/// Turns sorted n-grams into a level and leaves each of them once.
///
/// `children[i]` is where the extensions of the `i`-th context begin in the level above (empty for
/// the top level); the second result is that list for the level below.
fn build_level(ngrams: &mut Vec<u128>, bits: u32, children: &[u32]) -> (Level, Vec<u32>) {
    let mask = (1u128 << bits) - 1;
    let (mut contexts, mut successors): (Vec<Context>, Vec<Successor>) = (Vec::new(), Vec::new());
    let mut starts = Vec::new();
    let mut last: Option<u128> = None;
    for &ngram in ngrams.iter() {
        if last == Some(ngram) {
            increment(&mut successors, &mut contexts);
            continue;
        }
        let context = ngram >> bits;
        if last.is_none_or(|last| last >> bits != context) {
            if last.is_none_or(|last| last >> bits >> bits != context >> bits) {
                starts.push(contexts.len() as u32);
            }
            contexts.push(Context {
                token: (context & mask) as u32,
                successors: successors.len() as u32,
                children: children.get(contexts.len()).copied().unwrap_or_default(),
                ..Context::default()
            });
        }
        successors.push(Successor { token: (ngram & mask) as u32, count: 0 });
        increment(&mut successors, &mut contexts);
        last = Some(ngram);
    }
    ngrams.dedup();
    // Ends of the last ranges; the list of children carries its own.
    starts.push(contexts.len() as u32);
    let children = children.last().copied().unwrap_or_default();
    contexts.push(Context { successors: successors.len() as u32, children, ..Context::default() });
    let mut level = Level { discounts: discounts(&successors), contexts, successors };
    level.set_backoffs();
    (level, starts)
}

/// Counts the last n-gram once more.
fn increment(successors: &mut [Successor], contexts: &mut [Context]) {
    if let (Some(successor), Some(context)) = (successors.last_mut(), contexts.last_mut()) {
        successor.count += 1;
        context.total += 1;
    }
}

impl Level {
    fn set_backoffs(&mut self) {
        for i in 1..self.contexts.len() {
            let range =
                self.contexts[i - 1].successors as usize..self.contexts[i].successors as usize;
            let taken: f64 =
                self.successors[range].iter().map(|s| discount(&self.discounts, s.count)).sum();
            let context = &mut self.contexts[i - 1];
            context.backoff = (taken / f64::from(context.total)) as f32;
        }
    }
}

/// The discounts that the counts of counts ask for (eq. 26 of the paper), or middling ones for too
/// little text.
fn discounts(successors: &[Successor]) -> [f64; 3] {
    let mut counts = [0.0f64; 4];
    for successor in successors.iter().filter(|successor| successor.count <= 4) {
        counts[successor.count as usize - 1] += 1.0;
    }
    let [n1, n2, n3, n4] = counts;
    let y = n1 / (n1 + 2.0 * n2);
    let estimated = [1.0 - 2.0 * y * n2 / n1, 2.0 - 3.0 * y * n3 / n2, 3.0 - 4.0 * y * n4 / n3];
    let fits = (1..).zip(estimated).all(|(count, d)| d > 0.0 && d < f64::from(count));
    if fits { estimated } else { [0.5, 1.0, 1.5] }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const EOD: u32 = 5;
    const VOCAB: usize = 6;

    /// A few skewed documents, EOD first and last, from a small generator of numbers.
    fn documents(seed: u64) -> Vec<Vec<u32>> {
        let mut state = seed;
        let mut below = move |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let document = |_| {
            let n = below(30);
            let text: Vec<u32> = (0..n).map(|_| below(3).min(below(6)).min(4) as u32).collect();
            [vec![EOD], text, vec![EOD]].concat()
        };
        (0..12).map(document).collect()
    }

    /// The definition, with maps and recursion: counts of every n-gram as lists of tokens, oldest
    /// first.
    struct Naive {
        counts: Vec<BTreeMap<Vec<u32>, u32>>,
    }

    impl Naive {
        fn new(order: usize, documents: &[Vec<u32>]) -> Self {
            let pad = vec![VOCAB as u32; order];
            let mut counts = vec![BTreeMap::new(); order];
            let mut left: Vec<BTreeMap<Vec<u32>, BTreeSet<u32>>> = vec![BTreeMap::new(); order];
            for document in documents {
                let padded = [&pad[..], document].concat();
                for end in order + 1..padded.len() {
                    *counts[order - 1]
                        .entry(padded[end + 1 - order..=end].to_vec())
                        .or_default() += 1;
                    for n in 1..order {
                        let ngram = padded[end + 1 - n..=end].to_vec();
                        left[n - 1].entry(ngram).or_default().insert(padded[end - n]);
                    }
                }
            }
            for n in 1..order {
                counts[n - 1] = left[n - 1]
                    .iter()
                    .map(|(ngram, left)| (ngram.clone(), left.len() as u32))
                    .collect();
            }
            Self { counts }
        }

        fn probability(&self, context: &[u32], token: u32) -> f64 {
            let shorter = match context {
                [] => 1.0 / VOCAB as f64,
                [_, nearer @ ..] => self.probability(nearer, token),
            };
            let table = &self.counts[context.len()];
            let successors: Vec<Successor> =
                table.values().map(|count| Successor { token: 0, count: *count }).collect();
            let discounts = discounts(&successors);
            let of = |token| table.get(&[context, &[token]].concat()).copied().unwrap_or(0);
            let total: u32 = (0..VOCAB as u32).map(of).sum();
            if total == 0 {
                return shorter;
            }
            let taken = |count| if count == 0 { 0.0 } else { discount(&discounts, count) };
            let mass: f64 = (0..VOCAB as u32).map(|token| taken(of(token))).sum();
            let count = of(token);
            (f64::from(count) - taken(count) + mass * shorter) / f64::from(total)
        }
    }

    #[test]
    fn probabilities_follow_the_definition_and_sum_to_one() {
        for seed in 0..20 {
            for order in 1..=5 {
                let train = documents(seed);
                let model = NgramModel::fit(order, &train, VOCAB).unwrap();
                let naive = Naive::new(order, &train);
                for document in documents(seed + 100).iter().chain(&train[..2]) {
                    for position in 1..document.len() {
                        let pad = vec![VOCAB as u32; order];
                        let padded = [&pad, &document[..position]].concat();
                        let context = &padded[padded.len() - (order - 1)..];
                        let found = (0..VOCAB as u32).map(|token| {
                            let found = model.probability(&document[..position], token);
                            let expected = naive.probability(context, token);
                            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
                            found
                        });
                        let sum: f64 = found.sum();
                        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bigram_by_hand() {
        // One document "0 1 0 0": the pairs E0, 01, 10, 00 and 0E once each. Too few for estimated
        // discounts, so a count of 1 loses 0.5 and one of 3 loses 1.5.
        let model = NgramModel::fit(2, [[EOD, 0, 1, 0, 0, EOD]], VOCAB).unwrap();
        // Different tokens before 0: E, 1, 0; before 1: 0; before E: 0. Of these 5, discounts keep
        // 1.5, 0.5, 0.5.
        let unigram = |kept: f64| (kept + 2.5 / 6.0) / 5.0;
        let check = |context: u32, token: u32, expected: f64| {
            let found = (-model.nats(&[context], token)).exp();
            assert!((found - expected).abs() < 1e-7, "{context} {token}: {found} {expected}");
        };
        // After 0: 1, 0 and E once each, each loses 0.5, so half the mass goes to the unigram.
        check(0, 0, (0.5 + 1.5 * unigram(1.5)) / 3.0);
        check(0, 1, (0.5 + 1.5 * unigram(0.5)) / 3.0);
        check(0, 3, 1.5 * unigram(0.0) / 3.0);
        check(EOD, 0, 0.5 + 0.5 * unigram(1.5));
        check(4, 1, unigram(0.5)); // a context never seen
    }

    #[test]
    fn estimated_discounts_equal_the_formula() {
        let counts = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 9];
        let successors = counts.map(|count| Successor { token: 0, count });
        // n1..n4 = 6, 3, 2, 1; Y = 6/12
        assert_eq!(discounts(&successors), [1.0 - 0.5, 2.0 - 1.0, 3.0 - 1.0]);
        assert_eq!(discounts(&successors[..9]), [0.5, 1.0, 1.5]);
    }

    #[test]
    fn documents_are_scored_with_their_end_apart() {
        let model = NgramModel::fit(2, [[EOD, 0, 1, 0, 0, EOD]], VOCAB).unwrap();
        let document = HeldOutDocument { ids: vec![EOD, 0, 1, EOD], utf8_bytes: 7 };
        let sums = model.score_documents(&[document.clone(), document]);
        let nats = |context: u32, token| model.nats(&[context], token);
        assert_eq!((sums.documents, sums.tokens, sums.utf8_bytes), (2, 4, 14));
        assert!((sums.nats - 2.0 * (nats(EOD, 0) + nats(0, 1))).abs() < 1e-12);
        assert!((sums.eod_nats - 2.0 * nats(1, EOD)).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let check = |order, sequences: &[&[u32]], vocab_size, expected: &str| {
            let message = NgramModel::fit(order, sequences, vocab_size).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(0, &[&[0, 1]], 6, "order 0 over 6 ids");
        check(9, &[&[0, 1]], 64_005, "order 9 over 64005 ids");
        check(2, &[&[0, 6]], 6, "token id 6 is not below the vocabulary size 6");
        check(2, &[&[0]], 6, "1 to 2^32 tokens, got 0");
    }
}
