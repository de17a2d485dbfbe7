//! One text with what has been measured of it so far: each measurement is taken when a rule first asks for it.

use std::borrow::Cow;

use super::{
    Outcome,
    assets::Assets,
    codes::Codes,
    counts::{Counts, Lines, NormalCounts, n_chars},
    grams::Grams,
    number, share,
    tokens::Tokens,
    vocabulary::Vocabulary,
    word_grams::WordGrams,
};
use crate::{filter::Mode, python::nfkc};

/// A text under measurement.
pub(in crate::filter) struct Measured<'a> {
    text: &'a str,
    mode: Mode,
    assets: &'a Assets,
    normal: Option<Cow<'a, str>>,
    n_chars: Option<u64>,
    counts: Option<Counts>,
    normal_counts: Option<NormalCounts>,
    lines: Option<Lines>,
    vocabulary: Option<Vocabulary>,
    tokens: Option<Tokens>,
    normal_tokens: Option<Tokens>,
    codes: Option<Codes>,
    grams: Option<Grams>,
    word_grams: Option<WordGrams>,
    /// Share of the characters in repeated runs of so many words, as last measured.
    repeated_words: Option<(usize, f64)>,
}

impl<'a> Measured<'a> {
    pub(in crate::filter) fn new(text: &'a str, mode: Mode, assets: &'a Assets) -> Self {
        Self {
            text,
            mode,
            assets,
            normal: None,
            n_chars: None,
            counts: None,
            normal_counts: None,
            lines: None,
            vocabulary: None,
            tokens: None,
            normal_tokens: None,
            codes: None,
            grams: None,
            word_grams: None,
            repeated_words: None,
        }
    }

    pub(in crate::filter) fn mode(&self) -> Mode {
        self.mode
    }

    pub(in crate::filter) fn n_chars(&mut self) -> u64 {
        *self.n_chars.get_or_insert_with(|| n_chars(self.text))
    }

    pub(in crate::filter) fn counts(&mut self) -> &Counts {
        self.counts.get_or_insert_with(|| Counts::of(self.text))
    }

    pub(in crate::filter) fn lines(&mut self) -> &Lines {
        self.lines.get_or_insert_with(|| Lines::of(self.text))
    }

    pub(in crate::filter) fn vocabulary(&mut self) -> &Vocabulary {
        self.vocabulary.get_or_insert_with(|| Vocabulary::of(self.text, self.assets))
    }

    fn normal(&mut self) -> &Cow<'a, str> {
        self.normal.get_or_insert_with(|| nfkc(self.text))
    }

    pub(in crate::filter) fn normal_counts(&mut self) -> &NormalCounts {
        if self.normal_counts.is_none() {
            self.normal_counts = Some(NormalCounts::of(self.normal()));
        }
        self.normal_counts.get_or_insert_default()
    }

    pub(in crate::filter) fn tokens(&mut self) -> &Tokens {
        let in_lower_case = self.mode == Mode::Corrected;
        self.tokens.get_or_insert_with(|| Tokens::of(self.text, self.assets, in_lower_case))
    }

    /// Those of the form NFKC, which most texts have already.
    pub(in crate::filter) fn normal_tokens(&mut self) -> &Tokens {
        if let Cow::Borrowed(_) = self.normal() {
            return self.tokens();
        }
        if self.normal_tokens.is_none() {
            let assets = self.assets;
            self.normal_tokens = Some(Tokens::of(self.normal(), assets, false));
        }
        self.normal_tokens.get_or_insert_default()
    }

    /// E9.
    pub(in crate::filter) fn language(&mut self) -> Outcome {
        let Some(languages) = &self.assets.languages else {
            return Outcome::Raised("no language model");
        };
        let line: Cow<'_, str> = match self.text.contains('\n') {
            true => self.text.replace('\n', "").into(),
            false => self.text.into(),
        };
        match languages.predict(&line) {
            None => Outcome::Raised("no language found"),
            Some(found) if self.mode == Mode::Corrected && found.label != "en" => number(0),
            Some(found) => Outcome::Number(f64::from(found.probability)),
        }
    }

    /// E26 to E28.
    pub(in crate::filter) fn top_gram(&mut self, n: usize) -> Outcome {
        if self.mode == Mode::Corrected {
            return self.word_grams().top_share(n);
        }
        let n_chars = self.n_chars();
        share((self.grams().n_top(n) - 1) * n as u64, n_chars)
    }

    /// No less than [`Self::top_gram`], and had at less cost, if there is such a number.
    pub(in crate::filter) fn top_gram_at_most(&mut self, n: usize) -> Option<f64> {
        if self.mode == Mode::Corrected {
            return None;
        }
        let n_top = self.codes().n_top_pair()?;
        share((n_top - 1) * n as u64, self.n_chars()).number()
    }

    /// E29 to E34.
    pub(in crate::filter) fn repeated_grams(&mut self, n: usize) -> Outcome {
        if self.mode == Mode::Corrected {
            let found = self.word_grams().repeated_share(n);
            self.repeated_words = found.number().map(|share| (n, share));
            return found;
        }
        let n_chars = self.n_chars();
        share(self.grams().n_repeated_chars(n), n_chars)
    }

    /// No less than [`Self::repeated_grams`]: what is in a repeated run is in a shorter one too.
    pub(in crate::filter) fn repeated_grams_at_most(&mut self, n: usize) -> Option<f64> {
        if self.mode == Mode::Corrected {
            return self
                .repeated_words
                .filter(|(shorter, _)| *shorter <= n)
                .map(|(_, share)| share);
        }
        share(self.codes().n_repeated(), self.n_chars()).number()
    }

    fn codes(&mut self) -> &Codes {
        self.codes.get_or_insert_with(|| Codes::of(self.text))
    }

    fn grams(&mut self) -> &Grams {
        if self.grams.is_none() {
            self.grams = Some(Grams::of(self.codes()));
        }
        self.grams.get_or_insert_default()
    }

    fn word_grams(&mut self) -> &mut WordGrams {
        self.word_grams.get_or_insert_with(|| WordGrams::of(self.text))
    }
}
