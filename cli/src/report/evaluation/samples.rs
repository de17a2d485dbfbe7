//! Answers to read: of every task a few that were right and a few that were wrong, drawn by a fixed seed.

use std::path::PathBuf;

use anyhow::Result;
use neo_eval::python::random::Random;
use neo_eval::report::{LoggedSample, TaskLog, TaskResult, read_samples};
use serde::Serialize;
use serde_json::Value;

use super::Measured;
use super::table::{members, top_level};
use crate::error::Usage;

/// Seed of the choice.
pub(super) const SEED: u64 = 1234;
/// Samples of a kind.
const N_SAMPLES: usize = 2;
/// Columns shown of a prompt, from its end, and of what was written, from its beginning.
const MAX_COLUMNS: usize = 700;
/// Characters within which a word that was cut in two ends.
const MAX_WORD_CHARS: usize = 20;
/// A score from here on counts as right where scores are not 0 or 1.
const RIGHT_FROM: f64 = 0.5;

/// Samples of one model on one task or group.
#[derive(Serialize)]
pub(super) struct TaskSamples {
    task: String,
    model: String,
    mode: String,
    metric: String,
    kinds: Vec<Kind>,
}

/// Those that were right, or those that were wrong.
#[derive(Serialize)]
struct Kind {
    name: &'static str,
    n_all: usize,
    n_documents: usize,
    cards: Vec<Card>,
}

/// A document as it is shown.
#[derive(Serialize)]
struct Card {
    task: String,
    doc_id: usize,
    score: f64,
    prompt: String,
    choices: Vec<Choice>,
    /// What was expected, where no choice shows it.
    target: Option<String>,
    /// What the model wrote.
    said: Option<String>,
    /// What the filter read out of it, where that is something else.
    read: Option<String>,
}

/// One of the answers to choose from.
#[derive(Serialize)]
struct Choice {
    text: String,
    score: String,
    is_gold: bool,
    is_chosen: bool,
}

/// A sample with its score.
struct Scored<'a> {
    sample: &'a LoggedSample,
    score: f64,
}

/// Samples of all logs, each with the results that it belongs to.
///
/// # Errors
/// A log that is damaged or belongs to none of the results.
pub(super) fn draw(measured: &[Measured], logs: &[PathBuf]) -> Result<Vec<TaskSamples>> {
    let mut all = Vec::new();
    let mut taken = vec![false; measured.len()];
    for path in logs {
        let logs = read_samples(path)?;
        let is_of = |idx: &usize| logs.iter().all(|log| measured[*idx].results.is_of(log));
        // Two models may have answered alike; then each log goes to the first that has none.
        let fitting = (0..measured.len()).filter(is_of).min_by_key(|idx| taken[*idx]);
        let owner = fitting.filter(|_| !logs.is_empty()).ok_or_else(|| {
            Usage::with_hint(
                format!("`{}` holds no samples of the given results", path.display()),
                "give the file that the same `neo eval` wrote with `--out`",
            )
        })?;
        taken[owner] = true;
        all.extend(of_log(&measured[owner], &logs));
    }
    Ok(all)
}

/// Samples by task; parts of a group are drawn from together.
fn of_log(measured: &Measured, logs: &[TaskLog]) -> Vec<TaskSamples> {
    let top = top_level(&[measured]);
    let of_task = |name: &String| {
        let parts = members(name, &[measured]);
        let is_own = |log: &&TaskLog| log.task == *name || parts.contains(&log.task);
        let mut scored = Vec::new();
        let mut metric = String::new();
        for log in logs.iter().filter(is_own) {
            let key = measured.results.task(&log.task).and_then(share)?;
            scored.extend(of_filter(log, key));
            metric = key.split(',').next().unwrap_or_default().to_owned();
        }
        (!scored.is_empty()).then(|| TaskSamples {
            task: name.clone(),
            model: measured.label.clone(),
            mode: measured.results.config.mode.clone(),
            metric,
            kinds: kinds(&scored),
        })
    };
    top.iter().filter_map(of_task).collect()
}

/// The first metric that is a share of right answers.
fn share(task: &TaskResult) -> Option<&str> {
    let are_shares = |scores: &[f64]| scores.iter().all(|score| (0.0..=1.0).contains(score));
    let found = task.document_scores.iter().find(|(_, scores)| are_shares(scores));
    found.map(|(key, _)| key.as_str())
}

fn of_filter<'a>(log: &'a TaskLog, key: &str) -> Vec<Scored<'a>> {
    let (metric, filter) = key.split_once(',').unwrap_or((key, ""));
    let samples = log.samples.iter().filter(|sample| sample.filter == filter);
    samples.filter_map(|sample| Some(Scored { sample, score: sample.score(metric)? })).collect()
}

fn kinds(scored: &[Scored<'_>]) -> Vec<Kind> {
    let mut random = Random::new(SEED);
    let mut kind = |name, is_right: bool| {
        let of_kind: Vec<&Scored<'_>> =
            scored.iter().filter(|s| (s.score >= RIGHT_FROM) == is_right).collect();
        let mut drawn = random.sample(of_kind.len(), N_SAMPLES.min(of_kind.len()));
        drawn.sort_unstable();
        Kind {
            name,
            n_all: of_kind.len(),
            n_documents: scored.len(),
            cards: drawn.into_iter().map(|idx| Card::of(of_kind[idx], is_right)).collect(),
        }
    };
    let both = [kind("right", true), kind("wrong", false)];
    both.into_iter().filter(|kind| !kind.cards.is_empty()).collect()
}

impl Card {
    fn of(Scored { sample, score }: &Scored<'_>, is_right: bool) -> Self {
        let LoggedSample { task, doc_id, .. } = sample;
        let written = written(&sample.resps);
        let (prompt, choices) = match written {
            Some(_) => (text_at(sample, 0, 0), Vec::new()),
            None => weighed(sample, is_right),
        };
        let shows_gold = choices.iter().any(|choice| choice.is_gold);
        let said = written.as_deref().map(beginning);
        let read = written.and_then(|text| {
            let read = first_text(&Value::Array(sample.filtered_resps.clone()))?;
            (read != text).then(|| beginning(&read))
        });
        Self {
            task: task.clone(),
            doc_id: *doc_id,
            score: *score,
            prompt: end(&prompt),
            choices,
            target: (!shows_gold).then(|| beginning(&target(&sample.target))),
            said,
            read,
        }
    }
}

/// A request's part: its context (0) or continuation (1).
fn text_at(sample: &LoggedSample, request: usize, part: usize) -> String {
    let text = sample.arguments.get(request).and_then(|parts| parts.get(part)?.as_str());
    text.unwrap_or_default().to_owned()
}

/// What the model wrote, if it wrote and did not weigh.
fn written(resps: &[Value]) -> Option<String> {
    resps.first().and_then(first_text)
}

fn first_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.first().and_then(first_text),
        _ => None,
    }
}

/// What stands before all answers, and the answers with what the model gave each.
fn weighed(sample: &LoggedSample, is_right: bool) -> (String, Vec<Choice>) {
    // The second half of the requests asks the same without a context.
    let halves =
        if sample.metrics.iter().any(|metric| metric == "acc_mutual_info") { 2 } else { 1 };
    let n = sample.arguments.len() / halves;
    let texts: Vec<String> =
        (0..n).map(|i| text_at(sample, i, 0) + &text_at(sample, i, 1)).collect();
    let n_common = if n == 1 { text_at(sample, 0, 0).len() } else { common_words(&texts) };
    let scores: Vec<f64> = sample.resps.iter().take(n).map(preference).collect();
    let best = (0..n).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    let gold = gold(sample, &texts, best, is_right);
    let choice = |(i, text): (usize, &String)| Choice {
        text: text[n_common..].trim().to_owned(),
        score: format!("{:.2}", scores[i]),
        is_gold: gold == Some(i),
        is_chosen: n > 1 && i == best,
    };
    let prompt = texts.first().map_or(String::new(), |text| text[..n_common].to_owned());
    (prompt, texts.iter().enumerate().map(choice).collect())
}

/// Log-likelihood of a continuation, or the negative loss of a whole text.
fn preference(answer: &Value) -> f64 {
    let answer = answer.get(0).unwrap_or(answer);
    let sum = answer.get(0).and_then(Value::as_f64);
    sum.or_else(|| answer.as_f64().map(|loss| -loss)).unwrap_or(f64::NAN)
}

/// Which answer is right, as far as the log tells: by its index, by its text, or by having been chosen.
fn gold(sample: &LoggedSample, texts: &[String], chosen: usize, is_right: bool) -> Option<usize> {
    let by_index = sample.target.as_u64().map(|index| index as usize);
    let by_text = || {
        let target = sample.target.as_str().filter(|target| !target.is_empty())?;
        let ends: Vec<usize> = (0..texts.len()).filter(|&i| texts[i].ends_with(target)).collect();
        if ends.len() == 1 { ends.first().copied() } else { None }
    };
    let by_choice = || match is_right {
        true => Some(chosen),
        false => (texts.len() == 2).then_some(1 - chosen),
    };
    by_index.filter(|index| *index < texts.len()).or_else(by_text).or_else(by_choice)
}

/// Bytes that all texts begin with, up to the end of a word.
fn common_words(texts: &[String]) -> usize {
    let Some((first, others)) = texts.split_first() else { return 0 };
    let mut common = first.len();
    for other in others {
        let equal = first.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
        common = common.min(equal.map_or(first.len().min(other.len()), |((at, _), _)| at));
    }
    let is_at_end = texts.iter().any(|text| text.len() == common);
    match first[..common].rfind(char::is_whitespace) {
        Some(space) => space,
        None if is_at_end => 0,
        None => common,
    }
}

/// A target as it is read.
fn target(value: &Value) -> String {
    match value {
        Value::Array(several) => several.iter().take(4).map(target).collect::<Vec<_>>().join(" / "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The last columns of a prompt: the question, after the shots.
fn end(text: &str) -> String {
    let from_the_end = text.char_indices().rev();
    let Some(start) = past_room(from_the_end).map(|(at, c)| at + c.len_utf8()) else {
        return text.trim().to_owned();
    };
    let tail = &text[start..];
    let word = tail.char_indices().take(MAX_WORD_CHARS).find(|(_, c)| c.is_whitespace());
    format!("… {}", tail[word.map_or(0, |(at, _)| at)..].trim())
}

/// The first columns of what was written.
fn beginning(text: &str) -> String {
    match past_room(text.char_indices()) {
        Some((at, _)) => format!("{} …", text[..at].trim()),
        None => text.trim().to_owned(),
    }
}

/// The first character for which there is no room; Chinese ones take two columns.
fn past_room(mut chars: impl Iterator<Item = (usize, char)>) -> Option<(usize, char)> {
    let mut columns = 0;
    chars.find(|(_, c)| {
        columns += if c.len_utf8() > 2 { 2 } else { 1 };
        columns > MAX_COLUMNS
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(arguments: Value, resps: Value, target: Value) -> LoggedSample {
        serde_json::from_value(json!({
            "task": "t", "doc_id": 3, "doc": {}, "target": target, "arguments": arguments,
            "resps": resps, "filtered_resps": resps, "filter": "none", "metrics": ["acc"],
            "doc_hash": "", "prompt_hash": "", "target_hash": "", "acc": 0.0
        }))
        .unwrap()
    }

    fn card(sample: &LoggedSample) -> (String, Vec<String>) {
        let card = Card::of(&Scored { sample, score: 0.0 }, false);
        let mark = |c: &Choice| {
            let marks = [(c.is_gold, " gold"), (c.is_chosen, " chosen")];
            let marks = marks.iter().filter(|mark| mark.0).map(|mark| mark.1);
            format!("{}{}", c.text, marks.collect::<String>())
        };
        (card.prompt, card.choices.iter().map(mark).collect())
    }

    #[test]
    fn choices_are_shown_behind_what_they_share() {
        let check = |sample: LoggedSample, prompt: &str, choices: &[&str]| {
            let (found, shown) = card(&sample);
            assert_eq!(found, prompt);
            assert_eq!(shown, choices);
        };
        let answers = json!([[[-3.0, false]], [[-1.0, true]]]);
        let asked = json!([["Where? Answer:", " the mill"], ["Where? Answer:", " the river"]]);
        check(
            sample(asked, answers.clone(), json!(0)),
            "Where? Answer: the",
            &["mill gold", "river chosen"],
        );
        let contexts = json!([["The mill", " ran."], ["The river", " ran."]]);
        let shown = ["mill ran. gold", "river ran. chosen"];
        check(sample(contexts, answers, json!("ran.")), "The", &shown);
        let wholes = json!([["问题 河"], ["问题 磨坊"]]);
        let losses = json!([[2.5], [3.5]]);
        check(sample(wholes, losses, json!(1)), "问题", &["河 chosen", "磨坊 gold"]);
    }

    #[test]
    fn written_answers_are_shown_with_what_was_read() {
        let asked = json!([["Q:", {"until": ["."]}]]);
        let sample = sample(asked, json!([[["it is 42"]]]), json!(["42", "forty-two"]));
        let card = Card::of(&Scored { sample: &sample, score: 0.0 }, false);
        assert_eq!((card.prompt.as_str(), card.said.as_deref()), ("Q:", Some("it is 42")));
        assert_eq!((card.target.as_deref(), card.read), (Some("42 / forty-two"), None));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let check = |one: &str, n: usize| {
            let long = one.repeat(2 * MAX_COLUMNS);
            assert_eq!(end(&long).chars().count(), n + 2);
            assert_eq!(beginning(&long).chars().count(), n + 2);
        };
        check("m", MAX_COLUMNS);
        check("磨", MAX_COLUMNS / 2);
        assert_eq!(end("磨 mill\n"), "磨 mill");
    }
}
