//! The model answers: both turns of each question, in its chat template, at the temperature of the
//! question's category.

use serde_json::{Value, json};

use super::Question;
use crate::Result;
use crate::cache::AnswerCache;
use crate::evaluation::cached;
use crate::language_model::{LanguageModel, Prompt};
use crate::task::Generation;
use crate::template::chat::{ChatTemplate, Ending, Message, Role};
use neo_data::python::strip;

/// FastChat's temperature of a category.
pub fn temperature(category: &str) -> f64 {
    match category {
        "extraction" | "math" | "coding" | "reasoning" => 0.0,
        "stem" | "humanities" => 0.1,
        _ => 0.7,
    }
}

/// A model in a conversation.
pub struct Speaker<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// How it was trained to read conversations.
    pub template: &'a ChatTemplate,
    /// Most tokens of an answer.
    pub max_new: usize,
    /// All that its answers depend on beside the prompt.
    pub identity: &'a Value,
}

impl Speaker<'_> {
    /// Both answers to each question.
    ///
    /// # Errors
    /// A chat template that does not fit, a device that fails, or an answer that cannot be kept.
    pub fn answers(
        &self,
        questions: &[Question],
        cache: &mut AnswerCache,
    ) -> Result<Vec<[String; 2]>> {
        let mut answers = vec![[String::new(), String::new()]; questions.len()];
        for turn in 0..2 {
            for temperature in temperatures(questions) {
                let is_asked =
                    |i: &usize| self::temperature(&questions[*i].category) == temperature;
                let asked: Vec<usize> = (0..questions.len()).filter(is_asked).collect();
                let prompts =
                    asked.iter().map(|&i| prompt(self.template, &questions[i], &answers[i], turn));
                let prompts: Vec<String> = prompts.collect::<Result<_>>()?;
                for (i, text) in asked.iter().zip(self.write(&prompts, temperature, cache)?) {
                    answers[*i][turn] = text;
                }
            }
        }
        Ok(answers)
    }

    /// Texts that follow the prompts, without white space at their ends.
    fn write(
        &self,
        prompts: &[String],
        temperature: f64,
        cache: &mut AnswerCache,
    ) -> Result<Vec<String>> {
        let settings = Generation {
            until: Vec::new(),
            max_tokens: Some(self.max_new),
            temperature,
            top_p: 1.0,
        };
        let asked: Vec<Prompt<'_>> =
            prompts.iter().map(|context| Prompt { context, repeat: 0 }).collect();
        let key =
            |i: usize| json!(["mt_bench", self.identity, prompts[i], format!("{settings:?}")]);
        let read = |value: &Value| value.as_str().map(str::to_owned);
        let write = |answer: &String| json!(answer);
        let texts = cached(prompts.len(), cache, &key, &read, &write, |answers| {
            self.model.generate(&asked, &settings, answers)
        })?;
        Ok(texts.iter().map(|text| strip(text.as_str().unwrap_or_default()).to_owned()).collect())
    }
}

/// What the model is given before it answers a turn (0 or 1); of the answers the second is not looked
/// at.
///
/// # Errors
/// A chat template that does not fit.
pub fn prompt(
    template: &ChatTemplate,
    question: &Question,
    answers: &[String; 2],
    turn: usize,
) -> Result<String> {
    let say = |role, content: &String| Message { role, content: content.clone() };
    let mut messages = vec![say(Role::User, &question.turns[0])];
    if turn == 1 {
        messages.push(say(Role::Assistant, &answers[0]));
        messages.push(say(Role::User, &question.turns[1]));
    }
    template.render(&messages, Ending::Answer)
}

/// The temperatures that occur, lowest first.
fn temperatures(questions: &[Question]) -> Vec<f64> {
    let mut all: Vec<f64> = questions.iter().map(|q| temperature(&q.category)).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}
