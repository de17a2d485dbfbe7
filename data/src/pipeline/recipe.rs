//! The data recipe: which sources, what is done to them stage by stage, tokenized by what.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::stage::Stage;
use crate::{
    Error, Result,
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
    /// How much is worked on at a time.
    pub engine: EngineSettings,
    /// Where documents come from, read in this order.
    pub source: Vec<Source>,
    /// What is done to documents, in this order.
    #[serde(default)]
    pub stage: Vec<Stage>,
    /// Where the tokenizer comes from.
    pub tokenizer: TokenizerSource,
    /// What is written.
    pub output: Output,
}

/// How much is worked on at a time. The results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    /// Text after which a shard is closed: what a killed run loses at most, for each thread.
    pub shard_bytes: u64,
    /// Memory for comparing documents with each other; more spills to disk. Reading, judging and writing take some
    /// 100 MB beside it, and documents 8 bytes each.
    pub memory_bytes: u64,
    /// Whether the documents after every stage stay on disk, so that a change of a stage is felt from there on. If
    /// not, those of a stage go once the next has done them all: the disk holds two stages at most, and after a
    /// change all is done again from the raw files.
    #[serde(default = "keep")]
    pub keep_intermediates: bool,
}

fn keep() -> bool {
    true
}

/// Less memory than this and sorts cannot even merge what they spilled.
const LEAST_MEMORY_BYTES: u64 = 16 << 20;

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
        self.engine.validate()?;
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
        for (index, stage) in self.stage.iter().enumerate() {
            stage
                .validate()
                .map_err(|error| Error::Setting(format!("`stage.{index}`: {error}")))?;
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
        self.stage.iter_mut().for_each(|stage| stage.map_paths(&map));
    }
}

impl EngineSettings {
    fn validate(&self) -> Result<()> {
        let too_small = |key: &str, value: u64, least: u64| {
            let problem = format!("`engine.{key}` is {value}, expected at least {least}");
            if value < least { Err(Error::Setting(problem)) } else { Ok(()) }
        };
        too_small("shard_bytes", self.shard_bytes, 1)?;
        too_small("memory_bytes", self.memory_bytes, LEAST_MEMORY_BYTES)
    }
}

/// A tokenizer, or how to make it.
pub(super) enum ReadyTokenizer<'a> {
    Loaded(Box<Tokenizer>),
    ToTrain(&'a TrainerSettings),
}

impl TokenizerSource {
    /// Loads the tokenizer if it exists already.
    pub(super) fn ready(&self) -> Result<ReadyTokenizer<'_>> {
        match (&self.path, &self.train) {
            (Some(path), _) => Ok(ReadyTokenizer::Loaded(Box::new(Tokenizer::from_path(path)?))),
            (None, Some(settings)) => Ok(ReadyTokenizer::ToTrain(settings)),
            (None, None) => Err(Error::Setting("`[tokenizer]` needs `path` or `train`".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
name = "t"
[engine]
shard_bytes = 1000000
memory_bytes = 100000000
[[stage]]
kind = "filter"
rules = "basic"
[[stage]]
kind = "dedup"
method = "minhash"
scheme = "fast"
normalise = "by-language"
mode = "corrected"
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
        check_error(&RECIPE.replace("rules", "ruls"), "line 8: unknown key `stage.0.ruls`");
        check_error(&RECIPE.replace("\"filter\"", "\"filtre\""), "nearest known value is `filter`");
        check_error(
            &RECIPE.replace("\"minhash\"", "\"minhsh\""),
            "nearest known value is `minhash`",
        );
        check_error(&RECIPE.replace("scheme", "shceme"), "line 12: unknown key `stage.1.shceme`");
        let wrong_type = RECIPE.replace("\"corrected\"", "3");
        check_error(&wrong_type, "line 14: `stage.1.mode` is the whole number `3`, expected");
        let wrong_type = RECIPE.replace("rules = \"basic\"", "rules = [1]");
        check_error(&wrong_type, "line 8: `stage.0.rules` is a list, expected a string");
        let same_value = RECIPE.replace("scheme = \"fast\"", "scheme = \"minhash\"");
        check_error(&same_value, "line 12: `stage.1.scheme` is `minhash`, known: `original`");
        check_error(
            &RECIPE.replace("scheme = \"fast\"\n", ""),
            "line 9: missing key `stage.1.scheme`",
        );
        check_error(
            &RECIPE.replace("kind = \"dedup\"\n", ""),
            "line 9: missing key `stage.1.kind`",
        );
        check_error(
            &RECIPE.replace("language = \"en\"\n", ""),
            "line 19: missing key `source.0.language`",
        );
        check_error(&RECIPE.replace("100000000", "1000"), "`engine.memory_bytes` is 1000");
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
