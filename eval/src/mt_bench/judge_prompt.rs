//! What a judge is asked about an answer.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::set::{BenchSet, Question};
use crate::{Error, Result, judge};

/// One way of asking the judge.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct JudgePrompt {
    /// Its name, `single-v1` or `pair-v2-multi-turn` for instance.
    pub name: String,
    /// `single` for a rating, `pairwise` for a choice between two answers.
    pub r#type: String,
    /// What the judge is told about its office.
    pub system_prompt: String,
    /// What it is asked, with `{field}` where questions and answers go.
    pub prompt_template: String,
}

impl JudgePrompt {
    /// The prompt with its fields filled in, in one pass, so that braces in an answer stay.
    ///
    /// # Errors
    /// The name of a field that has no text.
    pub fn filled(&self, fields: &BTreeMap<&str, &str>) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = self.prompt_template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            let text = fields.get(name).ok_or_else(|| name.to_owned())?;
            out.push_str(before);
            out.push_str(text);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl BenchSet {
    /// The judge's question about the answer of a turn (0 or 1), as FastChat puts it.
    ///
    /// # Errors
    /// A prompt with a field that there is no text for.
    pub(super) fn judge_question(
        &self,
        question: &Question,
        answers: &[String; 2],
        turn: usize,
    ) -> Result<judge::Question> {
        let prompt = self.prompt(question, turn);
        let mut fields = BTreeMap::from([
            ("question", question.turns[0].as_str()),
            ("answer", &answers[0]),
            ("question_1", &question.turns[0]),
            ("question_2", &question.turns[1]),
            ("answer_1", &answers[0]),
            ("answer_2", &answers[1]),
        ]);
        if let Some([first, second]) = self.reference(question) {
            fields.extend([("ref_answer_1", first.as_str()), ("ref_answer_2", second)]);
        }
        let user = prompt.filled(&fields).map_err(|field| {
            let name = &prompt.name;
            Error::Setting(format!("the judge's prompt `{name}` has the unknown field `{field}`"))
        })?;
        Ok(judge::Question { system: prompt.system_prompt.clone(), user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_once() {
        let prompt = JudgePrompt {
            name: "s".into(),
            r#type: "single".into(),
            system_prompt: String::new(),
            prompt_template: "Q {question}\nA {answer}.".into(),
        };
        let fields = BTreeMap::from([("question", "{answer}?"), ("answer", "f{x}")]);
        assert_eq!(prompt.filled(&fields).unwrap(), "Q {answer}?\nA f{x}.");
        assert_eq!(prompt.filled(&BTreeMap::new()), Err("question".into()));
    }
}
