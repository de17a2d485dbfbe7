//! How prompts are put to the model: lm-evaluation-harness's options on chat templates.

use std::path::Path;
use std::sync::Arc;

use neo_eval::task::{Chat, Conversation};
use neo_eval::template::chat::ChatTemplate;

/// Options of `neo eval --tasks` on conversations.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Put prompts into the chat template of the model's folder, the one of this name if it has
    /// several
    #[arg(long, value_name = "NAME", num_args = 0..=1, requires = "tasks")]
    #[arg(default_missing_value = neo_eval::template::chat::DEFAULT)]
    apply_chat_template: Option<String>,
    /// Tell the model this before everything else
    #[arg(long, value_name = "TEXT", requires = "tasks")]
    system_instruction: Option<String>,
    /// Whether shots are turns of their own in the chat template [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, requires = "apply_chat_template")]
    #[arg(default_missing_value = "true")]
    fewshot_as_multiturn: Option<bool>,
}

impl Options {
    /// Whether the tasks' own prompts are asked for.
    pub(super) fn are_plain(&self) -> bool {
        self.apply_chat_template.is_none() && self.system_instruction.is_none()
    }

    /// The conversation that they mean for the model in this folder.
    pub(super) fn conversation(&self, model: &Path) -> neo_eval::Result<Conversation> {
        let read = |name: &String| -> neo_eval::Result<Chat> {
            let template = Arc::new(ChatTemplate::read(model, name)?);
            Ok(Chat { template, multiturn: self.fewshot_as_multiturn.unwrap_or(true) })
        };
        let chat = self.apply_chat_template.as_ref().map(read).transpose()?;
        let system = self.system_instruction.clone().filter(|text| !text.is_empty());
        Ok(Conversation { system, chat })
    }
}
