//! One task from requests to numbers: ask, filter, score, aggregate.

use serde_json::{Value, json};

use crate::cache::AnswerCache;
use crate::language_model::{Answers, LanguageModel, Pair, Prompt};
use crate::metric::choice::{self, LogLikelihood};
use crate::metric::{Aggregation, Metric, Score, error, generation};
use crate::program::ProgramRunner;
use crate::task::{Asked, Document, Output, Request, Task, prompt_sha256, requests_sha256};
use crate::{Error, Result};

/// How tasks are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Documents asked, at most.
    pub limit: Option<usize>,
    /// Draws of a bootstrap.
    pub bootstrap_draws: usize,
}

/// One number of a task with its uncertainty.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Name of the metric.
    pub metric: String,
    /// Name of the filter pipeline that it is taken behind.
    pub filter: String,
    /// The number.
    pub value: f64,
    /// Standard error as lm-evaluation-harness gives it; `None` where it gives none.
    pub error: Option<f64>,
    /// 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// Documents measured.
    pub n: usize,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// What one document was asked, what came back, and what it scored.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Index of the document.
    pub doc_id: usize,
    /// Name of the filter pipeline.
    pub filter: String,
    /// Its requests.
    pub requests: Vec<Request>,
    /// Answers as they came.
    pub responses: Vec<Value>,
    /// Answers behind the filter.
    pub filtered: Vec<Value>,
    /// Scores by metric.
    pub scores: Vec<(String, Score)>,
}

/// What evaluating one task gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The numbers.
    pub measures: Vec<Measure>,
    /// Document by document, filter by filter.
    pub samples: Vec<Sample>,
    /// Hash of every request.
    pub requests_sha256: String,
    /// Documents asked.
    pub n_documents: usize,
}

/// Evaluates one task.
///
/// # Errors
/// Templates or filters that do not fit, a device that fails, or an answer that cannot be kept.
pub fn evaluate(
    task: &Task,
    model: &dyn LanguageModel,
    settings: Settings,
    cache: &mut AnswerCache,
    programs: Option<&dyn ProgramRunner>,
) -> Result<Outcome> {
    let asked = requests(task, settings)?;
    let responses = ask(task, model, &asked, cache)?;
    let mut samples = Vec::new();
    let mut measures = Vec::new();
    let mut filters: Vec<_> = task.definition.filters.iter().collect();
    if task.definition.output != Output::Generate {
        filters.truncate(1);
    }
    for filter in filters {
        let first = samples.len();
        for (asked, responses) in asked.iter().zip(&responses) {
            samples.push(sample(task, filter, asked, responses)?);
        }
        if let Some(runner) = programs {
            crate::program::score(task, &mut samples[first..], runner)?;
        }
        measures.extend(measure(task, &filter.name, &samples[first..], settings));
    }
    let requests_sha256 = requests_sha256(&asked);
    Ok(Outcome { measures, samples, requests_sha256, n_documents: asked.len() })
}

/// What is asked of the model, if it is what the task file pins.
///
/// # Errors
/// Templates that do not fit a document, or prompts that are not those of the task file.
pub fn requests(task: &Task, settings: Settings) -> Result<Vec<Asked>> {
    let asked = task.requests(settings.limit)?;
    check_prompt(task, &asked)?;
    Ok(asked)
}

/// Refuses prompts that are not those that the task file pins, unless the caller changed the shots
/// or how prompts are put.
fn check_prompt(task: &Task, asked: &[Asked]) -> Result<()> {
    let Some(expected) = &task.definition.own.prompt_sha256 else { return Ok(()) };
    let found = prompt_sha256(asked);
    let is_changed = Some(task.n_shots) != task.definition.n_shots.or(Some(0));
    if found == *expected || is_changed || !task.conversation.is_plain() {
        return Ok(());
    }
    Err(Error::Task {
        task: task.definition.task.clone(),
        problem: format!("its first prompt has the hash {found}, the file says {expected}"),
        hint: Some("a changed prompt is another task: raise `version` and `prompt_sha256`".into()),
    })
}

/// Answers of every document to its requests: `[sum, greedy]`, a sum, or a list of repeated texts.
fn ask(
    task: &Task,
    model: &dyn LanguageModel,
    asked: &[Asked],
    cache: &mut AnswerCache,
) -> Result<Vec<Vec<Value>>> {
    let requests: Vec<&Request> = asked.iter().flat_map(|asked| &asked.requests).collect();
    let mut flat = match task.definition.output {
        Output::Choice | Output::LogLikelihood => log_likelihoods(model, &requests, cache)?,
        Output::Rolling => rolling(model, &requests, cache)?,
        Output::Generate => generations(task, model, &requests, cache)?,
    }
    .into_iter();
    Ok(asked.iter().map(|asked| flat.by_ref().take(asked.requests.len()).collect()).collect())
}

fn log_likelihoods(
    model: &dyn LanguageModel,
    requests: &[&Request],
    cache: &mut AnswerCache,
) -> Result<Vec<Value>> {
    let parts = requests.iter().map(|request| request.parts());
    let pairs: Vec<Pair<'_>> =
        parts.map(|(context, continuation)| Pair { context, continuation }).collect();
    let key = |i: usize| json!(["loglikelihood", pairs[i].context, pairs[i].continuation]);
    let read = |value: &Value| {
        let sum = value.get(0).and_then(Value::as_f64)?;
        Some(LogLikelihood { sum, greedy: value.get(1).and_then(Value::as_bool)? })
    };
    let write = |answer: &LogLikelihood| json!([answer.sum, answer.greedy]);
    cached(requests.len(), cache, &key, &read, &write, |answers| {
        model.log_likelihoods(&pairs, answers)
    })
}

fn rolling(
    model: &dyn LanguageModel,
    requests: &[&Request],
    cache: &mut AnswerCache,
) -> Result<Vec<Value>> {
    let texts: Vec<&str> = requests.iter().map(|request| request.parts().0).collect();
    let key = |i: usize| json!(["rolling", texts[i]]);
    let write = |answer: &f64| json!(answer);
    cached(requests.len(), cache, &key, &Value::as_f64, &write, |answers| {
        model.rolling(&texts, answers)
    })
}

fn generations(
    task: &Task,
    model: &dyn LanguageModel,
    requests: &[&Request],
    cache: &mut AnswerCache,
) -> Result<Vec<Value>> {
    let settings = &task.definition.generation;
    let repeats = task.definition.repeats;
    let prompts: Vec<Prompt<'_>> = requests
        .iter()
        .flat_map(|request| {
            (0..repeats).map(|repeat| Prompt { context: request.parts().0, repeat })
        })
        .collect();
    let key = |i: usize| {
        let Prompt { context, repeat } = prompts[i];
        json!(["generate", context, repeat, format!("{settings:?}")])
    };
    let read = |value: &Value| value.as_str().map(str::to_owned);
    let write = |answer: &String| json!(answer);
    let texts = cached(prompts.len(), cache, &key, &read, &write, |answers| {
        model.generate(&prompts, settings, answers)
    })?;
    let of_request = |texts: &[Value]| Value::Array(texts.to_vec());
    Ok(texts.chunks(repeats.max(1)).map(of_request).collect())
}

/// Fills in what the cache knows, lets `run` find the rest and keeps it as it comes.
pub(crate) fn cached<T>(
    n: usize,
    cache: &mut AnswerCache,
    key: &dyn Fn(usize) -> Value,
    read: &dyn Fn(&Value) -> Option<T>,
    write: &dyn Fn(&T) -> Value,
    run: impl FnOnce(&mut Answers<'_, T>) -> Result<()>,
) -> Result<Vec<Value>> {
    let keys: Vec<String> = (0..n).map(|i| AnswerCache::key(&key(i))).collect();
    let known = keys.iter().map(|key| cache.get(key).and_then(read)).collect();
    let mut keep = |i: usize, answer: &T| cache.put(&keys[i], &write(answer));
    let mut answers = Answers::new(known, &mut keep);
    run(&mut answers)?;
    Ok(answers.into_vec()?.iter().map(write).collect())
}

fn sample(
    task: &Task,
    filter: &crate::filter::Pipeline,
    asked: &Asked,
    responses: &[Value],
) -> Result<Sample> {
    let document = &task.documents[asked.doc_id];
    let of_generation = task.definition.output == Output::Generate;
    let filtered = responses.iter().map(|response| match (of_generation, response) {
        (true, Value::Array(repeats)) => {
            filter.apply(repeats.clone(), document).map_err(|problem| {
                task.definition.error(format!("filter `{}`: {problem}", filter.name))
            })
        }
        (_, response) => Ok(response.clone()),
    });
    let filtered: Vec<Value> = filtered.collect::<Result<_>>()?;
    Ok(Sample {
        doc_id: asked.doc_id,
        filter: filter.name.clone(),
        scores: scores(task, document, asked, &filtered)?,
        requests: asked.requests.clone(),
        responses: responses.to_vec(),
        filtered,
    })
}

fn scores(
    task: &Task,
    document: &Document,
    asked: &Asked,
    answers: &[Value],
) -> Result<Vec<(String, Score)>> {
    let log_likelihood = |answer: &Value| LogLikelihood {
        sum: answer[0].as_f64().unwrap_or(f64::NAN),
        greedy: answer[1].as_bool().unwrap_or(false),
    };
    match task.definition.output {
        Output::Choice => {
            let answers: Vec<LogLikelihood> = answers.iter().map(log_likelihood).collect();
            choice::scores(task, document, &answers)
        }
        Output::LogLikelihood => {
            let LogLikelihood { sum, greedy } = log_likelihood(&answers[0]);
            let score = |metric: &Metric| match metric.name.as_str() {
                "perplexity" => Some((metric.name.clone(), Score::Number(sum))),
                "acc" => Some((metric.name.clone(), Score::Number(f64::from(u8::from(greedy))))),
                _ => None,
            };
            Ok(task.definition.metrics.iter().filter_map(score).collect())
        }
        Output::Rolling => {
            let sum = answers[0].as_f64().unwrap_or(f64::NAN);
            let text = asked.requests[0].parts().0;
            let score = |metric: &Metric| {
                let weight = match metric.name.as_str() {
                    "word_perplexity" => crate::python::count_words(text),
                    _ => text.len(),
                };
                (metric.name.clone(), Score::Weighted(sum, weight as u64))
            };
            Ok(task.definition.metrics.iter().map(score).collect())
        }
        Output::Generate => generation::scores(task, document, &answers[0]),
    }
}

/// The numbers behind one filter, in the order of the task's metrics.
fn measure(task: &Task, filter: &str, samples: &[Sample], settings: Settings) -> Vec<Measure> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in samples.iter().flat_map(|sample| &sample.scores) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: &String| {
        let scores: Vec<Score> = samples
            .iter()
            .filter_map(|s| {
                s.scores.iter().find(|(n, _)| n == name).map(|(_, score)| score.clone())
            })
            .collect();
        let metric = task.definition.metrics.iter().find(|metric| metric.name == *name);
        let aggregation = metric.map_or(Aggregation::Mean, |metric| metric.aggregation);
        let error = error::standard_error(aggregation, &scores, settings.bootstrap_draws);
        let value = aggregation.of(&scores);
        Measure {
            metric: name.clone(),
            filter: filter.to_owned(),
            value,
            error,
            interval: error::interval(aggregation, &scores, value, error),
            n: scores.len(),
            higher_is_better: metric.is_none_or(|metric| metric.higher_is_better),
        }
    };
    names.into_iter().map(of).collect()
}
