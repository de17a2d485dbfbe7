//! MAP-Neo's filter of English web pages ("Matrix"), document for document as the released Python decides.
//!
//! Rules carry the numbers of that filter, `E0` to `E34`; what each measures is said in [`RULES`]. A document is
//! measured only as far as its first failing rule asks. Where the original raises an exception the document is
//! dropped by the rule that raised. In the corrected mode some rules measure what was meant instead.
//! E35 and E36 (addresses in the text, repeated sentences) are switched off in the original and left out.

pub(super) mod assets;
mod codes;
pub(super) mod counts;
mod grams;
pub(super) mod measured;
pub(super) mod tokens;
mod vocabulary;
mod word_grams;

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use self::assets::{Assets, Wanted};
use self::measured::Measured;
use super::{
    Limit, Limits, Mode, Verdict,
    limits::{Catalogue, RuleIndex},
};
use crate::{Result, toml_file, write::Value};

/// The rules as released.
pub(super) const FAITHFUL: &str = include_str!("matrix_en.toml");
/// The rules as meant.
pub(super) const CORRECTED: &str = include_str!("matrix_en_corrected.toml");

/// A rule: its number in MAP-Neo's order and what it measures.
#[derive(Debug)]
pub struct Rule {
    /// The number.
    pub name: &'static str,
    /// What exactly is measured, `t` being the text and `n` its form NFKC.
    pub about: &'static str,
    /// What is measured instead in the corrected mode.
    pub corrected: Option<&'static str>,
    value: fn(&mut Measured<'_>) -> Outcome,
    /// No less than the value but had at less cost, where there is such a number.
    at_most: fn(&mut Measured<'_>) -> Option<f64>,
}

/// What came of measuring.
pub(super) enum Outcome {
    /// A quantity.
    Number(f64),
    /// What was looked for and must not be there, or nothing.
    Found(Option<String>),
    /// An exception in the original.
    Raised(&'static str),
}

impl Outcome {
    /// What fails a rule with these limits: what was measured or raised, and the limit.
    pub(super) fn failure(self, limits: Limits) -> Option<(Value, Option<Limit>)> {
        match self {
            Self::Number(value) => {
                let threshold = limits.crossed(value)?;
                Some((Value::Number(value), Some(threshold)))
            }
            Self::Found(word) => Some((Value::Text(word?), None)),
            Self::Raised(what) => Some((Value::Text(what.to_owned()), None)),
        }
    }

    /// A quantity, if it is one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Found(_) | Self::Raised(_) => None,
        }
    }

    /// What was measured or found, if anything.
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::Number(value) => Some(Value::Number(value)),
            Self::Found(word) => word.map(Value::Text),
            Self::Raised(_) => None,
        }
    }
}

const fn rule(
    name: &'static str,
    about: &'static str,
    value: fn(&mut Measured<'_>) -> Outcome,
) -> Rule {
    Rule { name, about, corrected: None, value, at_most: |_| None }
}

impl Rule {
    const fn corrected(mut self, about: &'static str) -> Self {
        self.corrected = Some(about);
        self
    }

    const fn at_most(mut self, bound: fn(&mut Measured<'_>) -> Option<f64>) -> Self {
        self.at_most = bound;
        self
    }

    /// What fails with these limits, measured only if a bound does not show that nothing does.
    fn failure(
        &self,
        measured: &mut Measured<'_>,
        limits: Limits,
    ) -> Option<(Value, Option<Limit>)> {
        let is_within = |bound| limits.hold_up_to(bound);
        if (self.at_most)(measured).is_some_and(is_within) {
            return None;
        }
        (self.value)(measured).failure(limits)
    }
}

fn number(value: u64) -> Outcome {
    Outcome::Number(value as f64)
}

/// `part / whole` as Python divides.
pub(super) fn share(part: u64, whole: u64) -> Outcome {
    match whole {
        0 => Outcome::Raised("division by zero"),
        _ => Outcome::Number(part as f64 / whole as f64),
    }
}

/// As [`share`], where the original asks for an empty whole first.
fn share_or_0(part: u64, whole: u64) -> Outcome {
    if whole == 0 { Outcome::Number(0.0) } else { share(part, whole) }
}

/// Every rule, in the order in which they are tried.
pub static RULES: [Rule; 35] = [
    rule("E0", "characters of t", |m| number(m.n_chars())),
    rule("E1", "mean length of NLTK tokens of n, 0 without tokens", |m| {
        let tokens = m.normal_tokens();
        share_or_0(tokens.n_token_chars, tokens.n_tokens)
    }),
    rule("E2", "(runs of `…` + runs of 2 or more `.`) / characters, both of t", |m| {
        match m.mode() {
            Mode::Faithful => share(m.counts().n_ellipses, m.n_chars()),
            Mode::Corrected => share_or_0(m.lines().n_ending_in_ellipsis, m.lines().n_lines),
        }
    })
    .corrected("share of lines of t that end in an ellipsis"),
    rule("E3", "share of lines of t that start with a bullet, 0 without lines", |m| {
        share_or_0(m.lines().n_bullets, m.lines().n_lines)
    }),
    rule("E4", "words of t without a letter / characters of t", |m| {
        let n_without_letter = m.vocabulary().n_without_letter;
        match m.mode() {
            Mode::Faithful => share(n_without_letter, m.n_chars()),
            Mode::Corrected => share_or_0(n_without_letter, m.vocabulary().n_words),
        }
    })
    .corrected("share of words of t without a letter"),
    rule(
        "E5",
        "share of words of t, marks deleted, that are stop words (off in the original)",
        |m| {
            let vocabulary = m.vocabulary();
            share_or_0(vocabulary.n_stop_words, vocabulary.n_words_without_marks)
        },
    ),
    rule("E6", "distinct stop words among the words of t, marks deleted and in lower case", |m| {
        number(m.vocabulary().n_distinct_stop_words)
    }),
    rule("E7", "(`#` + `...` + `…` in t) / NLTK tokens of n", |m| {
        share(m.counts().n_symbols, m.normal_tokens().n_tokens)
    }),
    rule("E8", "NLTK tokens of n", |m| number(m.normal_tokens().n_tokens)),
    rule("E9", "fastText's probability of the likeliest language of t without LF", |m| {
        m.language()
    })
    .corrected("the same if that language is English, else 0"),
    rule("E10", "characters of t, stripped, without space, LF and TAB", |m| {
        number(m.counts().n_dense_chars)
    }),
    rule("E11", "LF in t, and one", |m| number(m.lines().n_line_feeds + 1)),
    rule("E12", "curly brackets / characters, both of t", |m| {
        share(m.counts().n_curly, m.n_chars())
    }),
    rule("E13", "`lorem ipsum` in any case / characters, both of n", |m| {
        share(m.normal_counts().n_lorem_ipsum, m.normal_counts().n_chars)
    }),
    rule("E14", "stretches of n between `.`, `!` and `?` that hold a word", |m| {
        number(m.normal_counts().n_stretches)
    }),
    rule("E15", "share of words of t that are letters only and upper case, 0 without words", |m| {
        let vocabulary = m.vocabulary();
        share_or_0(vocabulary.n_upper, vocabulary.n_words)
    }),
    rule("E16", "distinct words / words, both of t, 0 without words", |m| {
        let vocabulary = m.vocabulary();
        share_or_0(vocabulary.n_distinct, vocabulary.n_words)
    }),
    rule("E17", "NLTK sentences of t", |m| number(m.tokens().n_sentences)),
    rule("E18", "share of NLTK sentences of t that end in `read more`", |m| {
        let tokens = m.tokens();
        share(tokens.n_read_more, tokens.n_sentences)
    }),
    rule("E19", "runs of `#` / characters, both of t", |m| {
        share(m.counts().n_hash_runs, m.n_chars())
    }),
    rule("E20", "(runs of `…` + runs of 2 or more `.`) / characters, both of t", |m| {
        share(m.counts().n_ellipses, m.n_chars())
    }),
    rule("E21", "marks of ASCII in t", |m| number(m.counts().n_marks)),
    rule(
        "E22",
        "NLTK tokens of t that are not letters only / characters of words and white space",
        |m| {
            let n_not_letters = m.tokens().n_not_letters;
            share(n_not_letters, m.counts().n_plain_chars)
        },
    ),
    rule(
        "E23",
        "NLTK tokens of t that are digits only / characters of words and white space",
        |m| {
            let n_digits = m.tokens().n_digits;
            share(n_digits, m.counts().n_plain_chars)
        },
    ),
    rule("E24", "the first NLTK token of t that is a listed bad word; limits are not asked", |m| {
        Outcome::Found(m.tokens().bad_word.clone())
    })
    .corrected("the first that is one in lower case"),
    rule("E25", "Shannon entropy of the words of t, in nats", |m| {
        Outcome::Number(m.vocabulary().entropy)
    }),
    rule("E26", TOP_GRAM, |m| m.top_gram(2))
        .corrected(TOP_WORD_GRAM)
        .at_most(|m| m.top_gram_at_most(2)),
    rule("E27", TOP_GRAM, |m| m.top_gram(3))
        .corrected(TOP_WORD_GRAM)
        .at_most(|m| m.top_gram_at_most(3)),
    rule("E28", TOP_GRAM, |m| m.top_gram(4))
        .corrected(TOP_WORD_GRAM)
        .at_most(|m| m.top_gram_at_most(4)),
    rule("E29", REPEATED_GRAMS, |m| m.repeated_grams(5))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(5)),
    rule("E30", REPEATED_GRAMS, |m| m.repeated_grams(6))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(6)),
    rule("E31", REPEATED_GRAMS, |m| m.repeated_grams(7))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(7)),
    rule("E32", REPEATED_GRAMS, |m| m.repeated_grams(8))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(8)),
    rule("E33", REPEATED_GRAMS, |m| m.repeated_grams(9))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(9)),
    rule("E34", REPEATED_GRAMS, |m| m.repeated_grams(10))
        .corrected(REPEATED_WORD_GRAMS)
        .at_most(|m| m.repeated_grams_at_most(10)),
];

const TOP_GRAM: &str =
    "(occurrences of the most frequent run of n characters of t - 1) * n / characters; n = 2 to 4";
const TOP_WORD_GRAM: &str =
    "share of the characters of words in the most frequent run of n words, if it repeats";
const REPEATED_GRAMS: &str =
    "distinct characters in runs of n characters of t that repeat / characters; n = 5 to 10";
const REPEATED_WORD_GRAMS: &str = "share of the characters of words in runs of n words that repeat";

/// The English rules with their limits and what they look things up in.
#[derive(Debug)]
pub struct MatrixEn {
    rules: Vec<(&'static Rule, Limits)>,
    mode: Mode,
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
    rules: BTreeMap<RuleIndex<English>, Limits>,
}

/// The names of [`RULES`].
struct English;

impl Catalogue for English {
    fn names() -> Vec<&'static str> {
        RULES.iter().map(|rule| rule.name).collect()
    }
}

/// Which rules ask for which assets.
fn wanted(rules: &[(&'static Rule, Limits)]) -> Wanted {
    let first =
        |names: &[&str]| rules.iter().map(|(rule, _)| rule.name).find(|name| names.contains(name));
    Wanted {
        tokens: first(&["E1", "E7", "E8", "E17", "E18", "E22", "E23", "E24"]),
        stop_words: first(&["E5", "E6"]),
        bad_words: first(&["E24"]),
        languages: first(&["E9"]),
    }
}

impl MatrixEn {
    /// Reads a rule file, whose mode another may replace, and from the folder of assets what its rules ask for.
    pub(super) fn parse(
        text: &str,
        path: &Path,
        mode: Option<Mode>,
        assets: Option<&Path>,
    ) -> Result<Self> {
        let (file, _) = toml_file::parse::<RuleFile>(path, text, &[])?;
        let rules: Vec<(&'static Rule, Limits)> =
            file.rules.into_iter().map(|(idx, limits)| (&RULES[idx.0], limits)).collect();
        let assets = Assets::read(assets, &wanted(&rules))?;
        Ok(Self { rules, mode: mode.unwrap_or(file.mode), assets })
    }

    /// What the rules measure in the mode in use.
    pub(super) fn descriptions(&self) -> Vec<(&'static str, String)> {
        let corrected = |rule: &Rule| rule.corrected.filter(|_| self.mode == Mode::Corrected);
        let in_words = |rule: &Rule| match corrected(rule) {
            Some(corrected) => format!("{}; corrected: {corrected}", rule.about),
            None => rule.about.to_owned(),
        };
        let rules = self.rules.iter();
        rules.map(|(rule, _)| (rule.name, in_words(rule))).collect()
    }

    /// The first rule that fails, if any.
    pub(super) fn judge(&self, text: &str) -> Verdict {
        let mut measured = Measured::new(text, self.mode, &self.assets);
        for (rule, limits) in &self.rules {
            if let Some((value, threshold)) = rule.failure(&mut measured, *limits) {
                return Verdict::Drop { rule: rule.name, value, threshold };
            }
        }
        Verdict::Keep
    }

    /// What every rule measures, also after one that fails; left out where the original raises or finds nothing.
    pub(super) fn measure(&self, text: &str) -> Vec<(&'static str, Value)> {
        let mut measured = Measured::new(text, self.mode, &self.assets);
        let value = |(rule, _): &(&'static Rule, Limits)| {
            Some((rule.name, (rule.value)(&mut measured).value()?))
        };
        self.rules.iter().filter_map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules that ask for no asset.
    const WITHOUT_ASSETS: &str = "measures = \"matrix-en\"\n[rules]\nE0 = { above = 0 }\nE2 = { max = 0.2 }\n\
        E3 = { max = 0.9 }\nE4 = { below = 0.4 }\nE10 = { min = 5 }\nE12 = { below = 0.025 }\nE13 = { below = 3e-8 }\n\
        E15 = { max = 0.1 }\nE26 = { max = 0.2 }\nE29 = { max = 0.15 }\n";

    fn check(mode: Mode, text: &str, expected: Option<(&str, f64, f64)>) {
        let rules = MatrixEn::parse(WITHOUT_ASSETS, Path::new("r"), Some(mode), None).unwrap();
        let found = match rules.judge(text) {
            Verdict::Keep => None,
            Verdict::Drop { rule, value: Value::Number(value), threshold } => {
                Some((rule, value, threshold.unwrap().value()))
            }
            verdict => panic!("{verdict:?}"),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn the_first_failing_rule_drops() {
        check(Mode::Faithful, "", Some(("E0", 0.0, 0.0)));
        check(Mode::Faithful, "a..b", Some(("E2", 0.25, 0.2)));
        check(Mode::Faithful, "• a\n• b", Some(("E3", 1.0, 0.9)));
        check(Mode::Faithful, "1 2", Some(("E4", 2.0 / 3.0, 0.4)));
        check(Mode::Faithful, " a b\tc\r", Some(("E10", 3.0, 5.0)));
        check(Mode::Faithful, "words { of code", Some(("E12", 1.0 / 15.0, 0.025)));
        check(Mode::Faithful, "Lorem\u{a0}Ipsum dolor", Some(("E13", 1.0 / 17.0, 3e-8)));
        check(Mode::Faithful, "one TWO three", Some(("E15", 1.0 / 3.0, 0.1)));
        check(Mode::Faithful, "ababababab", Some(("E26", 0.8, 0.2)));
        check(Mode::Faithful, "abcdefg hijklmnop qrstuv", None);
    }

    #[test]
    fn the_corrected_mode_measures_what_was_meant() {
        check(Mode::Corrected, "wait for it...\nthen go on, said he", Some(("E2", 0.5, 0.2)));
        check(Mode::Corrected, "12 34 words 56 78", Some(("E4", 0.8, 0.4)));
        check(Mode::Corrected, "so it is so it goes on", Some(("E26", 8.0 / 16.0, 0.2)));
    }

    #[test]
    fn the_example_of_the_fact_sheet() {
        let rules = format!(
            "measures = \"matrix-en\"\n[rules]\n{}",
            (26..35).map(|i| format!("E{i} = {{}}\n")).collect::<String>()
        );
        let rules = MatrixEn::parse(&rules, Path::new("r"), None, None).unwrap();
        let values = rules.measure(&"the cat sat on the mat. the cat sat on the hat. ".repeat(3));
        let expected = [34.0, 33.0, 44.0, 11.0, 11.0, 11.0, 11.0, 11.0, 11.0];
        for ((name, value), expected) in values.iter().zip(expected) {
            assert_eq!(*value, Value::Number(expected / 144.0), "{name}");
        }
    }

    #[test]
    fn both_files_name_every_rule_in_effect_and_ask_for_assets() {
        for (text, with_e5) in [(FAITHFUL, false), (CORRECTED, true)] {
            let (file, _) = toml_file::parse::<RuleFile>(Path::new("r"), text, &[]).unwrap();
            assert_eq!(file.rules.len(), RULES.len() - usize::from(!with_e5));
            let error = MatrixEn::parse(text, Path::new("r"), None, None).unwrap_err().to_string();
            assert!(error.contains("E1") && error.contains("`--assets`"), "{error}");
        }
    }

    #[test]
    fn a_missing_asset_names_file_and_rule() {
        let folder = tempfile::tempdir().unwrap();
        let rules = "measures = \"matrix-en\"\n[rules]\nE24 = {}\n";
        let punkt = folder.path().join("punkt_tab/english");
        std::fs::create_dir_all(&punkt).unwrap();
        for name in
            ["abbrev_types.txt", "sent_starters.txt", "collocations.tab", "ortho_context.tab"]
        {
            std::fs::write(punkt.join(name), "").unwrap();
        }
        let error = MatrixEn::parse(rules, Path::new("r"), None, Some(folder.path())).unwrap_err();
        let text = error.to_string();
        assert!(
            error.is_input() && text.contains("strict_en.txt") && text.contains("E24"),
            "{text}"
        );
        std::fs::write(folder.path().join("strict_en.txt"), "bad\n").unwrap();
        std::fs::write(folder.path().join("hard_en.txt"), "worse\nвред\n").unwrap();
        let rules = MatrixEn::parse(rules, Path::new("r"), None, Some(folder.path())).unwrap();
        let dropped = |word: &str| Verdict::Drop {
            rule: "E24",
            value: Value::Text(word.to_owned()),
            threshold: None,
        };
        assert_eq!(rules.judge("It is worse, not bad."), dropped("worse"));
        assert_eq!(rules.judge("Это вред."), dropped("вред"));
        assert_eq!(rules.judge("It is Worse-bad."), Verdict::Keep);
    }
}
