//! A document on its way through the rules: rewritten and measured when a rule asks, and then remembered.

use std::{borrow::Cow, cell::OnceCell};

use super::{
    MatrixZh, Outcome,
    blacklist::without_scheme,
    counts::{NormalCounts, TextCounts, Words},
    lines::kept_lines,
    links::without_links,
    marks::{bracket_share, with_plain_marks},
};
use crate::{
    filter::{Mode, Verdict},
    python::nfkc,
};

/// A document and what was found out about it.
pub(super) struct Measured<'a> {
    original: &'a str,
    url: Option<&'a str>,
    filter: &'a MatrixZh,
    text: OnceCell<Cow<'a, str>>,
    /// The text in the form NFKC, where that is another.
    normal: OnceCell<Option<String>>,
    counts: OnceCell<TextCounts>,
    normal_counts: OnceCell<NormalCounts>,
    words: OnceCell<Words>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(original: &'a str, url: Option<&'a str>, filter: &'a MatrixZh) -> Self {
        Self {
            original,
            url,
            filter,
            text: OnceCell::new(),
            normal: OnceCell::new(),
            counts: OnceCell::new(),
            normal_counts: OnceCell::new(),
            words: OnceCell::new(),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.filter.mode
    }

    /// The text as rewritten by C0b and C2 and, where it is switched on, the filter of lines.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let text = without_links(with_plain_marks(self.original));
            if !self.filter.corrections.has_line_filter {
                return text;
            }
            match kept_lines(&text, &self.filter.assets.bad_words) {
                kept if kept == text => text,
                kept => Cow::Owned(kept),
            }
        })
    }

    /// The verdict when no rule fails.
    pub(super) fn into_kept(self) -> Verdict {
        self.text();
        match self.text.into_inner() {
            Some(Cow::Owned(text)) => Verdict::Rewrite(text),
            _ => Verdict::Keep,
        }
    }

    fn normal(&self) -> &str {
        let other = self.normal.get_or_init(|| match nfkc(self.text()) {
            Cow::Owned(normal) => Some(normal),
            Cow::Borrowed(_) => None,
        });
        other.as_deref().unwrap_or_else(|| self.text())
    }

    pub(super) fn counts(&self) -> &TextCounts {
        self.counts.get_or_init(|| TextCounts::of(self.text()))
    }

    pub(super) fn normal_counts(&self) -> &NormalCounts {
        self.normal_counts.get_or_init(|| NormalCounts::of(self.normal()))
    }

    pub(super) fn words(&self) -> &Words {
        self.words.get_or_init(|| Words::of(self.normal()))
    }

    pub(super) fn bracket_share(&self) -> f64 {
        bracket_share(self.original)
    }

    pub(super) fn listed_address(&self) -> Outcome {
        match (self.url.map(without_scheme), self.mode()) {
            (None, Mode::Faithful) => Outcome::Raised("exception:url_filter", "no address"),
            (None, Mode::Corrected) => Outcome::Found(None),
            (Some(address), _) => {
                let is_listed = self.filter.assets.blacklist.begins(address);
                Outcome::Found(is_listed.then(|| address.to_owned()))
            }
        }
    }

    /// The probability of the likeliest language, 0 where the model knows nothing of the text.
    pub(super) fn language(&self) -> Outcome {
        let line = self.text().replace('\n', "");
        let model = self.filter.assets.languages.as_ref();
        let found = model.and_then(|model| model.predict(&line));
        let found = found.filter(|found| {
            let kept = &self.filter.corrections.languages;
            kept.as_ref().is_none_or(|kept| kept.iter().any(|kept| kept == found.label))
        });
        Outcome::Number(found.map_or(0.0, |found| f64::from(found.probability)))
    }
}
