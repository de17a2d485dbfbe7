//! fastText's `.bin` format, all numbers little-endian:
//!
//! ```text
//! i32 magic 793712314, i32 version 11 or 12
//! i32 dim, ws, epoch, min_count, neg, word_ngrams, loss, model, bucket, minn, maxn, lr_update_rate; f64 t
//! i32 n_entries, n_words, n_labels; i64 n_tokens, n_pruned (-1: not pruned)
//! n_entries times: text, a byte 0, i64 count, i8 0 for a word or 1 for a label
//! n_pruned times: i32 bucket, i32 row
//! u8 quantised; i64 rows, i64 columns, f32 values      (input)
//! u8 quantised; i64 rows, i64 columns, f32 values      (output)
//! ```
//!
//! Every length is checked against the bytes that are left before memory is taken for it.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustc_hash::FxHashMap;

use super::{FastText, Output, tree::Tree};
use crate::{Error, Result};

const MAGIC: i32 = 793_712_314;
const SUPERVISED: i32 = 3;
const HIERARCHICAL: i32 = 1;
const SOFTMAX: i32 = 3;

/// What reading finds wrong.
type Parsed<T> = std::result::Result<T, String>;

pub(super) fn read(path: &Path) -> Result<FastText> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    parse(&bytes).map_err(|problem| Error::Malformed { path: path.to_owned(), problem })
}

fn parse(bytes: &[u8]) -> Parsed<FastText> {
    let mut file = Cursor { rest: bytes };
    if bytes.len() < 8 || file.i32()? != MAGIC {
        return Err("no fastText model, its first four bytes are others".to_owned());
    }
    let version = file.i32()?;
    if !(11..=12).contains(&version) {
        return Err(format!("fastText file version {version}, expected 11 or 12"));
    }
    let settings = Settings::parse(&mut file, version)?;
    let dictionary = Dictionary::parse(&mut file)?;
    let n_rows = dictionary.n_input_rows(settings.bucket);
    let input = matrix(&mut file, "input", n_rows, settings.dim)?;
    let n_outputs = dictionary.labels.len();
    // Hierarchical softmax has an inner node less than labels, but fastText stores a row for each label.
    let output = matrix(&mut file, "output", n_outputs, settings.dim)?;
    if !file.rest.is_empty() {
        return Err(format!("{} bytes after the end of the model", file.rest.len()));
    }
    let output = match settings.loss {
        SOFTMAX => Output::Softmax(output),
        _ => Output::Hierarchical(output, Tree::new(&dictionary.label_counts)),
    };
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    Ok(FastText {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        dim: settings.dim,
        n_gram_chars: settings.n_gram_chars,
        n_gram_words: settings.n_gram_words,
        n_buckets: settings.bucket.max(1),
        entries: dictionary.entries,
        n_words: dictionary.n_words,
        kept_buckets: dictionary.kept_buckets,
        labels: dictionary.labels,
        input,
        output,
    })
}

/// The part of fastText's settings that prediction needs.
struct Settings {
    dim: usize,
    n_gram_words: usize,
    loss: i32,
    bucket: u32,
    n_gram_chars: (usize, usize),
}

impl Settings {
    fn parse(file: &mut Cursor<'_>, version: i32) -> Parsed<Self> {
        let mut numbers = [0; 12];
        for number in &mut numbers {
            *number = file.i32()?;
        }
        file.take(8)?;
        let [dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _] = numbers;
        if model != SUPERVISED {
            return Err(format!(
                "fastText model of kind {model}, expected a classifier ({SUPERVISED})"
            ));
        }
        if ![HIERARCHICAL, SOFTMAX].contains(&loss) {
            return Err(format!(
                "fastText loss {loss}, expected hierarchical softmax ({HIERARCHICAL}) or softmax ({SOFTMAX})"
            ));
        }
        let count = |name, value: i32| {
            usize::try_from(value).map_err(|_| format!("`{name}` is {value}, expected 0 or more"))
        };
        // fastText itself ignores character n-grams in classifiers of version 11.
        let maxn = if version == 11 { 0 } else { count("maxn", maxn)? };
        let (dim, minn) = (count("dim", dim)?, count("minn", minn)?);
        let bucket = count("bucket", bucket)? as u32;
        let n_gram_words = count("wordNgrams", word_ngrams)?;
        if dim == 0 || bucket == 0 && (maxn > 0 || n_gram_words > 1) {
            return Err(format!("dimension {dim} and {bucket} buckets, expected more than 0"));
        }
        Ok(Self { dim, n_gram_words, loss, bucket, n_gram_chars: (minn, maxn) })
    }
}

struct Dictionary {
    entries: FxHashMap<Box<[u8]>, u32>,
    n_words: u32,
    labels: Vec<String>,
    label_counts: Vec<i64>,
    kept_buckets: Option<FxHashMap<u32, u32>>,
}

impl Dictionary {
    fn parse(file: &mut Cursor<'_>) -> Parsed<Self> {
        let (n_entries, n_words, n_labels) = (file.i32()?, file.i32()?, file.i32()?);
        file.take(8)?;
        let n_pruned = file.i64()?;
        if n_words < 0
            || n_labels < 1
            || i64::from(n_words) + i64::from(n_labels) != i64::from(n_entries)
        {
            return Err(format!("{n_entries} entries, but {n_words} words and {n_labels} labels"));
        }
        let (mut entries, mut labels) = (FxHashMap::default(), Vec::new());
        let mut label_counts = Vec::new();
        for idx in 0..n_entries {
            let text = file.text()?;
            let (count, kind) = (file.i64()?, file.u8()?);
            if kind != u8::from(idx >= n_words) {
                return Err(format!("entry {idx} is of kind {kind}, expected words, then labels"));
            }
            if kind == 1 {
                let name = String::from_utf8_lossy(text);
                labels.push(name.strip_prefix("__label__").unwrap_or(&name).to_owned());
                label_counts.push(count);
            }
            entries.insert(text.into(), idx as u32);
        }
        let kept_buckets = (n_pruned >= 0).then(|| pruned(file, n_pruned)).transpose()?;
        Ok(Self { entries, n_words: n_words as u32, labels, label_counts, kept_buckets })
    }

    fn n_input_rows(&self, bucket: u32) -> usize {
        let n_buckets = self.kept_buckets.as_ref().map_or(bucket as usize, FxHashMap::len);
        self.n_words as usize + n_buckets
    }
}

/// The rows that are left of the buckets.
fn pruned(file: &mut Cursor<'_>, n_pruned: i64) -> Parsed<FxHashMap<u32, u32>> {
    let mut kept = FxHashMap::default();
    for _ in 0..n_pruned {
        let (bucket, row) = (file.i32()?, file.i32()?);
        let row = u32::try_from(row).ok().filter(|&row| i64::from(row) < n_pruned);
        kept.insert(bucket as u32, row.ok_or("a pruned bucket leads to no row")?);
    }
    Ok(kept)
}

fn matrix(file: &mut Cursor<'_>, name: &str, n_rows: usize, n_columns: usize) -> Parsed<Vec<f32>> {
    if file.u8()? != 0 {
        return Err(format!(
            "the {name} matrix is quantised, expected a plain one (`.bin`, not `.ftz`)"
        ));
    }
    let (rows, columns) = (file.i64()?, file.i64()?);
    if rows != n_rows as i64 || columns != n_columns as i64 {
        return Err(format!(
            "the {name} matrix has {rows} rows and {columns} columns, expected {n_rows} and {n_columns}"
        ));
    }
    let n_bytes = n_rows.checked_mul(n_columns).and_then(|n_values| n_values.checked_mul(4));
    let bytes = file.take(n_bytes.ok_or("a matrix beyond any memory")?)?;
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    Ok(bytes.as_chunks().0.iter().map(number).collect())
}

/// The bytes that are not read yet.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n_bytes: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n_bytes).ok_or_else(|| {
            format!("cut short: {n_bytes} more bytes expected, {} are left", self.rest.len())
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn i32(&mut self) -> Parsed<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn i64(&mut self) -> Parsed<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// The bytes before a zero, which is passed over.
    fn text(&mut self) -> Parsed<&'a [u8]> {
        let length = self.rest.iter().position(|&byte| byte == 0);
        let text = self.take(length.ok_or("cut short in a word of the dictionary")?)?;
        self.take(1)?;
        Ok(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A model of two dimensions with the word `</s>`, labels `a` and `b` and three buckets.
    pub(in super::super) fn model(loss: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let numbers = [MAGIC, 12, 2, 5, 5, 1, 5, 1, loss, SUPERVISED, 3, 1, 2, 100];
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(0.0_f64.to_le_bytes());
        [3_i32, 1, 2].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        [9_i64, -1].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        for (text, count, kind) in [("</s>", 9_i64, 0), ("__label__a", 5, 1), ("__label__b", 4, 1)]
        {
            bytes.extend(text.as_bytes());
            bytes.push(0);
            bytes.extend(count.to_le_bytes());
            bytes.push(kind);
        }
        for (rows, values) in [
            (4_i64, [0.5, -1.0, 2.0, 0.0, 1.0, 1.0, -3.0, 0.25].as_slice()),
            (2, &[1.0, 0.0, 0.0, 1.0]),
        ] {
            bytes.push(0);
            bytes.extend(rows.to_le_bytes());
            bytes.extend(2_i64.to_le_bytes());
            values.iter().for_each(|value: &f32| bytes.extend(value.to_le_bytes()));
        }
        bytes
    }

    fn check_error(bytes: &[u8], expected: &str) {
        let problem = parse(bytes).map(|_| ()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }

    #[test]
    fn an_empty_line_is_its_end() {
        let model = parse(&model(SOFTMAX)).unwrap();
        let found = model.predict("").unwrap();
        // Scores 0.5 and -1.
        let expected = 1.0 / (1.0 + (-1.5_f32).exp()) + 1e-5;
        assert_eq!(found.label, "a");
        assert!((found.probability - expected).abs() < 1e-6, "{found:?}");
        assert_eq!(model.predict(" \u{c}"), model.predict(""));
    }

    #[test]
    fn both_losses_find_the_same_label_of_two() {
        for text in ["", "x", "y z", "__label__a x", "汉字"] {
            let softmax = parse(&model(SOFTMAX)).unwrap();
            let tree = parse(&model(HIERARCHICAL)).unwrap();
            assert!(softmax.predict(text).is_some() && tree.predict(text).is_some(), "{text}");
            let again = tree.predict(text);
            assert_eq!(tree.predict(text), again);
        }
    }

    #[test]
    fn alien_and_truncated_files_are_refused() {
        let whole = model(SOFTMAX);
        check_error(b"", "no fastText model");
        check_error(b"{\"a\":1} or so", "no fastText model");
        check_error(&model(2), "loss 2, expected hierarchical softmax (1) or softmax (3)");
        for length in 8..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        check_error(&whole[..whole.len() - 1], "cut short: 16 more bytes expected, 15 are left");
        let longer = [&whole[..], &[0]].concat();
        check_error(&longer, "1 bytes after the end");
    }

    #[test]
    fn numbers_beyond_the_file_take_no_memory() {
        let mut bytes = model(SOFTMAX);
        let end = bytes.len();
        // Rows of the output matrix.
        bytes[end - 32..end - 24].copy_from_slice(&i64::MAX.to_le_bytes());
        check_error(&bytes, "expected 2 and 2");
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0..300_usize, value: u8) {
            let mut bytes = model(SOFTMAX);
            let idx = at % bytes.len();
            bytes[idx] = value;
            if let Ok(model) = parse(&bytes) {
                model.predict("some words");
            }
        }
    }
}
