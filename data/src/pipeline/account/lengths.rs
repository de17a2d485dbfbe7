//! How long documents are: counts in buckets that double, so that a title and a book fit one picture.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Numbers of documents by the logarithm of their characters.
///
/// Bucket 0 holds empty documents, bucket `i` those with `2^(i-1)` to `2^i - 1` characters. Buckets after the last
/// that holds something are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lengths {
    buckets: Vec<u64>,
}

impl Lengths {
    /// Adds a document.
    pub fn add(&mut self, n_chars: u64) {
        let bucket = (u64::BITS - n_chars.leading_zeros()) as usize;
        self.make_room(bucket + 1);
        self.buckets[bucket] += 1;
    }

    /// The numbers of documents.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The fewest characters of a document in a bucket.
    pub fn least_chars(bucket: usize) -> u64 {
        if bucket == 0 { 0 } else { 1 << (bucket - 1) }
    }

    fn make_room(&mut self, n_buckets: usize) {
        if self.buckets.len() < n_buckets {
            self.buckets.resize(n_buckets, 0);
        }
    }
}

impl AddAssign for Lengths {
    fn add_assign(&mut self, other: Self) {
        self.make_room(other.buckets.len());
        for (bucket, n) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(of: &[u64]) -> Lengths {
        let mut lengths = Lengths::default();
        of.iter().for_each(|&n_chars| lengths.add(n_chars));
        lengths
    }

    #[test]
    fn buckets_double() {
        assert_eq!(lengths(&[0, 1, 2, 3, 4, 7, 8]).buckets(), [1, 1, 2, 2, 1]);
        assert_eq!(lengths(&[u64::MAX]).buckets().len(), 65);
        let least: Vec<u64> = (0..6).map(Lengths::least_chars).collect();
        assert_eq!(least, [0, 1, 2, 4, 8, 16]);
    }

    #[test]
    fn parts_add_up_in_any_order() {
        let (a, b) = ([3, 100, 5000], [0, 9]);
        let (mut left, mut right) = (lengths(&a), lengths(&b));
        left += lengths(&b);
        right += lengths(&a);
        assert_eq!((&left, &left), (&right, &lengths(&[&a[..], &b[..]].concat())));
    }
}
