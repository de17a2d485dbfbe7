//! The set of n-grams of all evaluation rows, asked once for every unit of the corpus.
//!
//! A small table of bits answers almost every question, always "no" and never wrongly. What passes is looked up
//! among the sorted 64-bit hashes. Among 10^7 of them a chance collision is expected once in 10^12 runs.

use rayon::prelude::*;

/// Bits of the table for each n-gram: two of them are set, so about one question in 60 passes for nothing.
const BITS_PER_GRAM: usize = 16;
/// N-grams of a bucket, on average.
const BUCKET_GRAMS: usize = 8;

/// N-grams by their hashes, each with the rows that have it.
#[derive(Debug)]
pub(super) struct Grams {
    filter: Filter,
    /// Where the hashes of a bucket begin; a bucket is the first bits of a hash.
    buckets: Vec<u32>,
    bucket_shift: u32,
    hashes: Vec<u64>,
    rows: Vec<u32>,
}

impl Grams {
    /// From hashes and numbers of rows; of the rows of one benchmark, as `benchmark` tells, only the first is kept.
    pub(super) fn new(mut grams: Vec<(u64, u32)>, benchmark: impl Fn(u32) -> usize) -> Self {
        grams.par_sort_unstable();
        grams.dedup_by_key(|(hash, row)| (*hash, benchmark(*row)));
        let mut filter = Filter::new(grams.len());
        grams.iter().for_each(|&(hash, _)| filter.insert(hash));
        let n_buckets = (grams.len() / BUCKET_GRAMS).next_power_of_two().max(2);
        let bucket_shift = u64::BITS - n_buckets.ilog2();
        let bucket_of = |hash: u64| (hash >> bucket_shift) as usize;
        let mut buckets = vec![0; n_buckets + 1];
        grams.iter().for_each(|&(hash, _)| buckets[bucket_of(hash) + 1] += 1);
        (0..n_buckets).for_each(|bucket| buckets[bucket + 1] += buckets[bucket]);
        let (hashes, rows) = grams.into_iter().unzip();
        Self { filter, buckets, bucket_shift, hashes, rows }
    }

    /// The rows that have an n-gram, one of each benchmark.
    pub(super) fn rows(&self, hash: u64) -> &[u32] {
        if !self.filter.may_contain(hash) {
            return &[];
        }
        let bucket = (hash >> self.bucket_shift) as usize;
        let (start, end) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        let of_bucket = &self.hashes[start..end];
        let first = start + of_bucket.partition_point(|&other| other < hash);
        let n = self.hashes[first..end].iter().take_while(|&&other| other == hash).count();
        &self.rows[first..first + n]
    }
}

/// A table of bits of which every member sets two, both in one word.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    pub(super) fn new(n_members: usize) -> Self {
        let n_words = (n_members * BITS_PER_GRAM / 64).next_power_of_two().max(2);
        Self { words: vec![0; n_words] }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let (word, bits) = self.place(hash);
        self.words[word] |= bits;
    }

    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        self.words[word] & bits == bits
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let word = (hash >> 12) as usize & (self.words.len() - 1);
        (word, (1 << (hash & 63)) | (1 << ((hash >> 6) & 63)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gram_is_found_with_one_row_of_each_benchmark() {
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let grams = (0..3000).flat_map(|i| [(hash(i), 7), (hash(i), 9), (hash(i), 100 + i as u32)]);
        let grams = Grams::new(grams.collect(), |row| usize::from(row >= 100));
        for i in 0..3000 {
            assert_eq!(grams.rows(hash(i)), [7, 100 + i as u32]);
        }
        assert!((3000..9000).all(|i| grams.rows(hash(i)).is_empty()));
        let n_passed = (3000..9000).filter(|&i| grams.filter.may_contain(hash(i))).count();
        assert!(n_passed < 300, "{n_passed}");
        assert!(Grams::new(Vec::new(), |_| 0).rows(1).is_empty());
    }
}
