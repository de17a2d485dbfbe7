//! Contexts: description, shots with their answers, and the question, joined as
//! lm-evaluation-harness joins them without a chat template.

use serde_json::Value;

use super::shots::Drawer;
use super::{Document, Task, as_text, index, is_index};
use crate::Result;
use crate::python::is_space;

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
        let mut text = self.description(document)?;
        for shot in drawer.next(document) {
            self.append_shot(&shot, &mut text)?;
        }
        let prefix = self.prefix(document)?;
        if self.choices_are_contexts() {
            let choices = self.choices(document)?;
            let each = choices
                .iter()
                .map(|choice| format!("{text}{}", question(choice, "", prefix.as_deref())));
            return Ok(Context::Each(each.collect()));
        }
        let Value::String(asked) = self.text(document)? else {
            return Err(self.definition.error("`doc_to_text` gives no text"));
        };
        text.push_str(&question(&asked, &self.definition.target_delimiter, prefix.as_deref()));
        Ok(Context::One(text))
    }

    fn description(&self, document: &Document) -> Result<String> {
        match &self.definition.description {
            None => Ok(String::new()),
            Some(template) => match document.fields.get(template.source()) {
                Some(value) => Ok(as_text(value)),
                None => self.render(template, document),
            },
        }
    }

    /// `gen_prefix`: how the answer begins.
    pub(super) fn prefix(&self, document: &Document) -> Result<Option<String>> {
        let template = self.definition.prefix.as_ref();
        template.map(|template| self.resolve(template, document)).transpose()
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

    /// Question, delimiter, answer, delimiter.
    fn append_shot(&self, shot: &Document, text: &mut String) -> Result<()> {
        let shots = &self.definition.shots;
        let asked = self.read_text(shot, &shots.text)?;
        let choices = match &shots.choice {
            Some(field) => Some(self.read_choices(shot, field)?),
            None => None,
        };
        let target = self.read_target(shot, &shots.target)?;
        let prefix = match &shots.prefix {
            Some(template) => Some(self.resolve(template, shot)?).filter(|p| !p.is_empty()),
            None => None,
        };
        let (asked, choices) = match (asked, choices) {
            (asked, Some(choices)) if self.choices_are_contexts() => {
                let right = index(&asked, choices.len()).map(|i| choices[i].clone());
                let unknown = || self.definition.error("a shot's `doc_to_text` is no choice");
                (right.ok_or_else(unknown)?, None)
            }
            (Value::String(asked), choices) => (asked, choices),
            _ => return Err(self.definition.error("a shot's `doc_to_text` gives no text")),
        };
        let delimiter = &shots.target_delimiter;
        text.push_str(&asked);
        match self.answer(&target, choices)? {
            Some(answer) => {
                let delimited = match &prefix {
                    None => true,
                    Some(prefix) => needs_delimiter(&asked, prefix),
                };
                if delimited {
                    text.push_str(delimiter);
                }
                let prefix = prefix.unwrap_or_default();
                text.push_str(&prefix);
                if needs_delimiter(&prefix, &answer) {
                    text.push(' ');
                }
                text.push_str(&answer);
                text.push_str(&shots.delimiter);
            }
            None => {
                if let Some(prefix) = prefix {
                    if needs_delimiter(&asked, &prefix) {
                        text.push_str(delimiter);
                    }
                    text.push_str(&prefix);
                }
            }
        }
        Ok(())
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
fn question(asked: &str, delimiter: &str, prefix: Option<&str>) -> String {
    match prefix.filter(|prefix| !prefix.is_empty()) {
        Some(prefix) if needs_delimiter(asked, prefix) => format!("{asked}{delimiter}{prefix}"),
        Some(prefix) => format!("{asked}{prefix}"),
        None => asked.to_owned(),
    }
}

/// Whether neither side has white space where they meet.
pub(super) fn needs_delimiter(before: &str, after: &str) -> bool {
    match (before.chars().last(), after.chars().next()) {
        (Some(last), Some(first)) => !is_space(last) && !is_space(first),
        _ => false,
    }
}
