//! Paragraph deduplication: of equal paragraphs of the whole corpus, the first by (id, position) stays.
//!
//! A paragraph is what stands between line feeds, the empty string included: faithfully, all blank lines of
//! the corpus but one vanish; [`Mode::Corrected`] leaves empty paragraphs alone. Documents left with fewer
//! than 20 characters are dropped.

use super::{Compares, Key, Method, Mode, Outcome};
use crate::Document;

/// Equal paragraphs.
#[derive(Clone, Copy, Debug)]
pub struct Paragraph {
    /// Whether empty paragraphs count, as in the original.
    pub mode: Mode,
}

impl Method for Paragraph {
    fn name(&self) -> &'static str {
        "paragraph"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({ "mode": self.mode })
    }

    fn compares(&self) -> Compares {
        Compares::Parts
    }

    fn part(&self) -> &'static str {
        "paragraphs"
    }

    fn keys(&self, document: &Document) -> Vec<(u32, Key)> {
        let counts = |paragraph: &str| self.mode == Mode::Faithful || !paragraph.is_empty();
        let paragraphs = (0..).zip(document.text.split('\n'));
        paragraphs
            .filter(|(_, paragraph)| counts(paragraph))
            .map(|(position, paragraph)| (position, Key::of(paragraph.as_bytes())))
            .collect()
    }

    fn take_out(&self, text: &str, repeats: &[u32]) -> Outcome {
        let mut repeats = repeats.iter().peekable();
        let mut n_parts = 0;
        let mut kept = Vec::new();
        for (position, paragraph) in (0..).zip(text.split('\n')) {
            match repeats.next_if(|repeat| **repeat == position) {
                Some(_) => n_parts += 1,
                None => kept.push(paragraph),
            }
        }
        Outcome::of_rest(kept.join("\n"), n_parts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::laws, *};

    const LONG: &str = "a paragraph of twenty or more characters";

    fn check(mode: Mode, texts: &[&str], expected: &[&str]) {
        let left = laws::left(&Paragraph { mode }, texts);
        assert_eq!(left.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn later_paragraphs_go_and_so_does_what_is_too_short() {
        let (first, second) = (format!("{LONG}\nx\n\ny\n\n"), format!("{LONG}\nz"));
        let third = format!("z\n{LONG}, another");
        let texts = [first.as_str(), &second, &third];
        let after = [format!("{LONG}\nx\n\ny"), format!("z\n{LONG}, another")];
        // `z` stays with the second document, which is then too short: it is lost, as in the original.
        check(Mode::Faithful, &texts, &[&after[0], &format!("{LONG}, another")]);
        check(Mode::Corrected, &texts, &[&first, &format!("{LONG}, another")]);
        check(Mode::Faithful, &["short", "exactly 20 character"], &["exactly 20 character"]);
    }

    proptest! {
        #[test]
        fn obeys_the_laws(
            texts in proptest::collection::vec("(aaaaaaaaaaaaaaaaaaaaaaaaa\n|b\n|\n){0,4}[a-c]{0,30}", 12),
            order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            laws::check(&Paragraph { mode: Mode::Faithful }, &texts, &order);
            laws::check(&Paragraph { mode: Mode::Corrected }, &texts, &order);
        }
    }
}
