//! MT-Bench: what a judge is asked about answers, and what its reply says.
//!
//! Templates and questions are FastChat's files; who judges and how it is reached is the caller's.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::python::regex::{Found, Pattern};
use crate::task::source::read_documents;

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

/// Which of two answers a judge prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither.
    Tie,
}

/// Reads the judge's prompts, by name.
///
/// # Errors
/// A file that is missing or malformed.
pub fn judge_prompts(path: &Path) -> Result<BTreeMap<String, JudgePrompt>> {
    let read = |fields| {
        serde_json::from_value::<JudgePrompt>(Value::Object(fields)).map_err(|problem| {
            neo_data::Error::Malformed { path: path.to_owned(), problem: problem.to_string() }
        })
    };
    let mut prompts = BTreeMap::new();
    for document in read_documents(path, &BTreeMap::new())? {
        let prompt = read(document.fields)?;
        prompts.insert(prompt.name.clone(), prompt);
    }
    Ok(prompts)
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

/// The rating of a reply: a number in two brackets, or else in one.
pub fn rating(reply: &str) -> Option<f64> {
    [r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]"].iter().find_map(|pattern| {
        let found = Pattern::new(pattern).ok()?.find_all(reply).ok()?;
        match found.first() {
            Some(Found::Text(number)) => number.parse().ok(),
            _ => None,
        }
    })
}

/// The verdict of a reply, in the order in which FastChat looks for it.
pub fn verdict(reply: &str) -> Option<Verdict> {
    let marks = [("[[A]]", Verdict::First), ("[[B]]", Verdict::Second), ("[[C]]", Verdict::Tie)];
    marks.into_iter().find(|(mark, _)| reply.contains(mark)).map(|(_, verdict)| verdict)
}

/// What two verdicts come to when the answers changed places for the second: a preference counts
/// only when both agree.
pub fn agreed(first: Option<Verdict>, swapped: Option<Verdict>) -> Option<Verdict> {
    let swapped = swapped.map(|verdict| match verdict {
        Verdict::First => Verdict::Second,
        Verdict::Second => Verdict::First,
        Verdict::Tie => Verdict::Tie,
    });
    match (first, swapped) {
        (Some(a), Some(b)) => Some(if a == b { a } else { Verdict::Tie }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_fastchat_reads_them() {
        assert_eq!(rating("Good. Rating: [[7.5]]"), Some(7.5));
        assert_eq!(rating("Rating: [8], not [[x]]"), Some(8.0));
        assert_eq!(rating("Rating: 8"), None);
        assert_eq!(verdict("so [[B]]"), Some(Verdict::Second));
        assert_eq!(verdict("[[C]] or [[A]]"), Some(Verdict::First));
        assert_eq!(verdict("B"), None);
        assert_eq!(agreed(verdict("[[A]]"), verdict("[[B]]")), Some(Verdict::First));
        assert_eq!(agreed(verdict("[[A]]"), verdict("[[A]]")), Some(Verdict::Tie));
        assert_eq!(agreed(None, verdict("[[A]]")), None);
    }

    #[test]
    fn fields_are_filled_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        let line = r#"{"name": "s", "type": "single", "system_prompt": "", "prompt_template": "Q {question}\nA {answer}."}"#;
        fs_err::write(&path, line).unwrap();
        let prompts = judge_prompts(&path).unwrap();
        let fields = BTreeMap::from([("question", "{answer}?"), ("answer", "f{x}")]);
        assert_eq!(prompts["s"].filled(&fields).unwrap(), "Q {answer}?\nA f{x}.");
        assert_eq!(prompts["s"].filled(&BTreeMap::new()), Err("question".into()));
    }
}
