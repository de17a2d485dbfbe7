//! The file of the Chinese rules: limits, and what the corrected mode adds.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer};

use super::{repetition::LENGTHS, statistics::Statistics};
use crate::{Error, Result, toml_file};

/// The rules that come with the program.
const RULES: &str = include_str!("rules.toml");

/// What of the original's mistakes is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All: the same documents are dropped by the same rule with the same value.
    Faithful,
    /// None that is known.
    Corrected,
}

/// A rule that judges a text by a number.
pub(super) struct Rule {
    /// Its name in the fact sheet, in rule files and in reports.
    pub(super) name: &'static str,
    /// What is limited.
    pub(super) value: fn(&Statistics<'_>, Mode) -> f64,
}

/// Rules that are tried on the rewritten text, in order.
pub(super) const DOCUMENT_RULES: [Rule; 11] = [
    Rule { name: "C3", value: |s, _| s.in_text().n_pieces as f64 },
    Rule { name: "C4", value: |s, _| s.in_normal().n_chars as f64 },
    Rule { name: "C5", value: |s, _| s.mean_word_length() },
    Rule { name: "C6", value: |s, _| s.in_text().share(|counts| counts.n_hash_runs) },
    Rule { name: "C7", value: |s, _| s.in_text().share(|counts| counts.n_ellipses) },
    Rule { name: "C8", value: |s, _| s.in_normal().digit_share() },
    Rule { name: "C9", value: more_line_share },
    Rule { name: "C10", value: |s, _| s.in_normal().line_share(|counts| counts.n_bullet_lines) },
    Rule { name: "C11", value: |s, _| s.in_normal().share(|counts| counts.n_marks) },
    Rule { name: "C12", value: |s, _| s.in_normal().share(|counts| counts.n_distinct) },
    Rule { name: "C13", value: |s, _| s.in_normal().entropy },
];

/// The original means to count lines that end in `。。。` too, but C0 has made full stops of ASCII of these.
fn more_line_share(statistics: &Statistics<'_>, mode: Mode) -> f64 {
    statistics.in_normal().line_share(|counts| match mode {
        Mode::Faithful => counts.n_more_lines,
        Mode::Corrected => counts.n_more_lines + counts.n_dotted_lines,
    })
}

/// Rules that judge something else than the rewritten text.
const OTHER_RULES: [&str; 3] = ["C0a", "C1", "C14"];

/// Limits on one quantity; what crosses one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Smaller values are dropped.
    pub below: Option<f64>,
    /// This value is dropped and so are smaller ones.
    pub at_most: Option<f64>,
    /// Greater values are dropped.
    pub above: Option<f64>,
}

impl Limits {
    /// The limit that a value crosses.
    pub fn crossed_by(&self, value: f64) -> Option<f64> {
        let below = self.below.filter(|&limit| value < limit);
        let at_most = self.at_most.filter(|&limit| value <= limit);
        let above = self.above.filter(|&limit| value > limit);
        below.or(at_most).or(above)
    }
}

/// The rules as a file states them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    drop: BTreeMap<RuleName, Limits>,
    /// What only the corrected mode does.
    pub corrected: Corrections,
}

/// What the corrected mode does otherwise than the original, beyond what has no setting.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrections {
    /// Languages that are kept.
    pub languages: Vec<String>,
    /// Whether lines that do not look like sentences are deleted.
    pub line_filter: bool,
    /// Categories of the list of addresses; all of them if none are given.
    pub url_categories: Option<Vec<String>>,
    /// Limits on repetition, by length of the n-grams.
    #[serde(rename = "C15", default)]
    repetition: BTreeMap<Length, Limits>,
}

impl Settings {
    /// The rules that come with the program.
    pub fn original() -> Self {
        Self::parse(RULES, Path::new("rules.toml"))
            .expect("the file is part of the program and tested")
    }

    /// Reads a rule file.
    ///
    /// # Errors
    /// The file cannot be read or is no such rule file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        Ok(toml_file::parse(path, text, &[])?.0)
    }

    /// The limits of a rule, if it is tried at all.
    pub(super) fn limits(&self, rule: &'static str) -> Option<Limits> {
        self.drop.get(&RuleName(rule)).copied()
    }
}

impl Corrections {
    /// The limits on n-grams of a length.
    pub(super) fn repetition_limits(&self, n: usize) -> Option<Limits> {
        self.repetition.get(&Length(n)).copied()
    }
}

/// The name of a rule that exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RuleName(&'static str);

impl<'de> Deserialize<'de> for RuleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || DOCUMENT_RULES.iter().map(|rule| rule.name).chain(OTHER_RULES);
        known().find(|&known| known == name).map(Self).ok_or_else(|| unknown(&name, known()))
    }
}

/// A length of n-grams that is measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || LENGTHS.map(|n| n.to_string());
        let n = name.parse().ok().filter(|n| LENGTHS.contains(n));
        n.map(Self).ok_or_else(|| unknown(&name, known()))
    }
}

/// In the words of serde, from which `toml_file` finds line and nearest name.
fn unknown<E: serde::de::Error>(name: &str, known: impl Iterator<Item = impl AsRef<str>>) -> E {
    let known: Vec<String> = known.map(|name| format!("`{}`", name.as_ref())).collect();
    E::custom(format!("unknown field `{name}`, expected one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_program_limits_every_rule() {
        let settings = Settings::original();
        for name in DOCUMENT_RULES.iter().map(|rule| rule.name).chain(OTHER_RULES) {
            assert!(settings.limits(name).is_some(), "{name}");
        }
        for n in LENGTHS {
            assert!(settings.corrected.repetition_limits(n).is_some(), "{n}");
        }
    }

    #[test]
    fn limits_are_strict_or_not_as_they_are_called() {
        let check = |limits: &str, value, expected| {
            let limits: Limits = toml::from_str(limits).unwrap();
            assert_eq!(limits.crossed_by(value), expected, "{limits:?} {value}");
        };
        check("below = 1.5\nabove = 3", 1.5, None);
        check("below = 1.5\nabove = 3", 1.4, Some(1.5));
        check("below = 1.5\nabove = 3", 3.0, None);
        check("below = 1.5\nabove = 3", 3.1, Some(3.0));
        check("at_most = 1", 1.0, Some(1.0));
        check("at_most = 1", 1.1, None);
        check("", f64::MAX, None);
    }

    #[test]
    fn unknown_names_are_errors_with_line_and_nearest_name() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = RULES.replace(from, to);
            let error = Settings::parse(&text, Path::new("r")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("C11 =", "C111 =", "unknown key `drop.C111`, nearest known key is `C11`");
        check("line_filter", "linefilter", "nearest known key is `line_filter`");
        check("\n10 = {", "\n11 = {", "unknown key `corrected.C15.11`");
    }
}
