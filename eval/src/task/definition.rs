//! A task's settings: lm-evaluation-harness's `TaskConfig`, validated.
//!
//! The keys, their defaults and what they fall back to are that program's. Keys that need Python are
//! refused by the hook's name; keys of ours stand under `metadata.neo`, where that program ignores
//! them (`own.rs`).

use serde_json::{Map, Value};

use super::own::Own;
use super::yaml::HOOK;
use crate::filter::Pipeline;
use crate::metric::Metric;
use crate::template::Template;
use crate::{Error, Result};

/// How a task asks the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The log-likelihood of each choice.
    Choice,
    /// The log-likelihood of the target.
    LogLikelihood,
    /// The log-likelihood of a whole text.
    Rolling,
    /// A text that is generated until a stop string.
    Generate,
}

/// A `doc_to_*` setting.
#[derive(Clone, Debug)]
pub enum Field {
    /// A template, or the name of a field of the document.
    Template(Box<Template>),
    /// The value itself.
    Value(Value),
}

/// Settings of the shots; what is not set here is the task's own.
#[derive(Clone, Debug)]
pub struct Shots {
    /// Whether the first ones are taken instead of drawn.
    pub first_n: bool,
    /// Split they come from.
    pub split: Option<String>,
    /// The shots themselves, if the file states them.
    pub samples: Option<Vec<Value>>,
    /// Which documents of the split are used.
    pub indices: Option<Vec<usize>>,
    pub(crate) text: Field,
    pub(crate) choice: Option<Field>,
    pub(crate) target: Field,
    pub(crate) prefix: Option<Template>,
    pub(crate) delimiter: String,
    pub(crate) target_delimiter: String,
}

/// Settings of generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Strings that end the text.
    pub until: Vec<String>,
    /// Most tokens to be made, if the task says.
    pub max_tokens: Option<usize>,
    /// 0 is greedy.
    pub temperature: f64,
    /// Smallest set of tokens whose probabilities reach this sum.
    pub top_p: f64,
}

impl Generation {
    /// Most tokens to be made where a task says nothing.
    const MAX_TOKENS: usize = 256;

    /// Most tokens to be made.
    pub fn n_tokens(&self) -> usize {
        self.max_tokens.unwrap_or(Self::MAX_TOKENS)
    }
}

/// A validated task.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub task: String,
    /// How it is shown; its name unless set.
    pub alias: String,
    /// How it asks the model.
    pub output: Output,
    /// Splits for training, validation and test, in this order.
    pub splits: [Option<String>; 3],
    /// Shots asked for unless the caller says otherwise.
    pub n_shots: Option<usize>,
    /// What the metrics are.
    pub metrics: Vec<Metric>,
    /// Named filter pipelines.
    pub filters: Vec<Pipeline>,
    /// Settings of generation.
    pub generation: Generation,
    /// Times each generation is repeated.
    pub repeats: usize,
    /// Settings of the shots.
    pub shots: Shots,
    /// Whether programs that the model writes are run.
    pub unsafe_code: bool,
    /// Keys of ours.
    pub own: Own,
    /// The settings as they stood, includes resolved.
    pub given: Map<String, Value>,
    pub(crate) text: Field,
    pub(crate) target: Field,
    pub(crate) choice: Option<Field>,
    pub(crate) description: Option<Template>,
    pub(crate) prefix: Option<Template>,
    pub(crate) target_delimiter: String,
    /// Between shots, and between a system instruction and the description.
    pub(crate) shot_delimiter: String,
}

/// Keys that a task file may have.
const KEYS: [&str; 37] = [
    "task",
    "task_alias",
    "tag",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "fewshot_split",
    "doc_to_text",
    "doc_to_target",
    "unsafe_code",
    "doc_to_choice",
    "description",
    "target_delimiter",
    "fewshot_delimiter",
    "fewshot_config",
    "num_fewshot",
    "metric_list",
    "output_type",
    "generation_kwargs",
    "repeats",
    "filter_list",
    "should_decontaminate",
    "doc_to_decontamination_query",
    "gen_prefix",
    "metadata",
    "use_prompt",
    "doc_to_image",
    "doc_to_audio",
    "custom_dataset",
    "process_docs",
    "process_results",
    "class",
    "group",
    "group_alias",
];

/// Keys whose very use needs Python or a library of it.
const PYTHON_KEYS: [&str; 7] = [
    "use_prompt",
    "doc_to_image",
    "doc_to_audio",
    "custom_dataset",
    "process_docs",
    "process_results",
    "class",
];

impl Definition {
    /// Validates the settings of a task.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong kind, or a key that needs Python.
    pub fn new(given: Map<String, Value>) -> Result<Self> {
        let name = given.get("task").and_then(Value::as_str).unwrap_or("unnamed").to_owned();
        let keys = Keys { task: &name, given: &given };
        keys.check_names()?;
        let text = keys.field("doc_to_text")?.unwrap_or(Field::Value(Value::Null));
        let target = keys.field("doc_to_target")?.unwrap_or(Field::Value(Value::Null));
        let choice = keys.field("doc_to_choice")?;
        let prefix = keys.template("gen_prefix")?;
        let target_delimiter = keys.text("target_delimiter")?.unwrap_or_else(|| " ".into());
        let shot_delimiter = keys.text("fewshot_delimiter")?.unwrap_or_else(|| "\n\n".into());
        let output = keys.output()?;
        let mut definition = Self {
            alias: keys.text("task_alias")?.unwrap_or_else(|| name.clone()),
            output,
            splits: [
                keys.text("training_split")?,
                keys.text("validation_split")?,
                keys.text("test_split")?,
            ],
            n_shots: keys.count("num_fewshot")?,
            metrics: keys.metrics(output)?,
            filters: keys.filters()?,
            generation: keys.generation(&shot_delimiter)?,
            repeats: keys.count("repeats")?.unwrap_or(1),
            shots: Shots {
                first_n: false,
                split: keys.text("fewshot_split")?,
                samples: None,
                indices: None,
                text: text.clone(),
                choice: choice.clone(),
                target: target.clone(),
                prefix: prefix.clone(),
                delimiter: shot_delimiter.clone(),
                target_delimiter: target_delimiter.clone(),
            },
            unsafe_code: given.get("unsafe_code") == Some(&Value::Bool(true)),
            own: Own::new(&name, given.get("metadata"))?,
            description: keys.template("description")?,
            text,
            target,
            choice,
            prefix,
            target_delimiter,
            shot_delimiter,
            task: name.clone(),
            given: Map::new(),
        };
        if let Some(config) = given.get("fewshot_config").filter(|c| !c.is_null()) {
            let Value::Object(config) = config else {
                return Err(keys.wrong("fewshot_config", "a mapping", config));
            };
            definition.shots.apply(&Keys { task: &name, given: config })?;
        }
        definition.given = given;
        Ok(definition)
    }

    /// Version that the file states.
    pub fn version(&self) -> Value {
        let version = self.given.get("metadata").and_then(|m| m.get("version"));
        version.cloned().unwrap_or_else(|| "Yaml".into())
    }

    /// Split whose documents are asked: test, or else validation.
    pub fn eval_split(&self) -> Option<&str> {
        self.splits[2].as_deref().or(self.splits[1].as_deref())
    }

    /// Split that shots come from unless the file states them: its own, training, validation, test.
    pub fn shot_split(&self) -> Option<&str> {
        let [training, validation, test] = &self.splits;
        [&self.shots.split, training, validation, test].into_iter().find_map(Option::as_deref)
    }

    /// An error about this task.
    pub(crate) fn error(&self, problem: impl Into<String>) -> Error {
        Error::Task { task: self.task.clone(), problem: problem.into(), hint: None }
    }
}

impl Shots {
    fn apply(&mut self, keys: &Keys<'_>) -> Result<()> {
        const KNOWN: [&str; 11] = [
            "sampler",
            "split",
            "process_docs",
            "fewshot_indices",
            "samples",
            "doc_to_text",
            "doc_to_choice",
            "doc_to_target",
            "gen_prefix",
            "fewshot_delimiter",
            "target_delimiter",
        ];
        keys.refuse_unknown("fewshot_config", &KNOWN)?;
        self.first_n = match keys.text("sampler")?.as_deref() {
            None | Some("default") => false,
            Some("first_n") => true,
            Some(other) => {
                let problem =
                    format!("sampler `{other}` is unknown, expected `default` or `first_n`");
                return Err(keys.error(problem));
            }
        };
        if let Some(Value::Array(samples)) = keys.given.get("samples") {
            self.samples = Some(samples.clone());
        }
        if let Some(Value::Array(indices)) = keys.given.get("fewshot_indices") {
            let indices = indices.iter().filter_map(Value::as_u64).map(|i| i as usize);
            self.indices = Some(indices.collect());
        }
        self.split = keys.text("split")?.or(self.split.take());
        self.text = keys.field("doc_to_text")?.unwrap_or(self.text.clone());
        self.target = keys.field("doc_to_target")?.unwrap_or(self.target.clone());
        self.choice = keys.field("doc_to_choice")?.or(self.choice.take());
        self.prefix = keys.template("gen_prefix")?.or(self.prefix.take());
        self.delimiter = keys.text("fewshot_delimiter")?.unwrap_or(self.delimiter.clone());
        self.target_delimiter =
            keys.text("target_delimiter")?.unwrap_or(self.target_delimiter.clone());
        Ok(())
    }
}

/// A mapping of settings with the task's name for messages.
struct Keys<'a> {
    task: &'a str,
    given: &'a Map<String, Value>,
}

impl Keys<'_> {
    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Task { task: self.task.to_owned(), problem: problem.into(), hint: None }
    }

    fn wrong(&self, key: &str, expected: &str, found: &Value) -> Error {
        self.error(format!("`{key}` is {found}, expected {expected}"))
    }

    fn check_names(&self) -> Result<()> {
        self.refuse_unknown("the task", &KEYS)?;
        for (key, value) in self.given {
            self.refuse_hooks(key, value)?;
            if PYTHON_KEYS.contains(&key.as_str()) && !value.is_null() {
                return Err(self.needs_python(key, key));
            }
        }
        Ok(())
    }

    fn refuse_unknown(&self, place: &str, known: &[&str]) -> Result<()> {
        match self.given.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::Task {
                task: self.task.to_owned(),
                problem: format!("{place} has the unknown key `{key}`"),
                hint: Some("keys of neo's own stand under `metadata.neo`".into()),
            }),
        }
    }

    /// Refuses a `!function` anywhere below `key`.
    fn refuse_hooks(&self, key: &str, value: &Value) -> Result<()> {
        match value {
            Value::Object(entries) => match entries.get(HOOK) {
                Some(hook) => Err(self.needs_python(key, hook.as_str().unwrap_or_default())),
                None => entries.iter().try_for_each(|(inner, value)| {
                    self.refuse_hooks(&format!("{key}.{inner}"), value)
                }),
            },
            Value::Array(items) => items.iter().try_for_each(|item| self.refuse_hooks(key, item)),
            _ => Ok(()),
        }
    }

    fn needs_python(&self, key: &str, hook: &str) -> Error {
        Error::Task {
            task: self.task.to_owned(),
            problem: format!("`{key}` needs Python: `{hook}`"),
            hint: Some("say the same with templates, filters and metrics".into()),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.given.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(key, "a text", other)),
        }
    }

    fn count(&self, key: &str) -> Result<Option<usize>> {
        match self.given.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(count) => Ok(Some(count as usize)),
                None => Err(self.wrong(key, "a count", value)),
            },
        }
    }

    fn template(&self, key: &str) -> Result<Option<Template>> {
        let compile = |text: String| Template::new(&text).map_err(|problem| self.error(problem));
        self.text(key)?.filter(|text| !text.is_empty()).map(compile).transpose()
    }

    fn field(&self, key: &str) -> Result<Option<Field>> {
        Ok(match self.given.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                let template = Template::new(text).map_err(|problem| self.error(problem))?;
                Some(Field::Template(Box::new(template)))
            }
            Some(Value::Object(choices)) => {
                Some(Field::Value(Value::Array(choices.values().cloned().collect())))
            }
            Some(other) => Some(Field::Value(other.clone())),
        })
    }

    fn output(&self) -> Result<Output> {
        match self.text("output_type")?.as_deref() {
            None | Some("generate_until") => Ok(Output::Generate),
            Some("multiple_choice") => Ok(Output::Choice),
            Some("loglikelihood") => Ok(Output::LogLikelihood),
            Some("loglikelihood_rolling") => Ok(Output::Rolling),
            Some(other) => Err(self.error(format!(
                "`output_type` is `{other}`, expected `loglikelihood`, `loglikelihood_rolling`, \
                 `generate_until` or `multiple_choice`"
            ))),
        }
    }

    fn metrics(&self, output: Output) -> Result<Vec<Metric>> {
        match self.given.get("metric_list") {
            None | Some(Value::Null) => Ok(Metric::usual(output)),
            Some(Value::Array(list)) => {
                let read =
                    |entry: &Value| Metric::new(entry).map_err(|problem| self.error(problem));
                list.iter().map(read).collect()
            }
            Some(other) => Err(self.wrong("metric_list", "a list", other)),
        }
    }

    fn filters(&self) -> Result<Vec<Pipeline>> {
        match self.given.get("filter_list") {
            None | Some(Value::Null) => Ok(vec![Pipeline::take_first()]),
            Some(Value::Array(list)) => {
                let read =
                    |entry: &Value| Pipeline::new(entry).map_err(|problem| self.error(problem));
                list.iter().map(read).collect()
            }
            Some(other) => Err(self.wrong("filter_list", "a list", other)),
        }
    }

    fn generation(&self, shot_delimiter: &str) -> Result<Generation> {
        let usual = Generation {
            until: vec![shot_delimiter.to_owned()],
            max_tokens: None,
            temperature: 0.0,
            top_p: 1.0,
        };
        let Some(Value::Object(given)) = self.given.get("generation_kwargs") else {
            return Ok(usual);
        };
        let keys = Keys { task: self.task, given };
        let until = match given.get("until") {
            None | Some(Value::Null) => usual.until,
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                several.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(other) => return Err(keys.wrong("until", "a text or a list", other)),
        };
        let number = |key: &str| match given.get(key) {
            Some(Value::String(text)) => text.parse().ok(),
            other => other.and_then(Value::as_f64),
        };
        let aliases = ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"];
        let max_tokens = aliases.iter().find_map(|key| given.get(*key).and_then(Value::as_u64));
        let sampled = given.get("do_sample") == Some(&Value::Bool(true));
        let temperature = number("temperature").unwrap_or(if sampled { 1.0 } else { 0.0 });
        let greedy = given.get("do_sample") == Some(&Value::Bool(false));
        Ok(Generation {
            until,
            max_tokens: max_tokens.map(|n| n as usize),
            temperature: if greedy { 0.0 } else { temperature },
            top_p: number("top_p").unwrap_or(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(given: Value) -> String {
        let Value::Object(given) = given else { panic!("a mapping") };
        Definition::new(given).unwrap_err().to_string()
    }

    #[test]
    fn what_needs_python_is_refused_by_name() {
        let found = problem(json!({"task": "t", "doc_to_text": {"!function": "utils.text"}}));
        assert_eq!(found, "task `t`: `doc_to_text` needs Python: `utils.text`");
        let hook = json!([{"metric": {"!function": "m.f"}}]);
        let found = problem(json!({"task": "t", "metric_list": hook}));
        assert_eq!(found, "task `t`: `metric_list.metric` needs Python: `m.f`");
    }

    #[test]
    fn wrong_settings_are_named() {
        let check = |given: Value, expected: &str| {
            let found = problem(given);
            assert!(found.contains(expected), "{found}");
        };
        check(json!({"task": "t", "doc_to_txt": "x"}), "unknown key `doc_to_txt`");
        check(json!({"task": "t", "output_type": "guess"}), "`output_type` is `guess`");
        check(json!({"task": "t", "num_fewshot": "five"}), "expected a count");
        check(json!({"task": "t", "metric_list": [{"metric": "wer"}]}), "metric `wer`");
        let entry = json!([{"metric": "acc", "aggregation": "bleu"}]);
        check(json!({"task": "t", "metric_list": entry}), "`acc` cannot be aggregated by `bleu`");
        let entry = json!([{"metric": "ter", "aggregation": "mean"}]);
        check(json!({"task": "t", "metric_list": entry}), "`ter` cannot be aggregated by `mean`");
        check(json!({"task": "t", "fewshot_config": {"sampler": "balanced"}}), "`balanced`");
    }
}
