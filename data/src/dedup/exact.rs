//! Exact document deduplication: of documents with the same text, the one with the smallest id stays.
//!
//! Every character counts, as in the original (`words` is the method that does not look at whitespace).
//! MAP-Neo kept an arbitrary one of the English and asked a Bloom filter about the Chinese, which loses unique
//! documents; the smallest id is our rule.

use super::{Compares, Key, Method, Order};
use crate::Document;

/// Equal texts.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

impl Method for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn compares(&self) -> Compares {
        Compares::Documents(Order::Id)
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        vec![(0, Key::of(document.text.as_bytes()))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::laws, *};

    #[test]
    fn the_smallest_id_of_equal_texts_stays() {
        let documents = [("b", "x"), ("c", "x"), ("a", "x"), ("d", "x "), ("e", "")];
        let documents = documents.map(|(id, text)| laws::document(id, text));
        let left = laws::left_of(&Exact, &documents);
        let ids: Vec<&str> = left.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["a", "d", "e"]);
    }

    proptest! {
        #[test]
        fn obeys_the_laws(
            texts in proptest::collection::vec("[ab\n]{0,3}", 20),
            order in Just((0..20).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            laws::check(&Exact, &texts, &order);
        }
    }
}
