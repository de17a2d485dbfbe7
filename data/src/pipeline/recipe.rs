//! The data recipe: which sources, cleaned how, tokenized by what.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::CleanSettings;
use crate::{
    Error, Result,
    filter::{Mode, RuleSet, RuleSource},
    read::Source,
    tokenizer::{Tokenizer, TrainerSettings},
    toml_file,
    write::FileFormat,
};

/// A data recipe; its TOML keys are these fields. Paths are relative to the working directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the corpus is called.
    pub name: String,
    /// What is done to documents.
    pub clean: Clean,
    /// Where the tokenizer comes from.
    pub tokenizer: TokenizerSource,
    /// What is written.
    pub output: Output,
    /// Where documents come from, read in this order: of equal texts the first is kept.
    pub source: Vec<Source>,
}

/// How documents are cleaned.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clean {
    /// `none`, the name of a rule set (see [`RuleSet::read`]), or the path of a rule file.
    pub rules: String,
    /// Whether a published filter is followed to the letter; unset, as it was meant, or as
    /// a rule file given by path says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Folder of word lists and models that the rules look things up in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<PathBuf>,
    /// Which copies are removed.
    pub dedup: Dedup,
}

/// Which copies are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dedup {
    /// None.
    None,
    /// Documents whose texts are equal up to whitespace, across all sources: what `neo data dedup words` drops,
    /// not what its `exact` does.
    Exact,
}

/// Where the tokenizer comes from: one of the two keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSource {
    /// A SentencePiece `.model`, a `tokenizer.json`, or a folder with one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Trained on the training documents of this recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainerSettings>,
}

/// What is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Form of the document files.
    pub format: FileFormat,
}

impl Recipe {
    /// Reads a recipe with `key.sub=value` overrides.
    ///
    /// # Errors
    /// The file cannot be read, is no recipe, or makes no sense.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let (recipe, _) = toml_file::read::<Self>(path, overrides)?;
        recipe.validate().map_err(|error| Error::Malformed {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        Ok(recipe)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn validate(&self) -> Result<()> {
        if self.source.is_empty() {
            return Err(Error::Setting("no `[[source]]`, expected at least one".to_owned()));
        }
        let mut names = HashSet::new();
        for source in &self.source {
            source.validate()?;
            if !names.insert(&source.name) {
                return Err(Error::Setting(format!("two sources are named `{}`", source.name)));
            }
        }
        if self.tokenizer.path.is_some() == self.tokenizer.train.is_some() {
            return Err(Error::Setting("`[tokenizer]` needs either `path` or `train`".to_owned()));
        }
        Ok(())
    }

    /// Applies a function to every path of the recipe, such as the expansion of `~`.
    pub fn map_paths(&mut self, map: impl Fn(&str) -> String) {
        let map_path = |path: &mut PathBuf| *path = PathBuf::from(map(&path.to_string_lossy()));
        for source in &mut self.source {
            source.input.iter_mut().for_each(|input| *input = map(input));
            source.lock_file.iter_mut().for_each(map_path);
        }
        self.tokenizer.path.iter_mut().for_each(map_path);
        self.clean.rules = map(&self.clean.rules);
        self.clean.assets.iter_mut().for_each(map_path);
    }
}

impl Clean {
    pub(super) fn settings(&self, format: FileFormat) -> Result<CleanSettings> {
        let rules = RuleSet::read(RuleSource {
            name: &self.rules,
            mode: self.mode,
            assets: self.assets.as_deref(),
        })?;
        Ok(CleanSettings { rules, dedup: self.dedup, format })
    }
}

/// A tokenizer, or how to make it.
pub(super) enum Ready<'a> {
    Loaded(Box<Tokenizer>),
    ToTrain(&'a TrainerSettings),
}

impl TokenizerSource {
    /// Loads the tokenizer if it exists already.
    pub(super) fn ready(&self) -> Result<Ready<'_>> {
        match (&self.path, &self.train) {
            (Some(path), _) => Ok(Ready::Loaded(Box::new(Tokenizer::from_path(path)?))),
            (None, Some(settings)) => Ok(Ready::ToTrain(settings)),
            (None, None) => Err(Error::Setting("`[tokenizer]` needs `path` or `train`".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
name = "t"
[clean]
rules = "basic"
dedup = "exact"
[tokenizer]
path = "t.model"
[output]
format = "parquet"
[[source]]
name = "a"
language = "en"
input = ["x.jsonl"]
format = "jsonl"
"#;

    fn parse(text: &str) -> Result<Recipe> {
        let (recipe, _) = toml_file::parse::<Recipe>(Path::new("r.toml"), text, &[])?;
        recipe.validate()?;
        Ok(recipe)
    }

    fn check_error(text: &str, expected: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_recipe_comes_back_from_its_written_form() {
        let recipe = parse(RECIPE).unwrap();
        let written = toml_file::to_string(&recipe).unwrap();
        assert_eq!(toml_file::to_string(&parse(&written).unwrap()).unwrap(), written);
    }

    #[test]
    fn mistakes_are_named() {
        check_error(&RECIPE.replace("input", "inputs"), "unknown key `source.0.inputs`");
        check_error(&RECIPE.replace("\"exact\"", "\"exakt\""), "`exact`");
        check_error(&RECIPE.replace("path = \"t.model\"", ""), "needs either `path` or `train`");
        check_error(
            &RECIPE.replace("name = \"a\"", "name = \"a/b\""),
            "source `a/b`: the name must be",
        );
        check_error(&RECIPE.replace("[\"x.jsonl\"]", "[]"), "`input` is empty");
        let twice = format!("{RECIPE}{}", &RECIPE[RECIPE.find("[[source]]").unwrap()..]);
        check_error(&twice, "two sources are named `a`");
    }
}
