//! fastText classifiers: reads a `.bin` model and gives a line its most probable label.
//!
//! The arithmetic is that of fastText 0.9.2 in single precision, so probabilities agree with it to rounding.
//! Supported is what language identification needs (`lid.176.bin`): supervised models, not quantised, with
//! hierarchical softmax or softmax. The file format is read in `fast_text/model_file.rs`.

mod model_file;
mod tree;

use std::{cell::RefCell, path::Path};

use rustc_hash::FxHashMap;

use self::tree::Tree;
use crate::Result;

/// The word that stands for the end of the line.
const END_OF_LINE: &[u8] = b"</s>";
/// What the names of labels begin with.
const LABEL_PREFIX: &[u8] = b"__label__";
/// fastText adds this before each logarithm, which its probabilities show.
const LOG_FLOOR: f64 = 1e-5;
/// Words whose sums a thread remembers: their share of running text is large, and a look-up saves a random
/// access to memory for each of a word's n-grams.
const REMEMBERED_WORDS: usize = 1 << 14;

/// A loaded classifier.
#[derive(Debug)]
pub struct FastText {
    /// Number that tells models apart in the memory of a thread.
    serial: u64,
    dim: usize,
    /// Shortest and longest character n-gram; none at all if the longest is 0.
    n_gram_chars: (usize, usize),
    /// Longest word n-gram.
    n_gram_words: usize,
    n_buckets: u32,
    /// Index of every word and, after the words, of every label.
    entries: FxHashMap<Box<[u8]>, u32>,
    n_words: u32,
    /// Rows that pruning left of the buckets, by bucket; none in a model that was not pruned.
    kept_buckets: Option<FxHashMap<u32, u32>>,
    labels: Vec<String>,
    /// A row of `dim` numbers for each word and each bucket.
    input: Vec<f32>,
    output: Output,
}

/// How scores become probabilities, with a row of `dim` weights for each label or inner node.
#[derive(Debug)]
enum Output {
    Softmax(Vec<f32>),
    Hierarchical(Vec<f32>, Tree),
}

/// The most probable label of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// The label without `__label__`.
    pub label: &'a str,
    /// Its probability as fastText prints it, which may exceed 1 by 1e-5.
    pub probability: f32,
}

impl FastText {
    /// Reads a model.
    ///
    /// # Errors
    /// The file cannot be read, is no fastText model, is cut short, or is of a kind that is not supported.
    pub fn read(path: &Path) -> Result<Self> {
        model_file::read(path)
    }

    /// The most probable label, as `predict(line, k=1)` of fastText's Python module; the line ends with the text or
    /// its first LF. None where that module returns no label: when nothing of the line is known.
    pub fn predict(&self, line: &str) -> Option<Prediction<'_>> {
        let hidden = MEMORY.with_borrow_mut(|memory| self.hidden(line, memory))?;
        let (label, probability) = match &self.output {
            Output::Softmax(weights) => most_probable(&self.softmax(weights, &hidden))?,
            Output::Hierarchical(weights, tree) => tree.most_probable(|node| {
                dot(&weights[node * self.dim..(node + 1) * self.dim], &hidden)
            })?,
        };
        Some(Prediction { label: &self.labels[label], probability })
    }

    /// The mean of the rows of all features.
    fn hidden(&self, line: &str, memory: &mut Memory) -> Option<Vec<f32>> {
        memory.prepare(self);
        let mut sum = Sum { values: vec![0.0; self.dim], n_rows: 0 };
        let mut hashes = Vec::new();
        for word in Words::of(line) {
            let is_label = self.add_word(word, &mut sum, memory);
            if self.n_gram_words > 1 && !is_label {
                hashes.push(hash(word));
            }
            if word == END_OF_LINE {
                break;
            }
        }
        self.add_word_n_grams(&hashes, &mut sum);
        if sum.n_rows == 0 {
            return None;
        }
        let factor = (1.0 / f64::from(sum.n_rows)) as f32;
        sum.values.iter_mut().for_each(|value| *value *= factor);
        Some(sum.values)
    }

    /// Adds the rows of a word and its n-grams, of which a label has none; returns whether it is a label.
    #[inline]
    fn add_word(&self, word: &[u8], sum: &mut Sum, memory: &mut Memory) -> bool {
        let key = WordKey::of(word);
        if let Some(key) = key
            && let Some((values, n_rows)) = memory.get(key, self.dim)
        {
            add(&mut sum.values, values);
            sum.n_rows += n_rows;
            return false;
        }
        let entry = self.entries.get(word).copied();
        if entry.map_or(word.starts_with(LABEL_PREFIX), |entry| entry >= self.n_words) {
            return true;
        }
        let mut of_word = std::mem::take(&mut memory.scratch);
        of_word.clear(self.dim);
        if let Some(entry) = entry {
            self.add_row(entry, &mut of_word);
        }
        if word != END_OF_LINE {
            self.add_char_n_grams(word, &mut of_word, &mut memory.marked);
        }
        add(&mut sum.values, &of_word.values);
        sum.n_rows += of_word.n_rows;
        if let Some(key) = key {
            memory.store(key, &of_word);
        }
        memory.scratch = of_word;
        false
    }

    fn add_row(&self, row: u32, sum: &mut Sum) {
        let start = row as usize * self.dim;
        add(&mut sum.values, &self.input[start..start + self.dim]);
        sum.n_rows += 1;
    }

    fn add_bucket(&self, bucket: u32, sum: &mut Sum) {
        let kept = match &self.kept_buckets {
            None => Some(bucket),
            Some(kept) => kept.get(&bucket).copied(),
        };
        if let Some(bucket) = kept {
            self.add_row(self.n_words + bucket, sum);
        }
    }

    /// Adds the n-grams of `<word>`, whose marks do not count as n-grams of one character.
    fn add_char_n_grams(&self, word: &[u8], sum: &mut Sum, marked: &mut Vec<u8>) {
        let (shortest, longest) = self.n_gram_chars;
        if longest == 0 {
            return;
        }
        marked.clear();
        marked.push(b'<');
        marked.extend(word);
        marked.push(b'>');
        let is_start = |byte: u8| byte & 0xc0 != 0x80;
        for start in (0..marked.len()).filter(|&start| is_start(marked[start])) {
            let (mut end, mut state) = (start, HASH_START);
            for length in 1..=longest {
                if end == marked.len() {
                    break;
                }
                state = hash_step(state, marked[end]);
                end += 1;
                while end < marked.len() && !is_start(marked[end]) {
                    state = hash_step(state, marked[end]);
                    end += 1;
                }
                let is_mark = length == 1 && (start == 0 || end == marked.len());
                if length >= shortest && !is_mark {
                    self.add_bucket(state % self.n_buckets, sum);
                }
            }
        }
    }

    fn add_word_n_grams(&self, hashes: &[u32], sum: &mut Sum) {
        // fastText keeps hashes as signed numbers, so they widen with their sign.
        let widen = |hash: u32| i64::from(hash as i32) as u64;
        for (idx, &first) in hashes.iter().enumerate() {
            let end = hashes.len().min(idx + self.n_gram_words);
            let mut combined = widen(first);
            for &next in hashes.get(idx + 1..end).unwrap_or_default() {
                combined = combined.wrapping_mul(116_049_371).wrapping_add(widen(next));
                self.add_bucket((combined % u64::from(self.n_buckets)) as u32, sum);
            }
        }
    }

    fn softmax(&self, weights: &[f32], hidden: &[f32]) -> Vec<f32> {
        let scores: Vec<f32> = weights.chunks_exact(self.dim).map(|row| dot(row, hidden)).collect();
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> =
            scores.iter().map(|score| f64::from(score - max).exp() as f32).collect();
        let total: f32 = powers.iter().sum();
        powers.into_iter().map(|power| power / total).collect()
    }
}

/// The greatest of some probabilities, as fastText's passage through logarithms leaves it.
fn most_probable(probabilities: &[f32]) -> Option<(usize, f32)> {
    let (label, probability) =
        probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some((label, floored_log(*probability).exp()))
}

/// fastText's logarithm.
fn floored_log(probability: f32) -> f32 {
    (f64::from(probability) + LOG_FLOOR).ln() as f32
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[inline]
fn add(sum: &mut [f32], row: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += value;
    }
}

const HASH_START: u32 = 2_166_136_261;

/// One byte of FNV-1a with fastText's quirk: bytes are signed.
#[inline]
fn hash_step(state: u32, byte: u8) -> u32 {
    (state ^ (byte as i8 as u32)).wrapping_mul(16_777_619)
}

fn hash(word: &[u8]) -> u32 {
    word.iter().fold(HASH_START, |state, &byte| hash_step(state, byte))
}

/// A sum of rows.
#[derive(Debug, Default)]
struct Sum {
    values: Vec<f32>,
    n_rows: u32,
}

impl Sum {
    fn clear(&mut self, dim: usize) {
        self.values.clear();
        self.values.resize(dim, 0.0);
        self.n_rows = 0;
    }
}

/// The words of a line and then the word that ends it.
struct Words<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        Self { rest: line.as_bytes().split(|&byte| byte == b'\n').next() }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | 0xb | 0xc | b'\r' | 0);
        let rest = self.rest?;
        let Some(start) = rest.iter().position(|byte| !is_space(byte)) else {
            self.rest = None;
            return Some(END_OF_LINE);
        };
        let rest = &rest[start..];
        let end = rest.iter().position(is_space).unwrap_or(rest.len());
        self.rest = Some(&rest[end..]);
        Some(&rest[..end])
    }
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// A word short enough to be remembered, filled up with zeros, which no word holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WordKey([u64; 3]);

impl WordKey {
    #[inline]
    fn of(word: &[u8]) -> Option<Self> {
        let mut bytes = [0; 24];
        bytes.get_mut(..word.len())?.copy_from_slice(word);
        let (words, _) = bytes.as_chunks();
        Some(Self([0, 1, 2].map(|idx| u64::from_le_bytes(words[idx]))))
    }

    /// One of [`REMEMBERED_WORDS`] places.
    #[inline]
    fn slot(self) -> usize {
        let [a, b, c] = self.0;
        let mixed = (a ^ b.rotate_left(23) ^ c.rotate_left(46)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % REMEMBERED_WORDS
    }
}

/// Sums of words that were met before, in slots by hash; a slot holds the last word that fell into it.
#[derive(Default)]
struct Memory {
    /// The model that the sums belong to.
    serial: u64,
    words: Vec<(WordKey, u32)>,
    sums: Vec<f32>,
    scratch: Sum,
    marked: Vec<u8>,
}

impl Memory {
    /// Forgets what belongs to another model.
    fn prepare(&mut self, model: &FastText) {
        if self.serial != model.serial {
            self.serial = model.serial;
            self.words = vec![<(WordKey, u32)>::default(); REMEMBERED_WORDS];
            self.sums = vec![0.0; REMEMBERED_WORDS * model.dim];
        }
    }

    /// Sum and number of the rows of a word. The key of an empty slot is that of no word.
    #[inline]
    fn get(&self, key: WordKey, dim: usize) -> Option<(&[f32], u32)> {
        let slot = key.slot();
        let (known, n_rows) = self.words[slot];
        (known == key).then(|| (&self.sums[slot * dim..(slot + 1) * dim], n_rows))
    }

    fn store(&mut self, key: WordKey, sum: &Sum) {
        let (slot, dim) = (key.slot(), sum.values.len());
        self.words[slot] = (key, sum.n_rows);
        self.sums[slot * dim..(slot + 1) * dim].copy_from_slice(&sum.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_words(line: &str, expected: &[&str]) {
        let words: Vec<&[u8]> = Words::of(line).collect();
        assert_eq!(words, expected.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_ends_with_its_own_word() {
        check_words("", &["</s>"]);
        check_words(" a\0b\u{b}c\u{a0}d ", &["a", "b", "c\u{a0}d", "</s>"]);
        check_words("a\nb", &["a", "</s>"]);
    }

    #[test]
    fn hashes_are_those_of_fast_text() {
        // From fastText's own `Dictionary::hash`: FNV-1a over signed bytes.
        assert_eq!(hash(b""), 2_166_136_261);
        assert_eq!(hash(b"a"), 0xe40c_292c);
        assert_eq!(hash("é".as_bytes()), {
            let step = |state: u32, byte: i32| (state ^ byte as u32).wrapping_mul(16_777_619);
            step(step(2_166_136_261, -61), -87)
        });
    }
}
