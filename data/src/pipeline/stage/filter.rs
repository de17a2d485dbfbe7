//! `kind = "filter"`: documents that break a rule go; some rule sets rewrite what stays.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Fate, Judge, Kind, Ready};
use crate::{
    Document, Language, Result,
    engine::Fingerprint,
    filter::{Mode, RuleSet, RuleSource, Verdict},
};

/// Changes whenever a rule set of the program, or what it measures, does.
const VERSION: u32 = 1;

/// Rules that judge documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// `none`, the name of a rule set (see [`RuleSet::read`]), or the path of a rule file.
    pub rules: String,
    /// Only documents of this language are judged, all others stay; unset, all are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Whether a published filter is followed to the letter; unset, as it was meant, or as
    /// a rule file given by path says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Folder of word lists and models that the rules look things up in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<PathBuf>,
}

impl Filter {
    pub(super) fn ready(&self) -> Result<Ready> {
        let rules = RuleSet::read(RuleSource {
            name: &self.rules,
            mode: self.mode,
            assets: self.assets.as_deref(),
        })?;
        let mut contents = Vec::new();
        let rule_file = Path::new(&self.rules);
        if rule_file.is_file() {
            contents.push(Fingerprint::of_file(rule_file)?);
        }
        if let Some(assets) = &self.assets {
            contents.push(Fingerprint::of_path(assets)?);
        }
        let mut settings = rules.settings().clone();
        if let Some(language) = self.language {
            settings["language"] = language.name().into();
        }
        let judge = Kind::Judge(Box::new(Rules { rules, language: self.language }));
        Ok(Ready::new("filter", VERSION, settings, &contents, judge))
    }

    pub(super) fn map_paths(&mut self, map: impl Fn(&str) -> String) {
        self.rules = map(&self.rules);
        if let Some(assets) = &mut self.assets {
            *assets = PathBuf::from(map(&assets.to_string_lossy()));
        }
    }
}

/// Rules, and whom they are for.
struct Rules {
    rules: RuleSet,
    language: Option<Language>,
}

impl Judge for Rules {
    fn caveat(&self, language: Language) -> Option<String> {
        let is_judged = self.language.is_none_or(|judged| judged == language);
        self.rules.caveat(language).filter(|_| is_judged)
    }

    fn judge(&self, document: &Document) -> Fate {
        if self.language.is_some_and(|language| language != document.language) {
            return Fate::Keep;
        }
        match self.rules.judge(document) {
            Verdict::Keep => Fate::Keep,
            Verdict::Rewrite(text) => Fate::Rewrite(text),
            Verdict::Drop { rule, value, threshold } => {
                Fate::Drop { rule: rule.into(), value, limit: threshold }
            }
        }
    }
}
