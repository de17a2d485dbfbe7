//! Tasks as OpenCompass asks them: whole prompts ranked by their mean loss, or an answer read out of
//! generated text.
//!
//! By design its numbers differ from lm-evaluation-harness's on the same model; both are reported
//! under their names and never in one table.

use std::sync::Arc;

use serde_json::Value;

use crate::cache::AnswerCache;
use crate::evaluation::{Measure, Outcome, Sample, Settings};
use crate::language_model::{Answers, LanguageModel, Prompt, WholeText};
use crate::metric::{Aggregation, Score, error};
use crate::python::regex::{Found, Pattern};
use crate::task::own::{OpenCompass, OpenCompassMode};
use crate::task::{Document, Generation, Request, Task};
use crate::template::Template;
use crate::{Error, Result};
use neo_data::python::{is_punctuation, lower, strip};

/// Most tokens that are written in `gen` mode.
const MAX_TOKENS: usize = 512;

/// Evaluates one task in OpenCompass's form.
///
/// # Errors
/// A task without that form, templates that do not fit, or a device that fails.
pub fn evaluate(
    task: &Task,
    model: &dyn LanguageModel,
    settings: Settings,
    cache: &mut AnswerCache,
) -> Result<Outcome> {
    let Some(form) = &task.definition.own.opencompass else {
        return Err(Error::Task {
            task: task.definition.task.clone(),
            problem: "its file has no OpenCompass form".into(),
            hint: Some("add `metadata.neo.opencompass`, or use `--mode harness`".into()),
        });
    };
    let asking = Asking::new(task, form)?;
    let documents: Vec<&Document> =
        task.documents.iter().take(settings.limit.unwrap_or(usize::MAX)).collect();
    let samples = match form.mode {
        OpenCompassMode::Ppl => asking.rank(&documents, model, cache)?,
        OpenCompassMode::Gen => asking.read(&documents, model, cache)?,
    };
    let scores: Vec<Score> = samples.iter().map(|sample| sample.scores[0].1.clone()).collect();
    let value = Aggregation::Mean.of(&scores);
    let error = error::standard_error(Aggregation::Mean, &scores, settings.bootstrap_draws);
    let measure = Measure {
        metric: "accuracy".into(),
        filter: match form.mode {
            OpenCompassMode::Ppl => "ppl".into(),
            OpenCompassMode::Gen => "gen".into(),
        },
        value,
        error,
        interval: error::interval(Aggregation::Mean, &scores, value, error),
        n: scores.len(),
        higher_is_better: true,
    };
    let requests: Vec<crate::task::Asked> = samples
        .iter()
        .map(|s| crate::task::Asked { doc_id: s.doc_id, requests: s.requests.clone() })
        .collect();
    let requests_sha256 = crate::task::requests_sha256(&requests);
    Ok(Outcome { measures: vec![measure], n_documents: samples.len(), samples, requests_sha256 })
}

/// A task with its compiled form.
struct Asking<'a> {
    task: &'a Task,
    form: &'a OpenCompass,
    template: Template,
    shots: Vec<String>,
}

impl<'a> Asking<'a> {
    fn new(task: &'a Task, form: &'a OpenCompass) -> Result<Self> {
        let template =
            Template::new(&form.template).map_err(|problem| task.definition.error(problem))?;
        let mut asking = Self { task, form, template, shots: Vec::new() };
        asking.shots =
            task.first_shots().iter().map(|shot| asking.shot(shot)).collect::<Result<_>>()?;
        Ok(asking)
    }

    /// The template with a document's fields and a label.
    fn render(&self, document: &Document, label: &str) -> Result<String> {
        let mut fields = document.fields.clone();
        fields.insert("label".into(), label.into());
        let document = Document::new(fields);
        self.template
            .render(&document.context)
            .map_err(|problem| self.task.definition.error(problem))
    }

    fn shot(&self, document: &Document) -> Result<String> {
        let right = self.right(document)?;
        self.render(document, &right)
    }

    /// The text of the right answer.
    fn right(&self, document: &Document) -> Result<String> {
        let target = match self.task.choices_are_contexts() {
            true => self.task.text(document)?,
            false => self.task.target(document)?,
        };
        if self.task.definition.choice.is_some() {
            let choices = self.task.choices(document)?;
            let place = crate::task::index(&target, choices.len());
            let missing = || self.task.definition.error("the right answer is none of the choices");
            return Ok(choices[place.ok_or_else(missing)?].clone());
        }
        Ok(match target {
            Value::Array(several) => several.first().map(crate::task::as_text).unwrap_or_default(),
            one => crate::task::as_text(&one),
        })
    }

    /// The label whose whole prompt has the lowest mean loss, the first of equals.
    fn rank(
        &self,
        documents: &[&Document],
        model: &dyn LanguageModel,
        cache: &mut AnswerCache,
    ) -> Result<Vec<Sample>> {
        let choices: Vec<Vec<String>> =
            documents.iter().map(|document| self.task.choices(document)).collect::<Result<_>>()?;
        let shots: Arc<Vec<String>> = Arc::new(self.shots.clone());
        let mut texts = Vec::new();
        for (document, labels) in documents.iter().zip(&choices) {
            for label in labels {
                texts.push(WholeText {
                    shots: shots.clone(),
                    question: self.render(document, label)?,
                });
            }
        }
        let losses = mean_losses(&texts, model, cache)?;
        let mut rest = losses.iter().zip(&texts);
        let mut samples = Vec::new();
        for (doc_id, labels) in choices.iter().enumerate() {
            let (losses, asked): (Vec<f64>, Vec<&WholeText>) =
                rest.by_ref().take(labels.len()).unzip();
            let best = (0..losses.len())
                .fold(0, |best, i| if losses[i] < losses[best] { i } else { best });
            let is_right = labels[best] == self.right(documents[doc_id])?;
            samples.push(Sample {
                doc_id,
                filter: "ppl".into(),
                requests: asked
                    .iter()
                    .map(|text| Request::Rolling { text: text.joined() })
                    .collect(),
                responses: losses.iter().map(|loss| Value::from(*loss)).collect(),
                filtered: vec![labels[best].clone().into()],
                scores: vec![("accuracy".into(), Score::Number(f64::from(u8::from(is_right))))],
            });
        }
        Ok(samples)
    }

    /// The answer read out of what the model writes.
    fn read(
        &self,
        documents: &[&Document],
        model: &dyn LanguageModel,
        cache: &mut AnswerCache,
    ) -> Result<Vec<Sample>> {
        let mut prompts = Vec::new();
        for document in documents {
            let mut parts = self.shots.clone();
            parts.push(strip(&self.render(document, "")?).to_owned());
            prompts.push(parts.join("\n"));
        }
        let texts = written(&prompts, model, cache)?;
        let mut samples = Vec::new();
        for (doc_id, (prompt, text)) in prompts.into_iter().zip(texts).enumerate() {
            let found = processed(&self.form.post, &text)?;
            let document = documents[doc_id];
            let golds = match self.task.target(document)? {
                Value::Array(several) => several.iter().map(crate::task::as_text).collect(),
                one => vec![crate::task::as_text(&one)],
            };
            let golds: Vec<String> =
                golds.iter().map(|gold| processed(&self.form.post, gold)).collect::<Result<_>>()?;
            let is_right = golds.contains(&found);
            samples.push(Sample {
                doc_id,
                filter: "gen".into(),
                requests: vec![Request::Generate { context: prompt }],
                responses: vec![text.into()],
                filtered: vec![found.into()],
                scores: vec![("accuracy".into(), Score::Number(f64::from(u8::from(is_right))))],
            });
        }
        Ok(samples)
    }
}

fn mean_losses(
    texts: &[WholeText],
    model: &dyn LanguageModel,
    cache: &mut AnswerCache,
) -> Result<Vec<f64>> {
    let key = |i: usize| {
        AnswerCache::key(&serde_json::json!(["loss", *texts[i].shots, texts[i].question]))
    };
    let keys: Vec<String> = (0..texts.len()).map(key).collect();
    let known = keys.iter().map(|key| cache.get(key).and_then(Value::as_f64)).collect();
    let mut keep = |i: usize, loss: &f64| cache.put(&keys[i], &Value::from(*loss));
    let mut answers = Answers::new(known, &mut keep);
    model.mean_losses(texts, &mut answers)?;
    answers.into_vec()
}

fn written(
    prompts: &[String],
    model: &dyn LanguageModel,
    cache: &mut AnswerCache,
) -> Result<Vec<String>> {
    let settings = Generation {
        until: Vec::new(),
        max_tokens: Some(MAX_TOKENS),
        temperature: 0.0,
        top_p: 1.0,
    };
    let key = |prompt: &String| AnswerCache::key(&serde_json::json!(["opencompass", prompt]));
    let keys: Vec<String> = prompts.iter().map(key).collect();
    let known = keys.iter().map(|key| Some(cache.get(key)?.as_str()?.to_owned())).collect();
    let mut keep = |i: usize, text: &String| cache.put(&keys[i], &text.as_str().into());
    let mut answers = Answers::new(known, &mut keep);
    let prompts: Vec<Prompt<'_>> =
        prompts.iter().map(|context| Prompt { context, repeat: 0 }).collect();
    model.generate(&prompts, &settings, &mut answers)?;
    answers.into_vec()
}

/// A text after each post-processor in turn.
fn processed(names: &[String], text: &str) -> Result<String> {
    names.iter().try_fold(text.to_owned(), |text, name| match name.as_str() {
        "gsm8k" => last_number(text.split("Question:").next().unwrap_or_default()),
        "last_number" => last_number(&text),
        "first_capital" => {
            Ok(text.chars().find(char::is_ascii_uppercase).map(String::from).unwrap_or_default())
        }
        "first_option" => first_option(&text),
        "short" => short(&text),
        other => Err(Error::Setting(format!(
            "post-processor `{other}` is unknown, expected `gsm8k`, `last_number`, `first_capital`, \
             `first_option` or `short`"
        ))),
    })
}

fn last_number(text: &str) -> Result<String> {
    let found = Pattern::new(r"-?\d+\.\d+|-?\d+")?.find_all(&text.replace(',', ""))?;
    Ok(match found.last() {
        Some(Found::Text(number)) => number.clone(),
        _ => String::new(),
    })
}

/// The option that a sentence like "the answer is (B)" or "答案是B" names, else the first capital.
fn first_option(text: &str) -> Result<String> {
    for pattern in [
        r"答案(?:选项)?(?:是|为|应该是|应为|选|：|:)\s*[（(]?\s*([A-E])",
        r"(?:选择|选项|选)\s*([A-E])",
        r"(?i:answer is|answer:|answer\s+would be)\s*[（(\[]?\s*([A-E])\b",
        r"^\s*[（(\[]?([A-E])[)）\].,，。:：\s]",
        r"\b([A-E])\b",
    ] {
        if let Some(Found::Text(letter)) = Pattern::new(pattern)?.find_all(text)?.first() {
            return Ok(letter.clone());
        }
    }
    Ok(String::new())
}

/// The first line or sentence, without punctuation and articles, in lower case.
fn short(text: &str) -> Result<String> {
    let text = strip(text);
    let first = text.split(['\n', '.', ',']).next().unwrap_or_default();
    let first = first.rsplit("answer is").next().unwrap_or_default();
    let plain: String = lower(first).chars().filter(|&c| !is_punctuation(c)).collect();
    let words = neo_data::python::split_words(&plain);
    Ok(words.filter(|word| !["a", "an", "the"].contains(word)).collect::<Vec<&str>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_out_of_texts() {
        let check = |name: &str, text: &str, expected: &str| {
            assert_eq!(processed(&[name.to_owned()], text).unwrap(), expected, "{name} {text}");
        };
        check("gsm8k", "so 1,234 apples.\nQuestion: 5", "1234");
        check("gsm8k", "none", "");
        check("first_capital", "(b) B or C", "B");
        check("first_option", "The answer is (C).", "C");
        check("first_option", "答案是：B", "B");
        check("first_option", "A. because", "A");
        check("short", "The Eiffel Tower, Paris", "eiffel tower");
        assert!(processed(&["x".into()], "").is_err());
    }
}
