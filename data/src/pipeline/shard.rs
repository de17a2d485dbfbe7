//! What goes from stage to stage: shards of documents, and what was counted on the way.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Limits, Shuffled, SourceAccount, StageAccount};
use crate::{
    Error, Language, Result,
    engine::{Fingerprint, Publication, Unit, Work, spend},
    read::{Format, Source},
    write::FileFormat,
};

/// Where stages work and what they share.
pub(super) struct Place<'a> {
    /// Their units.
    pub(super) work: &'a Work<'a>,
    /// Text after which a shard is closed.
    pub(super) shard_bytes: u64,
    /// Memory for comparing documents.
    pub(super) memory_bytes: usize,
    /// Whether documents that were worked on stay.
    pub(super) keeps_intermediates: bool,
    /// Form of the document files.
    pub(super) format: FileFormat,
}

/// Some documents of a source in one file.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    /// Place of its source in the recipe.
    pub(super) source: usize,
    /// Its name: that of the source and its number there.
    pub(super) name: String,
    /// How it is read, where it is still there.
    input: Source,
    /// The engine's file that it is, if it is one.
    file: Option<PathBuf>,
    /// What is in its file.
    pub(super) content: Fingerprint,
    /// Number of documents.
    pub(super) documents: u64,
    /// Bytes of their texts.
    pub(super) bytes: u64,
    /// Bytes of the file.
    pub(super) file_bytes: u64,
    /// The file under the name that users look for, where it is the engine's own.
    pub(super) publication: Option<Publication>,
}

/// What is noted with a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ShardRecord {
    pub(super) documents: u64,
    pub(super) bytes: u64,
    pub(super) account: StageAccount,
}

/// All documents after a stage.
pub(super) struct Flow {
    /// In the order of the recipe's sources, then in reading order.
    pub(super) shards: Vec<Shard>,
    /// One a source.
    pub(super) accounts: Vec<SourceAccount>,
    /// What comparing took, by stage.
    pub(super) shuffles: Vec<Shuffled>,
    /// What was left out or changed, for readers.
    pub(super) leavings: Vec<Publication>,
}

impl Shard {
    /// The shard in a unit's file `kept`.
    pub(super) fn of<T>(
        unit: &Unit<T>,
        source: usize,
        name: &str,
        format: FileFormat,
        record: &ShardRecord,
    ) -> Self {
        let file = format!("kept.{}", format.extension());
        let path = unit.path(&file);
        Self {
            source,
            name: name.to_owned(),
            input: document_file(&path),
            file: Some(path),
            content: unit.checksum(&file),
            documents: record.documents,
            bytes: record.bytes,
            file_bytes: unit.n_bytes(&file),
            publication: Some(Publication::of(
                unit,
                &file,
                format!("documents/{name}.{}", format.extension()),
            )),
        }
    }
}

impl Shard {
    /// A source of raw files as one shard.
    pub(super) fn whole(input: Source, content: Fingerprint, file_bytes: u64) -> Self {
        Self {
            source: 0,
            name: input.name.clone(),
            input,
            file: None,
            content,
            documents: 0,
            bytes: 0,
            file_bytes,
            publication: None,
        }
    }

    /// The documents, to be read.
    ///
    /// # Errors
    /// They were removed, since the stage that needed them was done.
    pub(super) fn input(&self) -> Result<&Source> {
        match &self.file {
            Some(path) if !path.exists() => Err(Error::Spent { path: path.clone() }),
            _ => Ok(&self.input),
        }
    }

    /// Removes the documents, which no stage needs any more; what was noted of them stays.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn spend(&self) -> Result<()> {
        self.file.as_deref().map_or(Ok(()), spend)
    }
}

impl Flow {
    /// Enters the account of a shard after the stages that went before.
    pub(super) fn enter(&mut self, source: usize, stage: usize, account: StageAccount) {
        let stages = &mut self.accounts[source].stages;
        match stages.get_mut(stage) {
            Some(so_far) => *so_far += account,
            None => stages.push(account),
        }
    }

    /// Notes the files of a unit that tell what was left out or changed.
    pub(super) fn leave<T>(
        &mut self,
        unit: &Unit<T>,
        label: &str,
        shard: &str,
        account: &StageAccount,
        format: FileFormat,
    ) {
        let extension = format.extension();
        let mut rules = account.rules.values();
        // Of a rule that cuts parts out, no document is counted as dropped.
        for (what, is_there) in [
            ("dropped", rules.clone().any(|tally| tally.documents > 0)),
            ("changed", rules.any(|tally| tally.documents == 0)),
        ] {
            if is_there {
                let name = format!("{what}/{label}/{shard}.{extension}");
                self.leavings.push(Publication::of(unit, &format!("{what}.{extension}"), name));
            }
        }
    }

    /// Bytes of all shards' files.
    pub(super) fn file_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.file_bytes).sum()
    }
}

/// A file of documents as something to read.
pub(super) fn document_file(path: &Path) -> Source {
    let path = path.to_string_lossy().into_owned();
    let format = Format::of_path(&path);
    Source::new("documents", Language::Other, vec![path], format)
}

/// The account of a source of which nothing was counted yet.
pub(super) fn empty_account(source: &Source) -> SourceAccount {
    SourceAccount {
        name: source.name.clone(),
        language: source.language,
        unread: Limits::default(),
        stages: Vec::new(),
        train: Default::default(),
        held_out: Default::default(),
    }
}
