//! What a prompt is made of, as a conversation: messages, and how they become the one text that the
//! model is given.
//!
//! Without a chat template the messages are joined by the delimiters between them; with one they are
//! turns, or one turn of the user in which they are joined.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::source::hex;
use crate::Result;
use crate::template::chat::{ChatTemplate, Ending, Message, Role};

/// How prompts are put to a model, beside what the task says.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// What the model is told before everything else.
    pub system: Option<String>,
    /// The model's own form of a conversation; plain text without it.
    pub chat: Option<Chat>,
}

/// A chat template and how shots are put into it.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The template.
    pub template: Arc<ChatTemplate>,
    /// Whether shots are turns of their own instead of a part of the question.
    pub multiturn: bool,
}

/// A message and what separates it from the next one in plain text.
#[derive(Clone, Debug)]
pub(super) struct Part {
    message: Message,
    delimiter: String,
}

impl Part {
    pub(super) fn new(role: Role, content: impl Into<String>, delimiter: &str) -> Self {
        let message = Message { role, content: content.into() };
        Self { message, delimiter: delimiter.to_owned() }
    }
}

impl Conversation {
    /// Whether prompts are those that the task alone describes.
    pub fn is_plain(&self) -> bool {
        self.system.is_none() && self.chat.is_none()
    }

    /// The keys that lm-evaluation-harness's results have for it.
    pub fn described(&self) -> Map<String, Value> {
        let sha256 = |text: &str| hex(&Sha256::digest(text));
        let system = self.system.as_deref();
        let template = self.chat.as_ref().map(|chat| chat.template.source());
        let keys = [
            ("system_instruction", json!(system)),
            ("system_instruction_sha", json!(system.map(sha256))),
            ("fewshot_as_multiturn", json!(self.chat.as_ref().map(|chat| chat.multiturn))),
            ("chat_template", json!(template)),
            ("chat_template_sha", json!(template.map(sha256))),
        ];
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The prompt that the parts come to.
    ///
    /// # Errors
    /// A chat template that does not fit them.
    pub(super) fn prompt(&self, parts: &[Part], ending: Ending) -> Result<String> {
        let Some(Chat { template, multiturn }) = &self.chat else {
            return Ok(joined(parts));
        };
        if *multiturn {
            let messages: Vec<Message> = parts.iter().map(|part| part.message.clone()).collect();
            return template.render(&messages, ending);
        }
        template.render(&single_turn(parts), ending)
    }
}

fn joined(parts: &[Part]) -> String {
    parts.iter().flat_map(|part| [part.message.content.as_str(), &part.delimiter]).collect()
}

/// The system's message, everything else as one question, and how the answer begins if it is given.
fn single_turn(parts: &[Part]) -> Vec<Message> {
    let is = |part: Option<&Part>, role| part.is_some_and(|part| part.message.role == role);
    let n_system = usize::from(is(parts.first(), Role::System));
    let n_answer = usize::from(is(parts.last(), Role::Assistant));
    let (system, rest) = parts.split_at(n_system);
    let (asked, answer) = rest.split_at(rest.len() - n_answer);
    let mut content = joined(asked);
    if let Some(last) = asked.last() {
        content.truncate(content.len() - last.delimiter.len());
    }
    let question = Message { role: Role::User, content };
    let message = |part: &Part| part.message.clone();
    system.iter().map(message).chain([question]).chain(answer.iter().map(message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shots_become_part_of_the_question() {
        let parts = [
            Part::new(Role::System, "rules", ""),
            Part::new(Role::User, "1+1?", " "),
            Part::new(Role::Assistant, "2", "\n\n"),
            Part::new(Role::User, "1+2?", " "),
            Part::new(Role::Assistant, "It is", ""),
        ];
        assert_eq!(joined(&parts), "rules1+1? 2\n\n1+2? It is");
        let said: Vec<(Role, String)> =
            single_turn(&parts).into_iter().map(|m| (m.role, m.content)).collect();
        let expected =
            [(Role::System, "rules"), (Role::User, "1+1? 2\n\n1+2?"), (Role::Assistant, "It is")];
        assert_eq!(said, expected.map(|(role, text)| (role, text.to_owned())));
        let question = single_turn(&parts[3..4]);
        assert_eq!(question, [Message { role: Role::User, content: "1+2?".into() }]);
    }
}
