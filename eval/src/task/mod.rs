//! A task: settings and documents together, ready to build requests.
//!
//! `yaml` reads the file, `definition` validates it, `source` reads its data, `prompt` turns
//! documents into messages with shots, `conversation` these into one text, `request` that into what
//! the model is asked, `gold` into the right answer; `library` finds tasks and groups by name.

mod built_in;
mod conversation;
pub mod definition;
mod gold;
pub mod library;
pub mod own;
mod prompt;
mod request;
pub mod shots;
pub mod source;
pub mod yaml;

use std::sync::Arc;

use serde_json::Value;

pub use self::conversation::{Chat, Conversation};
pub use self::definition::{Definition, Generation, Output};
pub use self::gold::Gold;
pub use self::request::{Asked, Request, prompt_sha256, requests_sha256};
pub use self::source::{Document, Splits};

use self::definition::Field;
use self::shots::Sampler;
use crate::python::{literal::literal_eval, value};
use crate::{Error, Result};

/// Seed of the shots, unless the caller says otherwise: that program's.
pub const SHOT_SEED: u64 = 1234;

/// Settings and documents.
#[derive(Clone, Debug)]
pub struct Task {
    /// The settings.
    pub definition: Definition,
    /// What is asked.
    pub documents: Arc<Vec<Document>>,
    /// Shots put before each question.
    pub n_shots: usize,
    /// How prompts are put to the model.
    pub conversation: Conversation,
    sampler: Sampler,
    first_shots: Vec<Document>,
    /// Whether the choices are contexts and the target is the continuation.
    choices_are_contexts: bool,
    /// Whether the first document's target is a list.
    has_several_targets: bool,
}

impl Task {
    /// Joins settings and documents; `n_shots` overrides the task's own number.
    ///
    /// # Errors
    /// A split that is missing or empty, shots asked of a task that has none, or a first document
    /// that the templates do not fit.
    pub fn new(definition: Definition, splits: &Splits, n_shots: Option<usize>) -> Result<Self> {
        let split = definition.eval_split().ok_or_else(|| {
            definition.error("neither `test_split` nor `validation_split` is set")
        })?;
        let documents = split_of(&definition, splits, split)?;
        let n_shots = n_shots.or(definition.n_shots).unwrap_or(0);
        let sampler = Sampler::new(&definition, splits, n_shots, SHOT_SEED)?;
        let n_first = definition.own.opencompass.as_ref().map_or(0, |form| form.n_shots);
        let first_shots = Sampler::first(&definition, splits, n_first)?;
        let mut task = Self {
            definition,
            documents,
            n_shots,
            conversation: Conversation::default(),
            sampler,
            first_shots,
            choices_are_contexts: false,
            has_several_targets: false,
        };
        task.look_at_the_first()?;
        Ok(task)
    }

    /// Learns from the first document what kinds of values its templates give.
    fn look_at_the_first(&mut self) -> Result<()> {
        let documents = self.documents.clone();
        let Some(first) = documents.first() else {
            return Err(self.definition.error("its split has no documents"));
        };
        let text = self.text(first)?;
        let target = self.target(first)?;
        if self.definition.choice.is_some() {
            let choices = self.choices(first)?;
            self.choices_are_contexts = is_index(&text) && !choices.is_empty();
        }
        self.has_several_targets = matches!(&target, Value::Array(several) if !several.is_empty());
        Ok(())
    }

    /// The first shots, which OpenCompass's form uses for every document.
    pub fn first_shots(&self) -> &[Document] {
        &self.first_shots
    }

    /// `doc_to_text`: a text, or the index of the right context.
    ///
    /// # Errors
    /// A template that does not fit the document.
    pub fn text(&self, document: &Document) -> Result<Value> {
        self.read_text(document, &self.definition.text)
    }

    /// `doc_to_target`: a text, an index, or a list of targets.
    ///
    /// # Errors
    /// A template that does not fit the document.
    pub fn target(&self, document: &Document) -> Result<Value> {
        self.read_target(document, &self.definition.target)
    }

    /// `doc_to_choice`.
    ///
    /// # Errors
    /// A template that does not fit the document, or that gives no list of texts.
    pub fn choices(&self, document: &Document) -> Result<Vec<String>> {
        match &self.definition.choice {
            Some(field) => self.read_choices(document, field),
            None => Err(self.definition.error("`doc_to_choice` is not set")),
        }
    }

    /// Whether choices stand in the context and the continuation is the same for all.
    pub fn choices_are_contexts(&self) -> bool {
        self.choices_are_contexts
    }

    /// Whether any of several targets counts as right.
    pub fn has_several_targets(&self) -> bool {
        self.has_several_targets
    }

    fn read_text(&self, document: &Document, field: &Field) -> Result<Value> {
        match self.evaluate(document, field)? {
            Evaluated::Raw(value) => Ok(value),
            Evaluated::Printed(text) => Ok(self.as_index(&text).unwrap_or(Value::String(text))),
        }
    }

    fn read_target(&self, document: &Document, field: &Field) -> Result<Value> {
        match self.evaluate(document, field)? {
            Evaluated::Raw(value) => Ok(value),
            Evaluated::Printed(text) => {
                if let Some(index) = self.as_index(&text) {
                    return Ok(index);
                }
                let is_list = text.len() >= 2 && text.starts_with('[') && text.ends_with(']');
                let list = if is_list { literal_eval(&text) } else { None };
                Ok(list.unwrap_or(Value::String(text)))
            }
        }
    }

    fn read_choices(&self, document: &Document, field: &Field) -> Result<Vec<String>> {
        let value = match self.evaluate(document, field)? {
            Evaluated::Raw(value) => Some(value),
            Evaluated::Printed(text) => literal_eval(&text),
        };
        let texts = |items: Vec<Value>| {
            let text = |item| match item {
                Value::String(text) => Some(text),
                _ => None,
            };
            items.into_iter().map(text).collect::<Option<Vec<String>>>()
        };
        let choices = match value {
            Some(Value::Array(items)) => texts(items),
            _ => None,
        };
        choices.ok_or_else(|| self.definition.error("`doc_to_choice` gives no list of texts"))
    }

    /// Digits stand for an index where the task has choices.
    fn as_index(&self, text: &str) -> Option<Value> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits && self.definition.choice.is_some() { literal_eval(text) } else { None }
    }

    fn evaluate(&self, document: &Document, field: &Field) -> Result<Evaluated> {
        match field {
            Field::Value(value) => Ok(Evaluated::Raw(value.clone())),
            Field::Template(template) => match document.fields.get(template.source()) {
                Some(value) => Ok(Evaluated::Raw(value.clone())),
                None => {
                    let printed = template.render(&document.context);
                    printed
                        .map(Evaluated::Printed)
                        .map_err(|problem| self.definition.error(problem))
                }
            },
        }
    }
}

/// What a field gave: a value of the document, or printed text.
enum Evaluated {
    Raw(Value),
    Printed(String),
}

/// Whether a value is an `int` of Python's, which `bool` is too.
pub(crate) fn is_index(value: &Value) -> bool {
    value.is_boolean() || value.is_i64() || value.is_u64()
}

/// A value as an index into `n` items, counted from the end when negative.
pub(crate) fn index(value: &Value, n: usize) -> Option<usize> {
    let index = match value {
        Value::Bool(yes) => i64::from(*yes),
        other => other.as_i64()?,
    };
    let index = if index < 0 { index + n as i64 } else { index };
    usize::try_from(index).ok().filter(|&index| index < n)
}

/// A target as the text that a prompt or a comparison uses.
pub(crate) fn as_text(value: &Value) -> String {
    value::str(value)
}

fn split_of(task: &Definition, splits: &Splits, name: &str) -> Result<Arc<Vec<Document>>> {
    splits.get(name).cloned().ok_or_else(|| Error::Task {
        task: task.task.clone(),
        problem: format!("the split `{name}` has no data file"),
        hint: Some(format!("name it in `dataset_kwargs: {{data_files: {{{name}: FILE.jsonl}}}}`")),
    })
}
