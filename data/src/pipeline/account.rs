//! The books of a run: what came into every stage, what was kept, what was dropped and by which rule.
//!
//! [`StageAccount`] counts one stage and keeps a few documents to look at; accounts of shards add up, and its size
//! does not grow with the input. `account.json` is all that `neo data report` needs.

mod lengths;
mod sample;
mod stage;
mod tally;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::{
    lengths::Lengths,
    sample::{Reason, Reservoir, SAMPLE_CHARS, SAMPLE_DOCUMENTS, Sample},
    stage::StageAccount,
    tally::{KeptAndDropped, Rewritten, Tally, TokenTally},
};
use crate::{
    Language, Result,
    corpus::{CorpusManifest, Split},
    read::Limits,
    shuffle::Effort,
    write::write_file,
};

/// What became of the documents of every source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Name of the recipe.
    pub recipe: String,
    /// One entry per source, in the recipe's order.
    pub sources: Vec<SourceAccount>,
    /// What comparing documents with each other took, by stage. Everything else is the same however much memory
    /// there is.
    #[serde(default)]
    pub shuffles: Vec<Shuffled>,
}

/// What the comparisons of a stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shuffled {
    /// Number and name of the stage.
    pub stage: String,
    /// Rows compared and bytes spilled.
    #[serde(flatten)]
    pub effort: Effort,
}

/// What became of the documents of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceAccount {
    /// Name of the source.
    pub name: String,
    /// Its language.
    pub language: Language,
    /// What the source's byte limits left unread.
    pub unread: Limits,
    /// The stages in order: `read`, then `filter`, then `exact`. Long documents are cut between `read` and
    /// `filter`, so there the number of documents grows while bytes and characters stay.
    pub stages: Vec<StageAccount>,
    /// Kept documents that training may see.
    pub train: TokenTally,
    /// Kept documents that are held out.
    pub held_out: TokenTally,
}

impl SourceAccount {
    /// The languages of its documents: as they say, else as the source does.
    pub fn languages(&self) -> Vec<Language> {
        let found: Vec<Language> =
            self.stages.last().map(StageAccount::languages).into_iter().flatten().collect();
        if found.is_empty() { vec![self.language] } else { found }
    }

    /// What the last stage kept.
    pub fn kept(&self) -> Tally {
        self.stages.last().map(|stage| stage.kept).unwrap_or_default()
    }

    /// What the first stage was given.
    pub fn input(&self) -> Tally {
        self.stages.first().map(|stage| stage.input).unwrap_or_default()
    }
}

impl Account {
    /// Whether no document is left of any source.
    pub fn is_empty(&self) -> bool {
        self.sources.iter().all(|source| source.kept().documents == 0)
    }

    /// Writes `account.json` into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("account.json");
        let mut json =
            serde_json::to_vec_pretty(self).expect("numbers and strings have a JSON form");
        json.push(b'\n');
        write_file(&path, &json)?;
        Ok(path)
    }

    /// A sentence for an account in which nothing is left.
    pub fn where_everything_went(&self) -> String {
        let mut rules: BTreeMap<String, u64> = BTreeMap::new();
        for stage in self.sources.iter().flat_map(|source| &source.stages) {
            for (rule, tally) in &stage.rules {
                *rules.entry(format!("{}.{rule}", stage.stage)).or_default() += tally.documents;
            }
        }
        let n_records: u64 = self.sources.iter().map(|source| source.input().documents).sum();
        if n_records == 0 {
            return format!("no document is left of `{}`: the input holds no record", self.recipe);
        }
        let mut rules: Vec<(String, u64)> = rules.into_iter().collect();
        rules.sort_by_key(|(_, documents)| std::cmp::Reverse(*documents));
        let rules: Vec<String> = rules.iter().map(|(rule, n)| format!("{n} by `{rule}`")).collect();
        format!(
            "no document is left of `{}`: of {n_records} records were dropped {}",
            self.recipe,
            rules.join(", ")
        )
    }

    /// Enters what the corpus holds of each source.
    pub(super) fn add_tokens(&mut self, manifest: &CorpusManifest) {
        for entry in &manifest.sources {
            let source = self.sources.iter_mut().find(|source| source.name == entry.name);
            let Some(source) = source else { continue };
            let tally = match entry.split {
                Split::Train => &mut source.train,
                Split::HeldOut => &mut source.held_out,
            };
            tally.documents += entry.documents;
            tally.bytes += entry.utf8_bytes;
            tally.tokens += entry.tokens;
        }
    }
}
