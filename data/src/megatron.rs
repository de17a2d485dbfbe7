//! The data order of Megatron-Core 0.4 (`gpt_dataset.py`, `helpers.cpp`), which MAP-Neo trained
//! with.
//!
//! Exact to the sample, with numpy's legacy generator: the documents of as many epochs as are
//! needed lie one after the other, are cut into samples, and the samples are shuffled; sources are
//! interleaved greedily. Unlike `order.rs` it needs the number of samples of the whole run and
//! keeps tables as long as the run.

use std::ops::Range;

use crate::{Error, Result};

/// Whether documents keep the shards' order or are shuffled too (off in MAP-Neo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentOrder {
    /// As they lie in the shards.
    Stored,
    /// Shuffled, over all epochs at once or, with a separate final epoch, over the others and the
    /// final one.
    Shuffled,
}

/// The order of one source's samples, `GPTDataset` in Megatron.
#[derive(Clone, Debug)]
pub struct GptOrder {
    seq_len: u64,
    epochs: u64,
    separate_final_epoch: bool,
    /// First token of each document in the source, and at the end the number of tokens.
    document_offsets: Vec<u64>,
    /// Documents in the order in which they are strung together, all epochs.
    document_index: Vec<u32>,
    /// First token of each of them in that string, and at the end its length.
    string_offsets: Vec<u64>,
    shuffle_index: Vec<u32>,
}

impl GptOrder {
    /// Lays out a source so that it gives at least `wanted` samples of `seq_len + 1` tokens.
    ///
    /// `document_offsets` are the first tokens of the documents, and at the end the number of
    /// tokens.
    ///
    /// # Errors
    /// A source without tokens, a seed above 32 bits, or more samples or documents than 32-bit
    /// tables hold.
    pub fn new(
        document_offsets: Vec<u64>,
        seq_len: usize,
        wanted: u64,
        seed: u64,
        documents: DocumentOrder,
    ) -> Result<Self> {
        let seq_len = seq_len as u64;
        let epoch_tokens = document_offsets.last().copied().unwrap_or(0);
        if epoch_tokens == 0 || seq_len == 0 {
            return Err(too_large(
                "order `megatron` needs tokens and a sequence length of 1 or more",
            ));
        }
        let mut random = Mt19937::new(seed)?;
        let needed = wanted.checked_mul(seq_len).and_then(|tokens| tokens.checked_add(1));
        let epochs = needed.ok_or_else(|| too_large(TOO_LARGE))?.div_ceil(epoch_tokens).max(1);
        let samples_of = |epochs: u64| (epochs * epoch_tokens).saturating_sub(1) / seq_len;
        let before_final = samples_of(epochs - 1);
        let separate_final_epoch =
            epochs > 1 && wanted - before_final < (0.8 * samples_of(1) as f64) as u64;

        let n_documents = document_offsets.len() as u64 - 1;
        let n_strung = n_documents.checked_mul(epochs).filter(|count| *count < u64::from(u32::MAX));
        if n_strung.is_none() || samples_of(epochs) >= u64::from(u32::MAX) {
            return Err(too_large(TOO_LARGE));
        }
        let document_index = document_index(
            n_documents as u32,
            epochs,
            separate_final_epoch,
            documents,
            &mut random,
        );
        let string_offsets = string_offsets(&document_offsets, &document_index);
        let head = if separate_final_epoch { before_final } else { samples_of(epochs) };
        let mut shuffle_index: Vec<u32> = (0..samples_of(epochs) as u32).collect();
        let (head, tail) = shuffle_index.split_at_mut(head as usize);
        random.shuffle(head);
        random.shuffle(tail);
        Ok(Self {
            seq_len,
            epochs,
            separate_final_epoch,
            document_offsets,
            document_index,
            string_offsets,
            shuffle_index,
        })
    }

    /// Number of samples, all epochs.
    pub fn n_samples(&self) -> u64 {
        self.shuffle_index.len() as u64
    }

    /// Number of times the documents are strung together.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Whether the samples of the last epoch are shuffled apart, since few of them are needed.
    pub fn separate_final_epoch(&self) -> bool {
        self.separate_final_epoch
    }

    /// Documents in the order in which they are strung together, all epochs.
    pub fn document_index(&self) -> &[u32] {
        &self.document_index
    }

    /// Samples in the order in which they are drawn.
    pub fn shuffle_index(&self) -> &[u32] {
        &self.shuffle_index
    }

    /// Tokens at the end that fill no sample.
    pub fn unused_tail_tokens(&self) -> u64 {
        self.string_offsets[self.document_index.len()] - (self.n_samples() * self.seq_len + 1)
    }

    /// First token of a sample (not shuffled): which document of the index, which token of it.
    pub fn sample_start(&self, sample: u64) -> (usize, u64) {
        let token = sample * self.seq_len;
        let position = self.string_offsets.partition_point(|offset| *offset <= token) - 1;
        (position, token - self.string_offsets[position])
    }

    /// Token ranges of the source that make the sample drawn as number `drawn`; `None` past the
    /// last.
    pub fn pieces(&self, drawn: u64) -> Option<Vec<Range<u64>>> {
        let sample = *self.shuffle_index.get(usize::try_from(drawn).ok()?)?;
        let (mut position, mut offset) = self.sample_start(u64::from(sample));
        let (mut pieces, mut missing) = (Vec::new(), self.seq_len + 1);
        while missing > 0 {
            let document = self.document_index[position] as usize;
            let start = self.document_offsets[document] + offset;
            let end = self.document_offsets[document + 1].min(start + missing);
            missing -= end - start;
            pieces.push(start..end);
            (position, offset) = (position + 1, 0);
        }
        Some(pieces)
    }
}

const TOO_LARGE: &str =
    "the run is too long for the 32-bit tables of order `megatron`, use order `neo`";

fn too_large(problem: &str) -> Error {
    Error::Setting(problem.to_owned())
}

fn document_index(
    n_documents: u32,
    epochs: u64,
    separate_final_epoch: bool,
    order: DocumentOrder,
    random: &mut Mt19937,
) -> Vec<u32> {
    let mut index: Vec<u32> = (0..epochs).flat_map(|_| 0..n_documents).collect();
    if order == DocumentOrder::Shuffled {
        let final_epoch = if separate_final_epoch { n_documents as usize } else { 0 };
        let n_head = index.len() - final_epoch;
        let (head, tail) = index.split_at_mut(n_head);
        random.shuffle(head);
        random.shuffle(tail);
    }
    index
}

fn string_offsets(document_offsets: &[u64], document_index: &[u32]) -> Vec<u64> {
    let mut end = 0;
    let ends = document_index.iter().map(|&document| {
        let document = document as usize;
        end += document_offsets[document + 1] - document_offsets[document];
        end
    });
    std::iter::once(0).chain(ends).collect()
}

/// Greedy interleaving of sources, `build_blending_indices` in Megatron.
///
/// Sample `i` goes to the source that is furthest behind `weight * max(i, 1)`, the first of equals.
/// What each source has got is kept for every 1024th sample only; the rest is replayed.
#[derive(Clone, Debug)]
pub struct Blend {
    weights: Vec<f64>,
    /// Counts before samples 0, 1024, 2048, ..., one after the other.
    counts: Vec<u64>,
    n_samples: u64,
}

const STRIDE: u64 = 1024;

impl Blend {
    /// Interleaves `n_samples` by weights, which need not sum to 1.
    ///
    /// # Errors
    /// More samples than the 32-bit tables of the sources hold.
    pub fn new(weights: &[f64], n_samples: u64) -> Result<Self> {
        if n_samples > u64::from(u32::MAX) * weights.len() as u64 {
            return Err(too_large(TOO_LARGE));
        }
        let total: f64 = weights.iter().sum();
        let weights: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let (mut count, mut counts) = (vec![0; weights.len()], Vec::new());
        for sample in 0..n_samples {
            if sample.is_multiple_of(STRIDE) {
                counts.extend_from_slice(&count);
            }
            let source = next_source(&weights, &count, sample);
            count[source] += 1;
        }
        counts.extend_from_slice(&count); // the last block's place, or the totals
        Ok(Self { weights, counts, n_samples })
    }

    /// How many samples each source gives in all.
    pub fn totals(&self) -> &[u64] {
        &self.counts[self.counts.len() - self.weights.len()..]
    }

    /// Source and number in the source of each of some samples; `None` when the blend is shorter.
    pub fn locate(&self, samples: Range<u64>) -> Option<Vec<(usize, u64)>> {
        if samples.end > self.n_samples || samples.is_empty() {
            return None;
        }
        let block = samples.start / STRIDE;
        let n_sources = self.weights.len();
        let mut count = self.counts[block as usize * n_sources..][..n_sources].to_vec();
        let mut places = Vec::new();
        for sample in block * STRIDE..samples.end {
            let source = next_source(&self.weights, &count, sample);
            if sample >= samples.start {
                places.push((source, count[source]));
            }
            count[source] += 1;
        }
        Some(places)
    }
}

fn next_source(weights: &[f64], count: &[u64], sample: u64) -> usize {
    let expected = sample.max(1) as f64;
    let errors = weights.iter().zip(count).map(|(weight, count)| weight * expected - *count as f64);
    let (mut best, mut largest) = (0, f64::NEG_INFINITY);
    for (source, error) in errors.enumerate() {
        if error > largest {
            (best, largest) = (source, error);
        }
    }
    best
}

/// Mersenne Twister as numpy's `RandomState(seed)` runs it (Matsumoto and Nishimura 1998).
struct Mt19937 {
    state: [u32; Self::N],
    used: usize,
}

impl Mt19937 {
    const N: usize = 624;
    const M: usize = 397;

    fn new(seed: u64) -> Result<Self> {
        let Ok(seed) = u32::try_from(seed) else {
            return Err(too_large("order `megatron` takes seeds below 2^32 only, as numpy does"));
        };
        let mut state = [seed; Self::N];
        for i in 1..Self::N {
            let last = state[i - 1];
            state[i] = (last ^ last >> 30).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Ok(Self { state, used: Self::N })
    }

    fn next(&mut self) -> u32 {
        if self.used == Self::N {
            self.refill();
        }
        let mut y = self.state[self.used];
        self.used += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }

    fn refill(&mut self) {
        for i in 0..Self::N {
            let next = self.state[(i + 1) % Self::N];
            let y = self.state[i] & 0x8000_0000 | next & 0x7fff_ffff;
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::M) % Self::N] ^ y >> 1 ^ twist;
        }
        self.used = 0;
    }

    /// Uniform in `0..=max` by masking and rejection, numpy's `random_interval`.
    fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.next() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// numpy's `RandomState.shuffle`: from the last place down.
    fn shuffle(&mut self, items: &mut [u32]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.interval(i as u32) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_equals_numpy() {
        // numpy: RandomState(5489).randint(0, 2**32, 3, dtype=uint32), its 10,000th as the C++
        // standard states it
        let mut random = Mt19937::new(5489).unwrap();
        assert_eq!([random.next(), random.next()], [3_499_211_612, 581_869_302]);
        let last = (2..10_000).map(|_| random.next()).last();
        assert_eq!(last, Some(4_123_659_995));
        assert!(Mt19937::new(1 << 32).is_err());
    }

    #[test]
    fn shuffles_equal_numpy() {
        // numpy: r = RandomState(42); x = arange(10, dtype=uint32); r.shuffle(x); r.shuffle(x)
        let mut items: Vec<u32> = (0..10).collect();
        let mut random = Mt19937::new(42).unwrap();
        random.shuffle(&mut items);
        assert_eq!(items, [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        random.shuffle(&mut items);
        assert_eq!(items, [8, 1, 3, 2, 0, 7, 4, 6, 9, 5]);
        // numpy: x = arange(70000, dtype=uint32); RandomState(7).shuffle(x); (x *
        // arange(70000)).sum()
        let mut items: Vec<u32> = (0..70_000).collect();
        Mt19937::new(7).unwrap().shuffle(&mut items);
        let sum: u64 = items.iter().zip(0u64..).map(|(item, i)| u64::from(*item) * i).sum();
        assert_eq!(sum, 85_747_886_197_915);
    }

    #[test]
    fn blends_replay_from_any_sample() {
        let blend = Blend::new(&[5.0, 3.0, 0.01], 3000).unwrap();
        let all = blend.locate(0..3000).unwrap();
        assert_eq!(blend.locate(1020..2050).unwrap(), all[1020..2050]);
        assert_eq!(blend.locate(2048..3000).unwrap(), all[2048..]);
        assert_eq!(blend.locate(2999..3001), None);
        let totals =
            [0, 1, 2].map(|source| all.iter().filter(|place| place.0 == source).count() as u64);
        assert_eq!(blend.totals(), totals);
        assert_eq!(Blend::new(&[1.0], 1024).unwrap().totals(), [1024]);
    }

    #[test]
    fn a_source_shorter_than_a_sample_is_repeated() {
        let order = GptOrder::new(vec![0, 2, 3], 4, 2, 1, DocumentOrder::Stored).unwrap();
        assert_eq!((order.epochs(), order.n_samples()), (3, 2));
        let mut pieces = [order.pieces(0).unwrap(), order.pieces(1).unwrap()];
        pieces.sort_by_key(Vec::len);
        assert_eq!(pieces.map(|p| p.iter().map(|r| r.end - r.start).sum::<u64>()), [5, 5]);
        assert_eq!(order.pieces(2), None);
        assert!(GptOrder::new(vec![0], 4, 2, 1, DocumentOrder::Stored).is_err());
        assert!(GptOrder::new(vec![0, 1], 4, u64::MAX, 1, DocumentOrder::Stored).is_err());
    }
}
