//! Rules of the program's own: limits on quantities that a text alone tells, one table of them per language.
//!
//! [`Statistics`] measures a text once; each rule family (one file each) names quantities of it; a rule file puts
//! limits on them. Rules are tried in the order of the families. A new family is a new file and a line in
//! [`FAMILIES`].

mod boilerplate;
mod characters;
mod length;
mod repetition;
mod statistics;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;

pub use self::statistics::Statistics;
use super::{
    Limits, Verdict,
    limits::{Catalogue, RuleIndex},
};
use crate::{Document, Language, Result, toml_file, write::Value};

/// The rule set that comes with the program; a file of the same form replaces it.
pub(super) const RULES: &str = include_str!("basic.toml");

/// Every quantity that rules may limit, in the order in which rules are tried.
pub const FAMILIES: [&[Measure]; 4] =
    [length::MEASURES, characters::MEASURES, repetition::MEASURES, boilerplate::MEASURES];

/// A quantity of a text on which a rule may set limits.
#[derive(Debug)]
pub struct Measure {
    /// The name in rule files and reports.
    pub name: &'static str,
    /// What exactly is measured.
    pub about: &'static str,
    value: fn(&Statistics) -> f64,
}

/// Rules by language. A language without rules keeps every document.
#[derive(Debug)]
pub struct Basic {
    rules: BTreeMap<Language, Vec<(&'static Measure, Limits)>>,
}

impl Basic {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let (file, _) = toml_file::parse::<RuleFile>(path, text, &[])?;
        let by_language = [
            (Language::En, file.en),
            (Language::Zh, file.zh),
            (Language::Code, file.code),
            (Language::Other, file.other),
        ];
        let measures: Vec<&Measure> = FAMILIES.iter().copied().flatten().collect();
        let in_order = |rules: BTreeMap<RuleIndex<Quantities>, Limits>| {
            rules.into_iter().map(|(idx, limits)| (measures[idx.0], limits)).collect()
        };
        let rules = by_language.into_iter().map(|(language, rules)| (language, in_order(rules)));
        Ok(Self { rules: rules.collect() })
    }

    /// Which rules are passed over for documents whose language nobody states.
    pub(super) fn caveat(&self, language: Language) -> Option<String> {
        if language != Language::Other {
            return None;
        }
        let names = |language: &Language| {
            let rules = self.rules.get(language).into_iter().flatten();
            rules.map(|(measure, _)| measure.name).collect::<BTreeSet<&str>>()
        };
        let judged = names(&language);
        let elsewhere: BTreeSet<&str> =
            [Language::En, Language::Zh].iter().flat_map(names).collect();
        let skipped: Vec<&str> = elsewhere.difference(&judged).copied().collect();
        if skipped.is_empty() {
            return None;
        }
        Some(format!(
            "documents state no language and are judged by {} rules for `{language}`; `{}` are skipped: they are for \
             text that is known to be English or Chinese, which `language` of the source (`--language`) says",
            judged.len(),
            skipped.join("`, `")
        ))
    }

    fn rules_of(&self, document: &Document) -> &[(&'static Measure, Limits)] {
        self.rules.get(&document.language).map_or(&[], Vec::as_slice)
    }

    /// Measures a document and applies the rules of its language.
    pub(super) fn judge(&self, document: &Document) -> Verdict {
        let rules = self.rules_of(document);
        if rules.is_empty() {
            return Verdict::Keep;
        }
        let statistics = Statistics::of(&document.text);
        for (measure, limits) in rules {
            let value = (measure.value)(&statistics);
            if let Some(threshold) = limits.crossed(value) {
                let (value, threshold) = (Value::Number(value), Some(threshold));
                return Verdict::Drop { rule: measure.name, value, threshold };
            }
        }
        Verdict::Keep
    }

    /// What the rules of the document's language measure of it.
    pub(super) fn measure(&self, document: &Document) -> Vec<(&'static str, Value)> {
        let statistics = Statistics::of(&document.text);
        let value = |measure: &Measure| Value::Number((measure.value)(&statistics));
        let rules = self.rules_of(document);
        rules.iter().map(|(measure, _)| (measure.name, value(measure))).collect()
    }
}

/// What the quantities of all families are.
pub(super) fn descriptions() -> Vec<(&'static str, String)> {
    FAMILIES
        .iter()
        .copied()
        .flatten()
        .map(|measure| (measure.name, measure.about.to_owned()))
        .collect()
}

/// A rule file as it is written: a table per language, a key per rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default, rename = "measures")]
    _measures: Option<String>,
    #[serde(default)]
    en: BTreeMap<RuleIndex<Quantities>, Limits>,
    #[serde(default)]
    zh: BTreeMap<RuleIndex<Quantities>, Limits>,
    #[serde(default)]
    code: BTreeMap<RuleIndex<Quantities>, Limits>,
    #[serde(default)]
    other: BTreeMap<RuleIndex<Quantities>, Limits>,
}

/// The names of the measures of all families.
struct Quantities;

impl Catalogue for Quantities {
    fn names() -> Vec<&'static str> {
        FAMILIES.iter().copied().flatten().map(|measure| measure.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Limit;

    fn document(language: Language, text: &str) -> Document {
        Document {
            id: "d".into(),
            text: text.into(),
            source: "s".into(),
            url: None,
            language,
            meta: serde_json::Map::new(),
            origin: None,
        }
    }

    #[test]
    fn limits_are_inclusive_and_the_first_failing_rule_counts() {
        let rules = "[en]\nn_chars = { min = 4, max = 6 }\ndistinct_chars = { min = 3 }\n";
        let rules = Basic::parse(rules, Path::new("r")).unwrap();
        let check =
            |text, expected| assert_eq!(rules.judge(&document(Language::En, text)), expected);
        let drop = |rule, value, threshold| Verdict::Drop {
            rule,
            value: Value::Number(value),
            threshold: Some(threshold),
        };
        check("abcd", Verdict::Keep);
        check("abcdef", Verdict::Keep);
        check("aaa", drop("n_chars", 3.0, Limit::Min(4.0)));
        check("abcdefg", drop("n_chars", 7.0, Limit::Max(6.0)));
        check("aaaab", drop("distinct_chars", 2.0, Limit::Min(3.0)));
        assert_eq!(rules.judge(&document(Language::Zh, "")), Verdict::Keep);
    }

    #[test]
    fn unknown_names_are_errors_with_line_and_nearest_name() {
        let check = |text: &str, expected: &str| {
            let error = Basic::parse(text, Path::new("rules.toml")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            "[en]\nn_chars = { min = 1 }\nmean_word_lenght = { min = 1 }\n",
            "`rules.toml`: line 3: unknown key `en.mean_word_lenght`, nearest known key is `mean_word_length`",
        );
        check(
            "# rules\n[eng]\nn_chars = { min = 1 }\n",
            "`rules.toml`: line 2: unknown key `eng`, nearest known key is `en`",
        );
        check(
            "[en]\n\nn_chars = { mini = 1 }\n",
            "`rules.toml`: line 3: unknown key `en.n_chars.mini`, nearest known key is `min`",
        );
        check(
            "[en]\nn_chars = 3\n",
            "`rules.toml`: line 2: `en.n_chars` is the whole number `3`, expected a table",
        );
    }

    #[test]
    fn the_basic_rules_have_limits_for_every_language_and_keep_prose() {
        let basic = Basic::parse(RULES, Path::new("basic.toml")).unwrap();
        for language in Language::ALL {
            assert!(basic.rules[&language].len() > 3, "{language}");
        }
        let sentence = "The ship left the harbour at dawn, and nobody on the quay knew when number";
        let prose: String =
            (0..9).map(|i| format!("{sentence} {i} of them would return home.\n")).collect();
        assert!(matches!(
            basic.judge(&document(Language::En, &prose)),
            Verdict::Drop { rule: "repeated_gram_share", .. }
        ));
        let prose = "Call me Ishmael. Some years ago, never mind how long precisely, having little or no \
            money in my purse, and nothing particular to interest me on shore, I thought I would sail \
            about a little and see the watery part of the world. It is a way I have of driving off the \
            spleen and regulating the circulation.";
        assert_eq!(basic.judge(&document(Language::En, prose)), Verdict::Keep);
        assert!(matches!(
            basic.judge(&document(Language::En, &prose.replace("money", "lorem ipsum"))),
            Verdict::Drop { rule: "lorem_ipsum_count", .. }
        ));
    }

    #[test]
    fn names_of_measures_differ() {
        let mut names: Vec<&str> = FAMILIES.iter().copied().flatten().map(|m| m.name).collect();
        let n_names = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n_names);
    }
}
