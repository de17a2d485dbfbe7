//! The Chinese filter of MAP-Neo's Matrix: rules C0 to C15 of the fact sheet, with their rewriting of the text.
//!
//! The order is that of the original: full-width marks become those of ASCII ([`marks`]), pages of listed addresses
//! go ([`blacklist`]), addresses are deleted from the text ([`links`]), the text is measured ([`statistics`]) and
//! judged by limits from a file ([`settings`]), its language is guessed, and, in corrected mode, its repetition
//! measured ([`repetition`]).

mod blacklist;
mod file;
mod lines;
mod links;
mod marks;
mod repetition;
mod settings;
mod statistics;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use rustc_hash::FxHashSet;

pub use self::blacklist::Blacklist;
pub use self::file::{BadLine, JudgedFile, JudgedLine};
pub use self::settings::{Corrections, Limits, Mode, Settings};
use self::{
    blacklist::without_scheme,
    lines::kept_lines,
    links::without_links,
    marks::{bracket_share, with_plain_marks},
    repetition::repetition_shares,
    settings::{DOCUMENT_RULES, Rule},
    statistics::Statistics,
};
use crate::{Error, Result, fast_text::FastText, write::Value};

/// What the rules say about a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No rule dropped it.
    Keep {
        /// The text as rewritten; none if nothing of it changed.
        text: Option<String>,
    },
    /// The first rule that dropped it.
    Drop(Reason),
}

/// Why a document is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Name of the rule, or `exception:` and the step in which the original fails.
    pub rule: &'static str,
    /// What was measured; none where the original fails.
    pub value: Option<Value>,
    /// The limit that was crossed, if the rule has one.
    pub threshold: Option<f64>,
}

/// What the rules need besides the text.
#[derive(Debug)]
pub struct Assets {
    blacklist: Blacklist,
    languages: FastText,
    bad_words: FxHashSet<Box<str>>,
}

impl Assets {
    /// Reads what the rules need from a folder: `ut1_urls.tsv.zst`, a model for languages (`lid.176.bin`, or the
    /// tests' `lid.standin.bin`), and for the filter of lines `strict_zh.txt` and `hard_zh.txt`.
    ///
    /// # Errors
    /// A file is not there or not what it must be.
    pub fn read(folder: &Path, settings: &Settings, mode: Mode) -> Result<Self> {
        let corrections = Some(&settings.corrected).filter(|_| mode == Mode::Corrected);
        let categories = corrections.and_then(|corrected| corrected.url_categories.as_deref());
        let has_line_filter = corrections.is_some_and(|corrected| corrected.line_filter);
        let mut bad_words = FxHashSet::default();
        for name in ["strict_zh.txt", "hard_zh.txt"].iter().filter(|_| has_line_filter) {
            let path = folder.join(name);
            let list = fs_err::read_to_string(&path).map_err(Error::io(&path))?;
            bad_words.extend(list.lines().map(Box::from));
        }
        Ok(Self {
            blacklist: Blacklist::read(&folder.join("ut1_urls.tsv.zst"), categories)?,
            languages: FastText::read(&language_model(folder))?,
            bad_words,
        })
    }
}

fn language_model(folder: &Path) -> PathBuf {
    let released = folder.join("lid.176.bin");
    if released.exists() { released } else { folder.join("lid.standin.bin") }
}

/// The filter, ready to judge documents from any number of threads.
#[derive(Debug)]
pub struct MatrixZh {
    settings: Settings,
    mode: Mode,
    assets: Assets,
}

impl MatrixZh {
    /// Puts the parts together.
    pub fn new(settings: Settings, mode: Mode, assets: Assets) -> Self {
        Self { settings, mode, assets }
    }

    /// How the original's mistakes are treated.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Judges a document and rewrites its text. None stands for a text or an address that is not there or is no
    /// string.
    pub fn judge(&self, text: Option<&str>, url: Option<&str>) -> Outcome {
        let Some(text) = text else { return Outcome::Drop(failure("exception:unify_format")) };
        match self.clean(text, url) {
            Ok(Cow::Borrowed(_)) => Outcome::Keep { text: None },
            Ok(Cow::Owned(text)) => Outcome::Keep { text: Some(text) },
            Err(reason) => Outcome::Drop(reason),
        }
    }

    /// The rewritten text, or why the document is dropped.
    fn clean<'a>(&self, text: &'a str, url: Option<&str>) -> Outcomes<Cow<'a, str>> {
        self.limit("C0a", || bracket_share(text))?;
        let text = with_plain_marks(text);
        self.check_url(url)?;
        let text = self.without_bad_lines(without_links(text));
        self.check_document(&text)?;
        self.check_language(&text)?;
        self.check_repetition(&text)?;
        Ok(text)
    }

    /// C3 to C13.
    fn check_document(&self, text: &str) -> Outcomes<()> {
        let statistics = Statistics::of(text);
        let value = |rule: &Rule| (rule.value)(&statistics, self.mode);
        DOCUMENT_RULES.iter().try_for_each(|rule| self.limit(rule.name, || value(rule)))
    }

    fn limit(&self, rule: &'static str, value: impl Fn() -> f64) -> Outcomes<()> {
        let Some(limits) = self.settings.limits(rule) else { return Ok(()) };
        let value = value();
        match limits.crossed_by(value) {
            None => Ok(()),
            Some(limit) => Err(number(rule, value, limit)),
        }
    }

    /// C1. Without an address the original fails; the corrected mode has nothing against the document.
    fn check_url(&self, url: Option<&str>) -> Outcomes<()> {
        if self.settings.limits("C1").is_none() {
            return Ok(());
        }
        match (url.map(without_scheme), self.mode) {
            (None, Mode::Faithful) => Err(failure("exception:url_filter")),
            (Some(url), _) if self.assets.blacklist.entry_of(url).is_some() => Err(word("C1", url)),
            _ => Ok(()),
        }
    }

    fn without_bad_lines<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if self.mode == Mode::Faithful || !self.settings.corrected.line_filter {
            return text;
        }
        let kept = kept_lines(&text, &self.assets.bad_words);
        if kept == text { text } else { Cow::Owned(kept) }
    }

    /// C14. A text of which the model knows nothing is of no language.
    fn check_language(&self, text: &str) -> Outcomes<()> {
        let Some(limits) = self.settings.limits("C14") else { return Ok(()) };
        let line = text.replace('\n', "");
        let prediction = self.assets.languages.predict(&line);
        let probability = prediction.map_or(0.0, |prediction| f64::from(prediction.probability));
        if let Some(limit) = limits.crossed_by(probability) {
            return Err(number("C14", probability, limit));
        }
        let is_kept =
            |label: &str| self.settings.corrected.languages.iter().any(|kept| kept == label);
        match prediction {
            Some(found) if self.mode == Mode::Corrected && !is_kept(found.label) => {
                Err(word("C14", found.label))
            }
            _ => Ok(()),
        }
    }

    /// C15. The original measures and does not use the result.
    fn check_repetition(&self, text: &str) -> Outcomes<()> {
        if self.mode == Mode::Faithful {
            return Ok(());
        }
        for (n, share) in repetition_shares(text) {
            let limits = self.settings.corrected.repetition_limits(n);
            if let Some(limit) = limits.and_then(|limits| limits.crossed_by(share)) {
                return Err(number("C15", share, limit));
            }
        }
        Ok(())
    }
}

type Outcomes<T> = std::result::Result<T, Reason>;

fn number(rule: &'static str, value: f64, limit: f64) -> Reason {
    Reason { rule, value: Some(Value::Number(value)), threshold: Some(limit) }
}

fn word(rule: &'static str, word: &str) -> Reason {
    Reason { rule, value: Some(Value::Text(word.to_owned())), threshold: None }
}

fn failure(rule: &'static str) -> Reason {
    Reason { rule, value: None, threshold: None }
}
