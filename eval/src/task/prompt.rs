//! Contexts: system instruction and description, shots with their answers, and the question, as
//! lm-evaluation-harness puts them together.

use serde_json::Value;

use super::conversation::Part;
use super::shots::Drawer;
use super::{Document, Task, as_text, index, is_index};
use crate::Result;
use crate::python::is_space;
use crate::template::chat::{Ending, Role};

/// What stands before the continuation of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Context {
    /// One text for all choices.
    One(String),
    /// One text for each choice.
    Each(Vec<String>),
}

impl Task {
    /// The context of the next document.
    pub(super) fn context(&self, document: &Document, drawer: &mut Drawer<'_>) -> Result<Context> {
        let mut parts = self.instruction(document)?;
        for shot in drawer.next(document) {
            parts.extend(self.shot(&shot)?);
        }
        let prefix = self.prefix(document)?;
        let ending = if prefix.is_some() { Ending::Continued } else { Ending::Answer };
        let context = |asked: &str, delimiter: &str| {
            let question = question(asked, delimiter, prefix.as_deref());
            self.conversation.prompt(&[parts.clone(), question].concat(), ending)
        };
        if self.choices_are_contexts() {
            let choices = self.choices(document)?;
            let each = choices.iter().map(|choice| context(choice, ""));
            return Ok(Context::Each(each.collect::<Result<_>>()?));
        }
        let Value::String(asked) = self.text(document)? else {
            return Err(self.definition.error("`doc_to_text` gives no text"));
        };
        Ok(Context::One(context(&asked, &self.definition.target_delimiter)?))
    }

    /// The system's instruction and the task's description as one message, if there is either.
    fn instruction(&self, document: &Document) -> Result<Vec<Part>> {
        let system = self.conversation.system.as_deref().unwrap_or_default();
        let description = match &self.definition.description {
            None => String::new(),
            Some(template) => self.resolve(template, document)?,
        };
        let delimiter = match needs_delimiter(system, &description) {
            true => self.definition.shot_delimiter.as_str(),
            false => "",
        };
        let text = format!("{system}{delimiter}{description}");
        Ok(if text.is_empty() { Vec::new() } else { vec![Part::new(Role::System, text, "")] })
    }

    /// `gen_prefix`: how the answer begins, if it is given.
    pub(super) fn prefix(&self, document: &Document) -> Result<Option<String>> {
        let template = self.definition.prefix.as_ref();
        let prefix = template.map(|template| self.resolve(template, document)).transpose()?;
        Ok(prefix.filter(|prefix| !prefix.is_empty()))
    }

    fn resolve(&self, template: &crate::template::Template, document: &Document) -> Result<String> {
        match document.fields.get(template.source()) {
            Some(value) => Ok(as_text(value)),
            None => self.render(template, document),
        }
    }

    fn render(&self, template: &crate::template::Template, document: &Document) -> Result<String> {
        template.render(&document.context).map_err(|problem| self.definition.error(problem))
    }

    /// Question and answer of a shot.
    fn shot(&self, shot: &Document) -> Result<Vec<Part>> {
        let shots = &self.definition.shots;
        let (asked, choices) = self.shot_question(shot)?;
        let target = self.read_target(shot, &shots.target)?;
        let prefix = match &shots.prefix {
            Some(template) => Some(self.resolve(template, shot)?).filter(|p| !p.is_empty()),
            None => None,
        };
        let Some(answer) = self.answer(&target, choices)? else {
            return Ok(question(&asked, &shots.target_delimiter, prefix.as_deref()));
        };
        let is_delimited = prefix.as_ref().is_none_or(|prefix| needs_delimiter(&asked, prefix));
        let delimiter = if is_delimited { shots.target_delimiter.as_str() } else { "" };
        let prefix = prefix.unwrap_or_default();
        let space = if needs_delimiter(&prefix, &answer) { " " } else { "" };
        let answer = format!("{prefix}{space}{answer}");
        let asked = Part::new(Role::User, asked, delimiter);
        Ok(vec![asked, Part::new(Role::Assistant, answer, &shots.delimiter)])
    }

    /// The question of a shot, and the choices that its target may name.
    fn shot_question(&self, shot: &Document) -> Result<(String, Option<Vec<String>>)> {
        let shots = &self.definition.shots;
        let asked = self.read_text(shot, &shots.text)?;
        let choices = match &shots.choice {
            Some(field) => Some(self.read_choices(shot, field)?),
            None => None,
        };
        match (asked, choices) {
            (asked, Some(choices)) if self.choices_are_contexts() => {
                let right = index(&asked, choices.len()).map(|i| choices[i].clone());
                let unknown = || self.definition.error("a shot's `doc_to_text` is no choice");
                Ok((right.ok_or_else(unknown)?, None))
            }
            (Value::String(asked), choices) => Ok((asked, choices)),
            _ => Err(self.definition.error("a shot's `doc_to_text` gives no text")),
        }
    }

    /// The text of a shot's answer: the choice an index names, or the first of a list.
    fn answer(&self, target: &Value, choices: Option<Vec<String>>) -> Result<Option<String>> {
        let wrong = || self.definition.error("a shot's target is no text and no choice");
        let choices = choices.filter(|choices| !choices.is_empty());
        match (target, choices) {
            (Value::Null, _) => Ok(None),
            (Value::String(text), _) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            (target, Some(choices)) if is_index(target) => {
                let i = index(target, choices.len()).ok_or_else(wrong)?;
                Ok(Some(choices[i].clone()))
            }
            (Value::Array(several), _) => match several.first() {
                Some(Value::String(first)) => Ok(Some(first.clone())),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// The question and how its answer begins.
fn question(asked: &str, delimiter: &str, prefix: Option<&str>) -> Vec<Part> {
    let Some(prefix) = prefix else { return vec![Part::new(Role::User, asked, "")] };
    let delimiter = if needs_delimiter(asked, prefix) { delimiter } else { "" };
    vec![Part::new(Role::User, asked, delimiter), Part::new(Role::Assistant, prefix, "")]
}

/// Whether neither side has white space where they meet.
pub(super) fn needs_delimiter(before: &str, after: &str) -> bool {
    match (before.chars().last(), after.chars().next()) {
        (Some(last), Some(first)) => !is_space(last) && !is_space(first),
        _ => false,
    }
}
