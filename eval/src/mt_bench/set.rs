//! FastChat's files: questions, reference answers and the judge's prompts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::judge_prompt::JudgePrompt;
use crate::Result;
use crate::task::source::read_documents;

/// Names of the files in the folder of evaluation sets.
const QUESTIONS: &str = "mt_bench_questions.jsonl";
const REFERENCES: &str = "mt_bench_reference.jsonl";
const PROMPTS: &str = "mt_bench_judge_prompts.jsonl";

/// Categories whose answers a judge compares with a reference.
const WITH_REFERENCE: [&str; 3] = ["math", "reasoning", "coding"];

/// A question of two turns.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Question {
    /// Its number.
    #[serde(rename = "question_id")]
    pub id: u64,
    /// What it is about.
    pub category: String,
    /// What is asked first, and after the answer.
    pub turns: [String; 2],
}

/// A line of the reference answers.
#[derive(Deserialize)]
struct ReferenceLine {
    question_id: u64,
    choices: [Choice; 1],
}

#[derive(Deserialize)]
struct Choice {
    turns: [String; 2],
}

/// All that the benchmark consists of.
#[derive(Clone, Debug)]
pub struct BenchSet {
    /// The questions.
    pub questions: Vec<Question>,
    references: BTreeMap<u64, [String; 2]>,
    prompts: BTreeMap<String, JudgePrompt>,
}

impl BenchSet {
    /// Reads the files in a folder.
    ///
    /// # Errors
    /// A file that is missing or malformed, or a question without the reference or the prompt that
    /// its category needs.
    pub fn read(folder: &Path) -> Result<Self> {
        let questions: Vec<Question> = lines(&folder.join(QUESTIONS))?;
        let references = lines(&folder.join(REFERENCES))?.into_iter();
        let references = references
            .map(|ReferenceLine { question_id, choices: [choice] }| (question_id, choice.turns));
        let prompts: Vec<JudgePrompt> = lines(&folder.join(PROMPTS))?;
        let prompts = prompts.into_iter().map(|prompt| (prompt.name.clone(), prompt));
        let set = Self { questions, references: references.collect(), prompts: prompts.collect() };
        for question in &set.questions {
            let malformed = |name: &str, problem| neo_data::Error::Malformed {
                path: folder.join(name),
                problem,
            };
            if needs_reference(question) && set.reference(question).is_none() {
                let (id, category) = (question.id, &question.category);
                let problem = format!("question {id} ({category}) has no reference answer");
                return Err(malformed(REFERENCES, problem).into());
            }
            for turn in 0..question.turns.len() {
                let name = prompt_name(question, turn);
                if !set.prompts.contains_key(name) {
                    return Err(malformed(PROMPTS, format!("no prompt `{name}`")).into());
                }
            }
        }
        Ok(set)
    }

    /// The reference answers to a question, where its category has some.
    pub(super) fn reference(&self, question: &Question) -> Option<&[String; 2]> {
        self.references.get(&question.id).filter(|_| needs_reference(question))
    }

    /// How the judge is asked about the answer of this turn.
    pub(super) fn prompt(&self, question: &Question, turn: usize) -> &JudgePrompt {
        &self.prompts[prompt_name(question, turn)]
    }
}

fn needs_reference(question: &Question) -> bool {
    WITH_REFERENCE.contains(&question.category.as_str())
}

fn prompt_name(question: &Question, turn: usize) -> &'static str {
    match (needs_reference(question), turn) {
        (false, 0) => "single-v1",
        (false, _) => "single-v1-multi-turn",
        (true, 0) => "single-math-v1",
        (true, _) => "single-math-v1-multi-turn",
    }
}

/// The lines of a file as what they must be.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let malformed = |line: usize, problem: serde_json::Error| neo_data::Error::Malformed {
        path: PathBuf::from(path),
        problem: format!("line {line}: {problem}"),
    };
    let documents = read_documents(path, &BTreeMap::new())?.into_iter().enumerate();
    let read = documents.map(|(i, document)| {
        serde_json::from_value(Value::Object(document.fields))
            .map_err(|problem| malformed(i + 1, problem).into())
    });
    read.collect()
}
