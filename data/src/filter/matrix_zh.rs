//! MAP-Neo's filter of Chinese web pages ("Matrix"), document for document as the released Python decides, and with
//! its rewriting of the text.
//!
//! Rules carry the numbers of that filter, `C0a` to `C15`; what each measures is said in [`RULES`]. A document is
//! rewritten and measured only as far as its first failing rule asks. Where the original raises an exception the
//! document is dropped by `exception:` and the name of the step. In the corrected mode some rules measure what
//! was meant instead.

mod assets;
mod blacklist;
mod counts;
mod file;
mod lines;
mod links;
mod marks;
mod measured;
mod repetition;

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer, de::Error as _};

pub use self::file::{BadLine, JudgedFile, JudgedLine};
use self::{
    assets::Assets,
    measured::Measured,
    repetition::{LENGTHS, repetition_shares},
};
use super::{
    Limits, Mode, Verdict,
    limits::{Catalogue, RuleIndex},
};
use crate::{Result, toml_file, write::Value};

/// The rules as released.
pub(super) const FAITHFUL: &str = include_str!("matrix_zh.toml");
/// The rules as meant.
pub(super) const CORRECTED: &str = include_str!("matrix_zh_corrected.toml");

/// A rule: its number in MAP-Neo's order and what it measures.
#[derive(Debug)]
pub struct Rule {
    /// The number.
    pub name: &'static str,
    /// What exactly is measured: `t` is the text, `r` the text as rewritten and `n` its form NFKC.
    pub about: &'static str,
    /// What is measured instead in the corrected mode.
    pub corrected: Option<&'static str>,
    value: fn(&Measured<'_>) -> Outcome,
}

/// What came of measuring.
enum Outcome {
    /// A quantity.
    Number(f64),
    /// What was looked for and must not be there, or nothing.
    Found(Option<String>),
    /// An exception in the original, as the rule that it counts as, and its cause.
    Raised(&'static str, &'static str),
}

const fn rule(
    name: &'static str,
    about: &'static str,
    value: fn(&Measured<'_>) -> Outcome,
) -> Rule {
    Rule { name, about, corrected: None, value }
}

impl Rule {
    const fn corrected(mut self, about: &'static str) -> Self {
        self.corrected = Some(about);
        self
    }
}

fn number(value: u64) -> Outcome {
    Outcome::Number(value as f64)
}

/// A quotient of counts. In the original a whole of 0 is dropped by an earlier rule, C3 or C5.
fn share(part: u64, whole: u64) -> Outcome {
    Outcome::Number(if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
}

/// Every rule, in the order in which they are tried. C0b and C2 rewrite the text and judge nothing; the limits of
/// C15, which is tried last, are a table of their own.
pub const RULES: [Rule; 14] = [
    rule("C0a", "share of characters of t in NFKC inside `【` and `】` of one line", |m| {
        Outcome::Number(m.bracket_share())
    }),
    rule("C1", "the address, if it begins with one of the list; limits are not asked", |m| {
        m.listed_address()
    })
    .corrected("the same; a document without an address passes"),
    rule("C3", "pieces of r between `.`, `!`, `…`, `?`, `;` and `\"` that are not blank", |m| {
        number(m.counts().n_pieces)
    }),
    rule("C4", "characters of n", |m| number(m.normal_counts().n_chars)),
    rule("C5", "mean length of jieba's words of n, marks deleted, 0 without words", |m| {
        share(m.words().n_chars, m.words().n_words)
    }),
    rule("C6", "runs of `#` / characters, both of r", |m| {
        share(m.counts().n_hash_runs, m.counts().n_chars)
    }),
    rule("C7", "(runs of `…` + runs of 2 or more `.`) / characters, both of r", |m| {
        share(m.counts().n_ellipses, m.counts().n_chars)
    }),
    rule("C8", "share of digits among the characters of words and white space of n", |m| {
        share(m.normal_counts().n_digits, m.normal_counts().n_plain_chars)
    }),
    rule(
        "C9",
        "share of lines of n that end in `readmore`, `展开`, `更多` or `。。。`",
        |m| {
            let counts = m.normal_counts();
            let n_dotted = if m.mode() == Mode::Corrected { counts.n_dotted_lines } else { 0 };
            share(counts.n_more_lines + n_dotted, counts.n_lines)
        },
    )
    .corrected("the same with `...`, which is what rewriting makes of `。。。`"),
    rule("C10", "share of lines of n that start with a bullet", |m| {
        share(m.normal_counts().n_bullet_lines, m.normal_counts().n_lines)
    }),
    rule("C11", "share of characters of n that are marks of ASCII or `…`", |m| {
        share(m.normal_counts().n_marks, m.normal_counts().n_chars)
    }),
    rule("C12", "distinct characters / characters, both of n", |m| {
        share(m.normal_counts().n_distinct, m.normal_counts().n_chars)
    }),
    rule("C13", "Shannon entropy of the characters of n, in nats", |m| {
        Outcome::Number(m.normal_counts().entropy)
    }),
    rule("C14", "fastText's probability of the likeliest language of r without LF", |m| {
        m.language()
    })
    .corrected("the same if that language is one of `languages`, else 0"),
];

/// The Chinese rules with their limits and what they look things up in.
#[derive(Debug)]
pub struct MatrixZh {
    rules: Vec<(&'static Rule, Limits)>,
    repetition: BTreeMap<Length, Limits>,
    mode: Mode,
    corrections: Corrections,
    assets: Assets,
}

/// A rule file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(rename = "measures")]
    _measures: String,
    #[serde(default)]
    mode: Mode,
    languages: Option<Vec<String>>,
    #[serde(default)]
    line_filter: bool,
    url_categories: Option<Vec<String>>,
    rules: BTreeMap<RuleIndex<Chinese>, Limits>,
    #[serde(rename = "C15", default)]
    repetition: BTreeMap<Length, Limits>,
}

/// What only the corrected mode asks.
#[derive(Debug)]
struct Corrections {
    /// Languages that are kept; any, if none are given.
    languages: Option<Vec<String>>,
    has_line_filter: bool,
}

/// The names of [`RULES`].
struct Chinese;

impl Catalogue for Chinese {
    fn names() -> Vec<&'static str> {
        RULES.iter().map(|rule| rule.name).collect()
    }
}

/// A length of runs of characters that C15 measures.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known: Vec<String> = LENGTHS.map(|n| n.to_string()).collect();
        match LENGTHS.zip(&known).find(|(_, known)| **known == name) {
            Some((n, _)) => Ok(Self(n)),
            // In the words of serde, from which `toml_file` finds line and nearest name.
            None => Err(D::Error::custom(format!(
                "unknown field `{name}`, expected one of `{}`",
                known.join("`, `")
            ))),
        }
    }
}

impl MatrixZh {
    /// The rules that come with the program; `assets` is the folder that they look things up in.
    ///
    /// # Errors
    /// An asset is missing or not what it must be.
    pub fn own(mode: Mode, assets: &Path) -> Result<Self> {
        let text = match mode {
            Mode::Faithful => FAITHFUL,
            Mode::Corrected => CORRECTED,
        };
        Self::parse(text, Path::new("matrix-zh.toml"), None, Some(assets))
    }

    /// Reads a rule file, whose mode another may replace, and from the folder of assets what its rules ask for.
    pub(super) fn parse(
        text: &str,
        path: &Path,
        mode: Option<Mode>,
        assets: Option<&Path>,
    ) -> Result<Self> {
        static CATALOGUE: [Rule; 14] = RULES;
        let (file, _) = toml_file::parse::<RuleFile>(path, text, &[])?;
        let rules: Vec<(&'static Rule, Limits)> =
            file.rules.into_iter().map(|(idx, limits)| (&CATALOGUE[idx.0], limits)).collect();
        let mode = mode.unwrap_or(file.mode);
        let is_corrected = mode == Mode::Corrected;
        let names: Vec<&str> = rules.iter().map(|(rule, _)| rule.name).collect();
        let categories = file.url_categories.as_deref().filter(|_| is_corrected);
        let has_line_filter = file.line_filter && is_corrected;
        let assets = Assets::read(assets, &names, categories, has_line_filter)?;
        let repetition = if is_corrected { file.repetition } else { BTreeMap::new() };
        let languages = file.languages.filter(|_| is_corrected);
        let corrections = Corrections { languages, has_line_filter };
        Ok(Self { rules, repetition, mode, corrections, assets })
    }

    /// What the rules measure in the mode in use.
    pub(super) fn descriptions(&self) -> Vec<(&'static str, String)> {
        let corrected = |rule: &Rule| rule.corrected.filter(|_| self.mode == Mode::Corrected);
        let in_words = |rule: &Rule| match corrected(rule) {
            Some(corrected) => format!("{}; corrected: {corrected}", rule.about),
            None => rule.about.to_owned(),
        };
        let rules = self.rules.iter();
        let mut words: Vec<(&'static str, String)> =
            rules.map(|(rule, _)| (rule.name, in_words(rule))).collect();
        if !self.repetition.is_empty() {
            words.push((
                "C15",
                "share of characters in repeated runs, a limit for each length of run".to_owned(),
            ));
        }
        words
    }

    /// The first rule that fails, or the text as rewritten. None stands for a text or an address that is not there
    /// or is no string.
    pub fn judge(&self, text: Option<&str>, url: Option<&str>) -> Verdict {
        let Some(text) = text else { return raised("exception:unify_format", "no text") };
        let measured = Measured::new(text, url, self);
        for (rule, limits) in &self.rules {
            let verdict = match (rule.value)(&measured) {
                Outcome::Number(value) => self.drop_if_crossed(rule.name, value, *limits),
                Outcome::Found(None) => None,
                Outcome::Found(Some(found)) => Some(Verdict::Drop {
                    rule: rule.name,
                    value: Value::Text(found),
                    threshold: None,
                }),
                Outcome::Raised(step, cause) => Some(raised(step, cause)),
            };
            if let Some(verdict) = verdict {
                return verdict;
            }
        }
        self.judge_repetition(measured.text()).unwrap_or_else(|| measured.into_kept())
    }

    fn drop_if_crossed(&self, rule: &'static str, value: f64, limits: Limits) -> Option<Verdict> {
        let threshold = limits.crossed(value)?;
        Some(Verdict::Drop { rule, value: Value::Number(value), threshold: Some(threshold) })
    }

    /// C15.
    fn judge_repetition(&self, text: &str) -> Option<Verdict> {
        if self.repetition.is_empty() {
            return None;
        }
        repetition_shares(text).find_map(|(n, share)| {
            self.drop_if_crossed("C15", share, *self.repetition.get(&Length(n))?)
        })
    }

    /// What every rule but C15 measures, also after one that fails; left out where the original raises or finds
    /// nothing.
    pub(super) fn measure(&self, text: &str, url: Option<&str>) -> Vec<(&'static str, Value)> {
        let measured = Measured::new(text, url, self);
        let value = |(rule, _): &(&'static Rule, Limits)| match (rule.value)(&measured) {
            Outcome::Number(value) => Some((rule.name, Value::Number(value))),
            Outcome::Found(found) => Some((rule.name, Value::Text(found?))),
            Outcome::Raised(..) => None,
        };
        self.rules.iter().filter_map(value).collect()
    }
}

fn raised(step: &'static str, cause: &str) -> Verdict {
    Verdict::Drop { rule: step, value: Value::Text(cause.to_owned()), threshold: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the rules that ask for assets.
    fn rules(mode: Mode) -> MatrixZh {
        let text = match mode {
            Mode::Faithful => FAITHFUL,
            Mode::Corrected => CORRECTED,
        };
        let text = text.replace("\nC1 = {}", "").replace("\nC14 = { min = 0.4 }", "");
        MatrixZh::parse(&text, Path::new("r"), None, None).unwrap()
    }

    #[track_caller]
    fn check(mode: Mode, text: &str, expected: Option<(&str, f64, f64)>) {
        let found = match rules(mode).judge(Some(text), None) {
            Verdict::Keep | Verdict::Rewrite(_) => None,
            Verdict::Drop { rule, value: Value::Number(value), threshold } => {
                Some((rule, value, threshold.unwrap().value()))
            }
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    /// More than fifty characters.
    const PROSE: &str = "却说荆州刺史刘表，字景升，山阳高平人也，乃汉室宗亲；幼好结纳，与名士七人为友。时号江夏八俊。那七人皆同郡之后学！";

    #[test]
    fn the_first_failing_rule_drops() {
        check(Mode::Faithful, PROSE, None);
        check(Mode::Faithful, "【甲】", Some(("C0a", 1.0 / 3.0, 0.1)));
        check(Mode::Faithful, "一句话。\n", Some(("C3", 1.0, 1.0)));
        check(Mode::Faithful, "两句。短！", Some(("C4", 5.0, 50.0)));
        check(Mode::Faithful, &"人. ".repeat(30), Some(("C5", 1.0, 1.3)));
    }

    #[test]
    fn the_kept_text_is_rewritten() {
        let rules = rules(Mode::Faithful);
        let text = format!("{PROSE}见https://a.com/x，好");
        let expected = "却说荆州刺史刘表,字景升,山阳高平人也,乃汉室宗亲;幼好结纳,与名士七人为友.时号江夏八俊.那七人皆同郡之后学!";
        assert_eq!(rules.judge(Some(&text), None), Verdict::Rewrite(format!("{expected}见,好")));
        assert_eq!(rules.judge(Some(expected), None), Verdict::Keep);
    }

    #[test]
    fn the_corrected_mode_measures_what_was_meant() {
        let lines = format!("{PROSE}\n君子……\n小人。。。\n");
        check(Mode::Faithful, &lines, None);
        check(Mode::Corrected, &lines, Some(("C9", 2.0 / 3.0, 0.3)));
        let repeated = PROSE.repeat(2);
        check(Mode::Faithful, &repeated, None);
        check(Mode::Corrected, &repeated, Some(("C15", 1.0, 0.6)));
    }

    #[test]
    fn both_files_name_every_rule_and_ask_for_assets() {
        for text in [FAITHFUL, CORRECTED] {
            let (file, _) = toml_file::parse::<RuleFile>(Path::new("r"), text, &[]).unwrap();
            assert_eq!(file.rules.len(), RULES.len());
            let error = MatrixZh::parse(text, Path::new("r"), None, None).unwrap_err().to_string();
            assert!(error.contains("C1") && error.contains("`--assets`"), "{error}");
        }
    }

    #[test]
    fn a_length_that_is_not_measured_is_an_error() {
        let text = CORRECTED.replace("\n10 =", "\n11 =");
        let error = MatrixZh::parse(&text, Path::new("r"), None, None).unwrap_err().to_string();
        assert!(error.contains("unknown key `C15.11`"), "{error}");
    }
}
