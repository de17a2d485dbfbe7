//! Judging documents: rules are limits on measured quantities, kept in TOML that a user can copy and change.
//!
//! A rule set is of one of several kinds, which its file names as `measures`: the quantities of [`basic`] with a
//! table of limits per language, or the numbered rules of a published filter ([`matrix_en`], [`matrix_zh`], [`redpajama`]).
//! The first rule that fails drops the document, with the rule's name, what was measured and the limit. A filter may
//! also rewrite the texts that it keeps.

pub mod basic;
mod limits;
pub mod matrix_en;
pub mod matrix_zh;
pub mod redpajama;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use self::basic::Basic;
pub use self::limits::{Limit, Limits};
use self::{matrix_en::MatrixEn, matrix_zh::MatrixZh, redpajama::RedPajama};
use crate::{Document, Error, Language, Result, toml_file, write::Value};

/// What the rules say about a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No rule failed.
    Keep,
    /// No rule failed, and this text takes the place of the document's own.
    Rewrite(String),
    /// The first rule that failed.
    Drop {
        /// Name of the rule.
        rule: &'static str,
        /// What was measured or found, or why nothing could be measured.
        value: Value,
        /// The limit that was crossed, if there was one.
        threshold: Option<Limit>,
    },
}

/// Whether a published filter is followed to the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As released, mistakes included.
    #[default]
    Faithful,
    /// As it was meant.
    Corrected,
}

impl Mode {
    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Corrected => "corrected",
        }
    }
}

/// Where a rule set comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuleSource<'a> {
    /// `none`, the name of a rule set that comes with the program, or a rule file.
    pub name: &'a str,
    /// To the letter or as it was meant, which is what a published filter is taken for without it;
    /// replaces the mode that a rule file names.
    pub mode: Option<Mode>,
    /// Folder of word lists and models that rules look things up in.
    pub assets: Option<&'a Path>,
}

impl RuleSource<'_> {
    /// The language that the rules are made for, when they are made for one. Assets are not looked at.
    ///
    /// # Errors
    /// The file cannot be read or is no rule file.
    pub fn language(&self) -> Result<Option<Language>> {
        if self.name == "none" {
            return Ok(None);
        }
        let (text, path) = self.text()?;
        let (kind, _) = toml_file::parse::<Kind>(&path, &text, &[])?;
        Ok(match kind.measures {
            Measures::MatrixEn => Some(Language::En),
            Measures::MatrixZh => Some(Language::Zh),
            Measures::Basic | Measures::RedPajama => None,
        })
    }

    /// The rule file, with the path by which messages name it.
    fn text(&self) -> Result<(Cow<'static, str>, PathBuf)> {
        let own = match (self.name, self.mode) {
            ("basic", _) => basic::RULES,
            ("matrix-en", Some(Mode::Faithful)) => matrix_en::FAITHFUL,
            ("matrix-en", _) => matrix_en::CORRECTED,
            ("matrix-zh", Some(Mode::Faithful)) => matrix_zh::FAITHFUL,
            ("matrix-zh", _) => matrix_zh::CORRECTED,
            ("redpajama-v2", _) => redpajama::RULES,
            (path, _) => {
                let path = Path::new(path);
                if path.extension().is_none() && !path.exists() {
                    return Err(unknown(self.name));
                }
                let text = std::fs::read_to_string(path).map_err(Error::io(path));
                let text = text.map_err(|error| error.asked_by(|| "`rules`".to_owned()))?;
                return Ok((text.into(), path.to_owned()));
            }
        };
        Ok((own.into(), format!("{}.toml", self.name).into()))
    }
}

/// Rules that judge documents.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Rules,
    settings: serde_json::Value,
}

#[derive(Clone, Debug)]
enum Rules {
    None,
    Basic(Arc<Basic>),
    MatrixEn(Arc<MatrixEn>),
    MatrixZh(Arc<MatrixZh>),
    RedPajama(Arc<RedPajama>),
}

/// What a rule file says its limits are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Measures {
    #[default]
    Basic,
    MatrixEn,
    MatrixZh,
    #[serde(rename = "redpajama-v2")]
    RedPajama,
}

/// The keys by which the kind of a rule file is told; the kind knows the others.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    measures: Measures,
    #[serde(default)]
    mode: Mode,
}

/// Rule sets that come with the program.
const NAMES: [&str; 5] = ["none", "basic", "matrix-en", "matrix-zh", "redpajama-v2"];

/// What is said of a name that is neither a rule set's nor a file's.
fn unknown(name: &str) -> Error {
    let known = NAMES.join("`, `");
    let near = toml_file::nearest(name, NAMES);
    let near = near.map(|near| format!("; the nearest is `{near}`")).unwrap_or_default();
    Error::Setting(format!("no rule set `{name}`, expected `{known}` or a rule file{near}"))
}

impl RuleSet {
    /// No rule at all.
    pub fn none() -> Self {
        Self { rules: Rules::None, settings: serde_json::json!({ "name": "none" }) }
    }

    /// The rules that ask for nothing but the text.
    ///
    /// A handful after Gopher, C4 and RedPajama-V2 as MAP-Neo's filters use them, in the form that was meant.
    pub fn basic() -> Self {
        let source = RuleSource { name: "basic", ..RuleSource::default() };
        Self::parse(basic::RULES, Path::new("basic.toml"), source)
            .expect("the file is part of the program and tested")
    }

    /// `none`, `basic`, `matrix-en`, `matrix-zh`, `redpajama-v2`, or a rule file.
    ///
    /// # Errors
    /// The file cannot be read or is no rule file, or an asset that a rule looks things up in is missing.
    pub fn read(source: RuleSource<'_>) -> Result<Self> {
        if source.name == "none" {
            return Ok(Self::none());
        }
        let (text, path) = source.text()?;
        Self::parse(&text, &path, source)
    }

    fn parse(text: &str, path: &Path, source: RuleSource<'_>) -> Result<Self> {
        let (kind, file) = toml_file::parse::<Kind>(path, text, &[])?;
        let is_matrix = matches!(kind.measures, Measures::MatrixEn | Measures::MatrixZh);
        if source.mode.is_some() && !is_matrix {
            let problem = format!("`{}` has no modes, expected no `--mode`", source.name);
            return Err(Error::Setting(problem));
        }
        let rules = match kind.measures {
            Measures::Basic => Rules::Basic(Arc::new(Basic::parse(text, path)?)),
            Measures::MatrixEn => {
                Rules::MatrixEn(Arc::new(MatrixEn::parse(text, path, source.mode, source.assets)?))
            }
            Measures::MatrixZh => {
                Rules::MatrixZh(Arc::new(MatrixZh::parse(text, path, source.mode, source.assets)?))
            }
            Measures::RedPajama => {
                Rules::RedPajama(Arc::new(RedPajama::parse(text, path, source.assets)?))
            }
        };
        let mode = is_matrix.then(|| source.mode.unwrap_or(kind.mode));
        let mut set = Self { rules, settings: settings(source, mode, &file) };
        set.settings["about"] = set.descriptions().into_iter().collect();
        Ok(set)
    }

    /// Everything that verdicts depend on: the rule file's name and keys, with the mode and the assets in use; under
    /// `about` what the rules measure, in words.
    pub fn settings(&self) -> &serde_json::Value {
        &self.settings
    }

    /// What the rules measure, by their names, where it is put into words.
    fn descriptions(&self) -> Vec<(&'static str, String)> {
        match &self.rules {
            Rules::None | Rules::RedPajama(_) => Vec::new(),
            Rules::Basic(_) => basic::descriptions(),
            Rules::MatrixEn(rules) => rules.descriptions(),
            Rules::MatrixZh(rules) => rules.descriptions(),
        }
    }

    /// What a user should know of how documents of a language are judged.
    pub fn caveat(&self, language: Language) -> Option<String> {
        match &self.rules {
            Rules::Basic(rules) => rules.caveat(language),
            Rules::None | Rules::MatrixEn(_) | Rules::MatrixZh(_) | Rules::RedPajama(_) => None,
        }
    }

    /// Measures a document as far as needed and applies the rules.
    pub fn judge(&self, document: &Document) -> Verdict {
        match &self.rules {
            Rules::None => Verdict::Keep,
            Rules::Basic(rules) => rules.judge(document),
            Rules::MatrixEn(rules) => rules.judge(&document.text),
            Rules::MatrixZh(rules) => rules.judge(Some(&document.text), document.url.as_deref()),
            Rules::RedPajama(rules) => rules.judge(document),
        }
    }

    /// What every rule measures of a document, also after one that fails, in the order in which they are tried.
    /// A rule is left out where there is nothing to measure.
    pub fn measure(&self, document: &Document) -> Vec<(&'static str, Value)> {
        match &self.rules {
            Rules::None => Vec::new(),
            Rules::Basic(rules) => rules.measure(document),
            Rules::MatrixEn(rules) => rules.measure(&document.text),
            Rules::MatrixZh(rules) => rules.measure(&document.text, document.url.as_deref()),
            Rules::RedPajama(rules) => rules.measure(document),
        }
    }
}

/// The keys of a rule file after its name, as [`RuleSet::settings`] gives them.
fn settings(source: RuleSource<'_>, mode: Option<Mode>, file: &toml::Table) -> serde_json::Value {
    let mut settings = serde_json::json!({ "name": source.name });
    for (key, value) in file {
        settings[key] = serde_json::json!(value);
    }
    if let Some(mode) = mode {
        settings["mode"] = mode.name().into();
    }
    if let Some(assets) = source.assets {
        settings["assets"] = assets.to_string_lossy().into();
    }
    settings
}
