//! Judging documents: rules are limits on measured quantities, one table of them per language.
//!
//! [`Statistics`] measures a text once; each rule family (one file each) names quantities of it; a [`RuleSet`], read
//! from TOML, puts limits on them. The first rule that fails, in the order of the families, drops the document with
//! its name, value and limit. A new family is a new file and a line in [`FAMILIES`].

mod boilerplate;
mod characters;
mod length;
pub mod matrix_zh;
mod repetition;
mod statistics;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer, de::Error as _};

pub use self::statistics::Statistics;
use crate::{Document, Error, Language, Result, toml_file};

/// The rule set that comes with the program; a file of the same form replaces it.
const BASIC: &str = include_str!("basic.toml");

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

/// Limits on one quantity. A value equal to a limit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Smallest value kept.
    pub min: Option<f64>,
    /// Largest value kept.
    pub max: Option<f64>,
}

/// What the rules say about a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No rule failed.
    Keep,
    /// The first rule that failed.
    Drop {
        /// Name of the rule.
        rule: &'static str,
        /// What was measured.
        value: f64,
        /// The limit that was crossed.
        threshold: f64,
    },
}

/// Rules by language. A language without rules keeps every document.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: BTreeMap<Language, Vec<(&'static Measure, Limits)>>,
}

impl RuleSet {
    /// No rule at all.
    pub fn none() -> Self {
        Self { rules: BTreeMap::new() }
    }

    /// The rules that come with the program.
    ///
    /// A handful after Gopher, C4 and RedPajama-V2 as MAP-Neo's filters use them, in the form that was meant.
    pub fn basic() -> Self {
        Self::parse(BASIC, Path::new("basic.toml"))
            .expect("the file is part of the program and tested")
    }

    /// `none`, `basic`, or a rule file.
    ///
    /// # Errors
    /// The file cannot be read or is no rule file.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::none()),
            "basic" => Ok(Self::basic()),
            path => {
                let text = std::fs::read_to_string(path).map_err(Error::io(Path::new(path)))?;
                Self::parse(&text, Path::new(path))
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let (file, _) = toml_file::parse::<RuleFile>(path, text, &[])?;
        let by_language = [
            (Language::En, file.en),
            (Language::Zh, file.zh),
            (Language::Code, file.code),
            (Language::Other, file.other),
        ];
        let in_order = |limits: BTreeMap<RuleName, Limits>| {
            let limits_of = |measure: &Measure| limits.get(&RuleName(measure.name)).copied();
            let measures = FAMILIES.iter().copied().flatten();
            measures.filter_map(|measure| Some((measure, limits_of(measure)?))).collect()
        };
        let rules = by_language.into_iter().map(|(language, limits)| (language, in_order(limits)));
        Ok(Self { rules: rules.collect() })
    }

    /// Measures a document and applies the rules of its language.
    pub fn judge(&self, document: &Document) -> Verdict {
        match self.rules.get(&document.language) {
            Some(rules) if !rules.is_empty() => judge(rules, &Statistics::of(&document.text)),
            _ => Verdict::Keep,
        }
    }
}

fn judge(rules: &[(&'static Measure, Limits)], statistics: &Statistics) -> Verdict {
    for (measure, limits) in rules {
        let value = (measure.value)(statistics);
        let below = limits.min.filter(|&min| value < min);
        let above = limits.max.filter(|&max| value > max);
        if let Some(threshold) = below.or(above) {
            return Verdict::Drop { rule: measure.name, value, threshold };
        }
    }
    Verdict::Keep
}

/// A rule file as it is written: a table per language, a key per rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default)]
    en: BTreeMap<RuleName, Limits>,
    #[serde(default)]
    zh: BTreeMap<RuleName, Limits>,
    #[serde(default)]
    code: BTreeMap<RuleName, Limits>,
    #[serde(default)]
    other: BTreeMap<RuleName, Limits>,
}

/// The name of a measure that exists.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RuleName(&'static str);

impl<'de> Deserialize<'de> for RuleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let mut names = FAMILIES.iter().copied().flatten().map(|measure| measure.name);
        match names.clone().find(|&known| known == name) {
            Some(known) => Ok(Self(known)),
            // In the words of serde, from which `toml_file` finds line and nearest name.
            None => Err(D::Error::custom(format!(
                "unknown field `{name}`, expected one of `{}`",
                names.by_ref().collect::<Vec<_>>().join("`, `")
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(language: Language, text: &str) -> Document {
        Document {
            id: "d".into(),
            text: text.into(),
            source: "s".into(),
            url: None,
            language,
            meta: serde_json::Map::new(),
        }
    }

    #[test]
    fn limits_are_inclusive_and_the_first_failing_rule_counts() {
        let rules = "[en]\nn_chars = { min = 4, max = 6 }\ndistinct_chars = { min = 3 }\n";
        let rules = RuleSet::parse(rules, Path::new("r")).unwrap();
        let check =
            |text, expected| assert_eq!(rules.judge(&document(Language::En, text)), expected);
        let drop = |rule, value, threshold| Verdict::Drop { rule, value, threshold };
        check("abcd", Verdict::Keep);
        check("abcdef", Verdict::Keep);
        check("aaa", drop("n_chars", 3.0, 4.0));
        check("abcdefg", drop("n_chars", 7.0, 6.0));
        check("aaaab", drop("distinct_chars", 2.0, 3.0));
        assert_eq!(rules.judge(&document(Language::Zh, "")), Verdict::Keep);
    }

    #[test]
    fn unknown_names_are_errors_with_line_and_nearest_name() {
        let check = |text: &str, expected: &str| {
            let error = RuleSet::parse(text, Path::new("rules.toml")).unwrap_err().to_string();
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
        let basic = RuleSet::basic();
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
