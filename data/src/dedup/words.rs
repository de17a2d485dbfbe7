//! Deduplication by words: of texts equal up to whitespace, the first in reading order stays.
//!
//! `exact` is the method that looks at every character and goes by ids.

use sha2::{Digest, Sha256};

use super::{Compares, Key, Method, Order};
use crate::Document;

/// Equal words.
#[derive(Clone, Copy, Debug)]
pub struct Words;

impl Method for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn compares(&self) -> Compares {
        Compares::Documents(Order::Reading)
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        vec![(0, key(&document.text))]
    }
}

/// The first half of the SHA-256 of a text's words joined by single spaces.
fn key(text: &str) -> Key {
    let mut hash = Sha256::new();
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 {
            hash.update(b" ");
        }
        hash.update(word.as_bytes());
    }
    Key::of_digest(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::laws, *};

    fn check(texts: &[&str], expected: &[&str]) {
        let left = laws::left(&Words, texts);
        assert_eq!(left.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_first_of_equal_texts_is_kept() {
        check(&["b", "a", "b", "a b", "ab"], &["b", "a", "a b", "ab"]);
        check(&["a  b\n", "a b", " a\u{3000}b"], &["a  b\n"]);
        check(&["", " \n"], &[""]);
    }

    #[test]
    fn reading_order_counts_and_not_ids() {
        let documents = [laws::document("z", "a b"), laws::document("a", "a  b")];
        assert_eq!(laws::left_of(&Words, &documents), [("z".to_owned(), "a b".to_owned())]);
    }

    proptest! {
        #[test]
        fn is_idempotent_and_keeps_one_of_each(
            texts in proptest::collection::vec("[ab \n]{0,4}", 0..40),
        ) {
            laws::check(&Words, &texts, &[]);
            let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
            let kept = laws::left(&Words, &borrowed);
            let words = |texts: Vec<&str>| -> std::collections::BTreeSet<Vec<String>> {
                texts.iter().map(|t| t.split_whitespace().map(str::to_owned).collect()).collect()
            };
            let of_kept = words(kept.iter().map(|(_, text)| text.as_str()).collect());
            prop_assert_eq!(of_kept.len(), kept.len());
            prop_assert_eq!(of_kept, words(borrowed));
        }
    }
}
