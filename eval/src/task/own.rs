//! Keys of ours, under `metadata.neo`: what lm-evaluation-harness's form cannot say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// What a task file says under `metadata.neo`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// SHA-256 of each data file's unpacked bytes, by split.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// SHA-256 of the first document's requests with the task's own number of shots; of the first
    /// part's in a task that is split.
    pub prompt_sha256: Option<String>,
    /// Documents whose fields have these values; all others are left out.
    #[serde(default)]
    pub r#where: BTreeMap<String, Value>,
    /// Makes one task for each value of this field, with the file's name as their group.
    pub split_by: Option<String>,
    /// How OpenCompass asks the same question.
    pub opencompass: Option<OpenCompass>,
    /// The program that is run for each answer, as a template over the document and `completion`.
    pub program: Option<String>,
    /// What a user has to bring where the data is not neo's to give.
    pub bring: Option<String>,
    /// Rows of a split, from the first to before the second.
    #[serde(default)]
    pub rows: BTreeMap<String, [usize; 2]>,
    /// Fields that another file adds.
    pub join: Option<Join>,
    /// Score of guessing, for the report.
    pub chance: Option<f64>,
}

/// A file whose rows add their fields to the documents that have the same value in a field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The file.
    pub file: String,
    /// The field.
    pub by: String,
}

/// The task in OpenCompass's form.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenCompass {
    /// `ppl` ranks whole prompts, `gen` reads an answer out of generated text.
    pub mode: OpenCompassMode,
    /// One shot or the question, with the label's text as `label` (in `ppl`) or the answer.
    pub template: String,
    /// Shots, the first of the shots' split.
    #[serde(default)]
    pub n_shots: usize,
    /// What is done with generated text, in order.
    #[serde(default)]
    pub post: Vec<String>,
}

/// The two ways in which OpenCompass asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenCompassMode {
    /// The label whose whole prompt has the lowest mean loss.
    Ppl,
    /// Generation and post-processing.
    Gen,
}

impl Own {
    /// Reads `metadata.neo`.
    ///
    /// # Errors
    /// A key that nobody knows, or a value of the wrong kind.
    pub(super) fn new(task: &str, metadata: Option<&Value>) -> Result<Self> {
        let Some(own) = metadata.and_then(|metadata| metadata.get("neo")) else {
            return Ok(Self::default());
        };
        Self::deserialize(own).map_err(|problem| Error::Task {
            task: task.to_owned(),
            problem: format!("`metadata.neo`: {problem}"),
            hint: None,
        })
    }
}
