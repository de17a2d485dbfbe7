//! MAP-Neo's second filter: limits on the quality signals that RedPajama-V2 comes with, and some on the text.
//!
//! The signals are looked up in the field `quality_signals` of the record, an object or its JSON as a string, or in
//! the record itself. As there, a signal is a list of `[start, end, value]`, of which the first counts. A missing or
//! empty one drops the document, by the rule that asks for it, as the original's exception does.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{
    Limits, Mode, Verdict,
    limits::{Catalogue, RuleIndex},
    matrix_en::{
        Outcome,
        assets::{Assets, Wanted},
        measured::Measured,
        share,
    },
};
use crate::{
    Document, Result,
    nltk::WordTokenizer,
    python::{Class, lower},
    toml_file,
    write::Value,
};

/// The rules with their original limits.
pub(super) const RULES: &str = include_str!("redpajama.toml");

/// What a rule limits.
#[derive(Clone, Copy)]
enum Quantity {
    /// The value of a signal.
    Signal(&'static str),
    /// Something of the text or of several signals.
    Of(fn(&mut Record<'_>) -> Outcome),
}

use Quantity::{Of, Signal};

/// The quantity of each rule; the rule `R1` is the first.
const QUANTITIES: [Quantity; 41] = [
    Signal("rps_doc_mean_word_length"),
    Signal("rps_doc_frac_lines_end_with_ellipsis"),
    Of(|record| record.bullet_lines()),
    Signal("rps_doc_frac_no_alph_words"),
    Signal("rps_doc_stop_word_fraction"),
    Of(|record| record.stop_words()),
    Signal("rps_doc_symbol_to_word_ratio"),
    Signal("rps_doc_word_count"),
    Signal("ccnet_bucket"),
    Signal("ccnet_language_score"),
    Signal("ccnet_length"),
    Signal("ccnet_nlines"),
    Signal("ccnet_perplexity"),
    Signal("rps_doc_curly_bracket"),
    Signal("rps_doc_lorem_ipsum"),
    Signal("rps_doc_num_sentences"),
    Signal("rps_doc_books_importance"),
    Signal("rps_doc_openwebtext_importance"),
    Signal("rps_doc_ml_wikiref_score"),
    Signal("rps_doc_frac_all_caps_words"),
    Signal("rps_doc_frac_unique_words"),
    Signal("rps_doc_unigram_entropy"),
    Signal("rps_doc_frac_chars_top_2gram"),
    Signal("rps_doc_frac_chars_top_3gram"),
    Signal("rps_doc_frac_chars_top_4gram"),
    Signal("rps_doc_frac_chars_dupe_5grams"),
    Signal("rps_doc_frac_chars_dupe_6grams"),
    Signal("rps_doc_frac_chars_dupe_7grams"),
    Signal("rps_doc_frac_chars_dupe_8grams"),
    Signal("rps_doc_frac_chars_dupe_9grams"),
    Signal("rps_doc_frac_chars_dupe_10grams"),
    Of(|record| record.blacklist()),
    Signal("rps_doc_mean_word_length"),
    Of(|record| Outcome::Number(record.text.tokens().n_sentences as f64)),
    Of(|record| {
        let tokens = record.text.tokens();
        share(tokens.n_read_more, tokens.n_sentences)
    }),
    Of(|record| record.lone_hashes()),
    Of(|record| record.ellipses()),
    Of(|record| Outcome::Number(record.text.counts().n_marks as f64)),
    Of(|record| share(record.text.tokens().n_not_letters, record.text.counts().n_plain_chars)),
    Of(|record| share(record.text.tokens().n_digits, record.text.counts().n_plain_chars)),
    Of(|record| Outcome::Found(record.text.tokens().bad_word.clone())),
];

/// Names in the order of [`QUANTITIES`].
const NAMES: [&str; 41] = [
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15",
    "R16", "R17", "R18", "R19", "R20", "R21", "R22", "R23", "R24", "R25", "R26", "R27", "R28",
    "R29", "R30", "R31", "R32", "R33", "R34", "R35", "R36", "R37", "R38", "R39", "R40", "R41",
];

/// The rules on signals.
#[derive(Debug)]
pub struct RedPajama {
    /// Place of each rule, and its limits.
    rules: Vec<(usize, Limits)>,
    assets: Assets,
}

/// A rule file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(rename = "measures")]
    _measures: String,
    rules: BTreeMap<RuleIndex<Signals>, Limits>,
}

struct Signals;

impl Catalogue for Signals {
    fn names() -> Vec<&'static str> {
        NAMES.to_vec()
    }
}

impl RedPajama {
    pub(super) fn parse(text: &str, path: &Path, assets: Option<&Path>) -> Result<Self> {
        let (file, _) = toml_file::parse::<RuleFile>(path, text, &[])?;
        let rules: Vec<(usize, Limits)> =
            file.rules.into_iter().map(|(idx, limits)| (idx.0, limits)).collect();
        let names: Vec<&'static str> = rules.iter().map(|(idx, _)| NAMES[*idx]).collect();
        let first = |wanted: &[&str]| names.iter().copied().find(|name| wanted.contains(name));
        let wanted = Wanted {
            tokens: first(&["R6", "R34", "R35", "R39", "R40", "R41"]),
            stop_words: first(&["R6"]),
            bad_words: first(&["R41"]),
            languages: None,
        };
        Ok(Self { rules, assets: Assets::read(assets, &wanted)? })
    }

    /// The first rule that fails, if any.
    pub(super) fn judge(&self, document: &Document) -> Verdict {
        let mut record = Record::new(document, &self.assets);
        for &(idx, limits) in &self.rules {
            if let Some((value, threshold)) = record.measure(idx).failure(limits) {
                return Verdict::Drop { rule: NAMES[idx], value, threshold };
            }
        }
        Verdict::Keep
    }

    /// What every rule measures; left out where the original raises.
    pub(super) fn measure(&self, document: &Document) -> Vec<(&'static str, Value)> {
        let mut record = Record::new(document, &self.assets);
        let value = |&(idx, _): &(usize, Limits)| Some((NAMES[idx], record.measure(idx).value()?));
        self.rules.iter().filter_map(value).collect()
    }
}

/// A document with its signals.
struct Record<'a> {
    signals: Cow<'a, Map<String, Json>>,
    raw: &'a str,
    text: Measured<'a>,
    assets: &'a Assets,
}

impl<'a> Record<'a> {
    fn new(document: &'a Document, assets: &'a Assets) -> Self {
        let signals = match document.meta.get("quality_signals") {
            Some(Json::Object(signals)) => Cow::Borrowed(signals),
            Some(Json::String(text)) => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
            _ => Cow::Borrowed(&document.meta),
        };
        let raw = document.text.as_str();
        Self { signals, raw, text: Measured::new(raw, Mode::Faithful, assets), assets }
    }

    fn measure(&mut self, idx: usize) -> Outcome {
        match QUANTITIES[idx] {
            Signal(name) => self.signal(name).map_or_else(Outcome::Raised, Outcome::Number),
            Of(quantity) => quantity(self),
        }
    }

    /// The value of the first span of a signal.
    fn span(&self, name: &str) -> std::result::Result<&Json, &'static str> {
        let spans = self.signals.get(name).ok_or("no such signal")?;
        spans.get(0).and_then(|span| span.get(2)).ok_or("a signal without a span")
    }

    fn signal(&self, name: &str) -> std::result::Result<f64, &'static str> {
        self.span(name)?.as_f64().ok_or("a signal without a number")
    }

    /// R3: lines that start with a bullet / lines.
    fn bullet_lines(&mut self) -> Outcome {
        let Some(Json::Array(lines)) = self.signals.get("rps_lines_start_with_bulletpoint") else {
            return Outcome::Raised("no such signal");
        };
        let values = lines.iter().map(|line| line.get(2).and_then(Json::as_f64));
        match (values.sum::<Option<f64>>(), self.signal("ccnet_nlines")) {
            (Some(_), Ok(0.0)) => Outcome::Raised("division by zero"),
            (Some(n_bullets), Ok(n_lines)) => Outcome::Number(n_bullets / n_lines),
            _ => Outcome::Raised("a signal without a number"),
        }
    }

    /// R6: distinct stop words among the tokens of the text without marks in lower case, counted to 2.
    fn stop_words(&mut self) -> Outcome {
        let is_kept =
            |c: &char| matches!(c, '\'' | '\\') || Class::of(*c).is(Class::WORD.or(Class::SPACE));
        let kept: String = self.raw.chars().filter(is_kept).collect();
        let text = lower(&kept);
        let mut found = Vec::new();
        let mut tokenizer = WordTokenizer::default();
        for range in self.assets.punkt.sentences(&text) {
            tokenizer.tokenize(&text[range], |token| {
                let word = self.assets.stop_words.get(token.text).copied();
                if let Some(word) = word.filter(|word| !found.contains(word)) {
                    found.push(word);
                }
            });
            if found.len() >= 2 {
                break;
            }
        }
        Outcome::Number(found.len().min(2) as f64)
    }

    /// R32: what the blacklist says; nothing is 0.
    fn blacklist(&mut self) -> Outcome {
        match self.span("rps_doc_ut1_blacklist") {
            Err(what) => Outcome::Raised(what),
            Ok(Json::Null | Json::Bool(false)) => Outcome::Number(0.0),
            Ok(value) => Outcome::Number(value.as_f64().unwrap_or(1.0)),
        }
    }

    /// `count / word count`; the original asks for the latter only where there is something to count.
    fn per_word(&self, count: u64, is_asked: bool) -> Outcome {
        match self.signal("rps_doc_word_count") {
            _ if !is_asked => Outcome::Number(0.0),
            Err(what) => Outcome::Raised(what),
            Ok(0.0) => Outcome::Raised("division by zero"),
            Ok(n_words) => Outcome::Number(count as f64 / n_words),
        }
    }

    /// R36: `#` outside of runs of `#`, of which there are none.
    fn lone_hashes(&mut self) -> Outcome {
        self.per_word(0, self.raw.contains('#'))
    }

    /// R37: for a run of k `…`, k and k / 2 and less k / 3 from three on. The pattern for three dots is taken
    /// for itself.
    fn ellipses(&mut self) -> Outcome {
        let mut n_ellipses = self.raw.matches(r"\.{3}").count() as u64;
        for run in self.raw.split(|c| c != '…').filter(|run| !run.is_empty()) {
            let k = (run.len() / '…'.len_utf8()) as u64;
            n_ellipses += k + k / 2 - k / 3;
        }
        self.per_word(n_ellipses, n_ellipses > 0)
    }
}

#[cfg(test)]
mod tests {
    use Limit::{Above, Below, Max, Min};

    use super::*;
    use crate::Language;
    use crate::filter::Limit;

    /// The rules that ask for no asset.
    fn rules() -> RedPajama {
        let without = |line: &&str| {
            !["R6 ", "R34 ", "R35 ", "R39 ", "R40 ", "R41 "]
                .iter()
                .any(|name| line.starts_with(name))
        };
        let text = RULES.lines().filter(without).collect::<Vec<_>>().join("\n");
        RedPajama::parse(&text, Path::new("r"), None).unwrap()
    }

    /// Signals that every rule likes.
    fn good() -> Map<String, Json> {
        let values = [
            ("rps_doc_mean_word_length", 5.0),
            ("rps_doc_frac_lines_end_with_ellipsis", 0.0),
            ("ccnet_nlines", 20.0),
            ("rps_doc_frac_no_alph_words", 0.1),
            ("rps_doc_stop_word_fraction", 0.4),
            ("rps_doc_symbol_to_word_ratio", 0.0),
            ("rps_doc_word_count", 400.0),
            ("ccnet_bucket", 0.0),
            ("ccnet_language_score", 0.95),
            ("ccnet_length", 2400.0),
            ("ccnet_perplexity", 300.0),
            ("rps_doc_curly_bracket", 0.0),
            ("rps_doc_lorem_ipsum", 0.0),
            ("rps_doc_num_sentences", 30.0),
            ("rps_doc_books_importance", -100.0),
            ("rps_doc_openwebtext_importance", 10.0),
            ("rps_doc_ml_wikiref_score", 0.3),
            ("rps_doc_frac_all_caps_words", 0.01),
            ("rps_doc_frac_unique_words", 0.5),
            ("rps_doc_unigram_entropy", 5.0),
        ];
        let grams = [
            "top_2gram",
            "top_3gram",
            "top_4gram",
            "dupe_5grams",
            "dupe_6grams",
            "dupe_7grams",
            "dupe_8grams",
            "dupe_9grams",
            "dupe_10grams",
        ];
        let named = grams.iter().map(|name| (format!("rps_doc_frac_chars_{name}"), 0.05));
        let values = values.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(named);
        let mut signals: Map<String, Json> =
            values.map(|(name, value)| (name, serde_json::json!([[0, 9, value]]))).collect();
        signals.insert(
            "rps_lines_start_with_bulletpoint".into(),
            serde_json::json!([[0, 4, 1.0], [4, 9, 0.0]]),
        );
        signals.insert("rps_doc_ut1_blacklist".into(), serde_json::json!([[0, 9, null]]));
        signals
    }

    fn judge(signals: Json, text: &str) -> Verdict {
        let Json::Object(meta) = signals else { panic!("an object") };
        rules().judge(&Document {
            id: "d".into(),
            text: text.into(),
            source: "s".into(),
            url: None,
            language: Language::En,
            meta,
            origin: None,
        })
    }

    fn check(
        name: &str,
        value: Json,
        rule: &'static str,
        expected: Value,
        threshold: Option<Limit>,
    ) {
        let mut signals = good();
        signals.insert(name.to_owned(), serde_json::json!([[0, 9, value]]));
        let verdict = judge(Json::Object(signals), "A text.");
        assert_eq!(verdict, Verdict::Drop { rule, value: expected, threshold }, "{name}");
    }

    #[test]
    fn signals_are_found_in_each_of_three_places() {
        let text = serde_json::to_string(&good()).unwrap();
        for signals in [
            Json::Object(good()),
            serde_json::json!({"quality_signals": good(), "x": 1}),
            serde_json::json!({"quality_signals": text}),
        ] {
            assert_eq!(judge(signals, "A text."), Verdict::Keep);
        }
    }

    #[test]
    fn each_limit_drops_on_its_side() {
        let number = |value| (serde_json::json!(value), Value::Number(value));
        for (name, value, rule, threshold) in [
            ("rps_doc_mean_word_length", 2.9, "R1", Min(3.0)),
            ("rps_doc_mean_word_length", 10.5, "R1", Max(10.0)),
            ("rps_doc_frac_lines_end_with_ellipsis", 0.2, "R2", Below(0.2)),
            ("rps_doc_frac_no_alph_words", 0.4, "R4", Below(0.4)),
            ("rps_doc_stop_word_fraction", 0.05, "R5", Min(0.06)),
            ("rps_doc_symbol_to_word_ratio", 0.5, "R7", Below(0.5)),
            ("rps_doc_word_count", 49.0, "R8", Min(50.0)),
            ("ccnet_bucket", 1.0, "R9", Max(0.9)),
            ("ccnet_language_score", 0.79, "R10", Min(0.8)),
            ("ccnet_length", 999.0, "R11", Min(1000.0)),
            ("ccnet_nlines", 9.0, "R12", Min(10.0)),
            ("ccnet_perplexity", 487.5, "R13", Below(487.5)),
            ("rps_doc_num_sentences", 7501.0, "R16", Max(7500.0)),
            ("rps_doc_books_importance", -25000.0, "R17", Above(-25000.0)),
            ("rps_doc_openwebtext_importance", -1001.0, "R18", Min(-1000.0)),
            ("rps_doc_ml_wikiref_score", 0.02, "R19", Min(0.025)),
            ("rps_doc_frac_unique_words", 0.81, "R21", Max(0.8)),
            ("rps_doc_unigram_entropy", 6.5, "R22", Max(6.0)),
            ("rps_doc_frac_chars_dupe_10grams", 0.11, "R31", Max(0.1)),
            ("rps_doc_ut1_blacklist", 1.0, "R32", Max(0.0)),
        ] {
            let (json, expected) = number(value);
            check(name, json, rule, expected, Some(threshold));
        }
    }

    #[test]
    fn what_raises_drops() {
        let text = |what: &str| Value::Text(what.to_owned());
        check("ccnet_length", Json::Null, "R11", text("a signal without a number"), None);
        check("ccnet_nlines", serde_json::json!(0), "R3", text("division by zero"), None);
        let mut signals = good();
        signals.remove("ccnet_perplexity");
        let expected =
            Verdict::Drop { rule: "R13", value: text("no such signal"), threshold: None };
        assert_eq!(judge(Json::Object(signals), "A text."), expected);
        let expected = Verdict::Drop { rule: "R1", value: text("no such signal"), threshold: None };
        assert_eq!(judge(serde_json::json!({}), "A text."), expected);
    }

    #[test]
    fn rules_on_the_text() {
        let drop = |rule, value, limit| Verdict::Drop {
            rule,
            value: Value::Number(value),
            threshold: Some(limit),
        };
        assert_eq!(judge(Json::Object(good()), "no marks"), drop("R38", 0.0, Above(0.0)));
        // 30 + 15 - 10 of 400, then 60 + 30 - 20.
        assert_eq!(judge(Json::Object(good()), &format!("{}.", "…".repeat(30))), Verdict::Keep);
        let long = format!("{}.", "…".repeat(60));
        assert_eq!(judge(Json::Object(good()), &long), drop("R37", 70.0 / 400.0, Max(0.1)));
        assert_eq!(judge(Json::Object(good()), &"# ".repeat(99)), Verdict::Keep);
    }

    #[test]
    fn stop_words_are_asked_of_the_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let punkt = folder.path().join("punkt_tab/english");
        std::fs::create_dir_all(&punkt).unwrap();
        for name in
            ["abbrev_types.txt", "sent_starters.txt", "collocations.tab", "ortho_context.tab"]
        {
            std::fs::write(punkt.join(name), "").unwrap();
        }
        std::fs::write(
            folder.path().join("en_gopher_stopwords.json"),
            "[\"the\",\"it's\",\"can\"]",
        )
        .unwrap();
        let rules = "measures = \"redpajama-v2\"\n[rules]\nR6 = { min = 2 }\n";
        let rules = RedPajama::parse(rules, Path::new("r"), Some(folder.path())).unwrap();
        let mut document = Document {
            id: "d".into(),
            text: "The cannot-be, it's.".into(),
            source: "s".into(),
            url: None,
            language: Language::En,
            meta: Map::new(),
            origin: None,
        };
        // Tokens: the, cannotbe, it, 's.
        let dropped =
            Verdict::Drop { rule: "R6", value: Value::Number(1.0), threshold: Some(Min(2.0)) };
        assert_eq!(rules.judge(&document), dropped);
        document.text = "The, cannot be".into();
        assert_eq!(rules.judge(&document), Verdict::Keep);
    }
}
