//! A small set of questions that is asked again and again of a model in training.
//!
//! Choices give the shares of right answers that `neo eval` gives under the same `--limit`. Where a
//! task wants a text written, the right answer's bits per byte after its prompt are measured
//! instead: one forward, and a number that moves long before the first answer is right.

use std::collections::BTreeMap;

use neo_data::tokenizer::Tokenizer;
use neo_model::Transformer;

use crate::cache::AnswerCache;
use crate::evaluation::{self, Measure, Settings};
use crate::language_model::{Answers, LanguageModel, Pair};
use crate::metric::choice::LogLikelihood;
use crate::network::{self, Network, Sharing};
use crate::report::{group_measures, leaves};
use crate::task::library::{Group, Selection};
use crate::task::{Gold, Output, Request, Task};
use crate::{Error, Result};

/// Metrics that are followed; the others need more documents than a loop has time for.
const FOLLOWED: &str = "acc";

/// Questions ready to be asked.
pub struct Questions {
    tokenizer: Tokenizer,
    settings: Settings,
    /// Tasks of choices.
    choices: Vec<Task>,
    groups: Vec<Group>,
    /// Right answers to be written, by the task or group that they count for.
    golds: BTreeMap<String, Vec<Gold>>,
}

impl Questions {
    /// The first `max_docs` documents of each task, checked against a context of `max_len` tokens.
    ///
    /// Prompts that are longer lose their beginning, as lm-evaluation-harness has it, with a warning.
    ///
    /// # Errors
    /// A task that has no form for the loop, templates that do not fit, or an answer that is longer
    /// than the context.
    pub fn new(
        selection: Selection,
        tokenizer: Tokenizer,
        max_docs: usize,
        max_len: usize,
    ) -> Result<Self> {
        let Selection { tasks, groups } = selection;
        let mut questions = Self {
            tokenizer,
            settings: Settings { limit: Some(max_docs), bootstrap_draws: 0 },
            choices: Vec::new(),
            groups,
            golds: BTreeMap::new(),
        };
        for task in tasks {
            questions.add(task, max_len)?;
        }
        Ok(questions)
    }

    fn add(&mut self, task: Task, max_len: usize) -> Result<()> {
        let asked = evaluation::requests(&task, self.settings)?;
        if is_choice(&task)? {
            let requests = asked.iter().flat_map(|asked| &asked.requests);
            let pairs: Vec<Pair<'_>> = requests.map(pair).collect();
            self.check_room(&task, &pairs, max_len)?;
            self.choices.push(task);
            return Ok(());
        }
        let golds = task.golds(&asked)?;
        let pairs: Vec<Pair<'_>> = golds.iter().map(Gold::pair).collect();
        self.check_room(&task, &pairs, max_len)?;
        let name = self.counts_for(&task.definition.task).to_owned();
        self.golds.entry(name).or_default().extend(golds);
        Ok(())
    }

    fn check_room(&self, task: &Task, pairs: &[Pair<'_>], max_len: usize) -> Result<()> {
        let n_cut = network::count_cut(&self.tokenizer, max_len, pairs)
            .map_err(|problem| task.definition.error(problem.to_string()))?;
        if n_cut > 0 {
            tracing::warn!(
                "task `{}`: {n_cut} of {} prompts with their answers are longer than the model's \
                 context of {max_len} tokens and lose their beginning",
                task.definition.task,
                pairs.len()
            );
        }
        Ok(())
    }

    /// The group whose number a task is part of, else the task.
    fn counts_for<'a>(&'a self, task: &'a str) -> &'a str {
        let has = |group: &&Group| {
            !group.metrics.is_empty() && leaves(group, &self.groups).iter().any(|leaf| leaf == task)
        };
        // Outer groups come last.
        self.groups.iter().rev().find(has).map_or(task, |group| &group.name)
    }

    /// Asks everything; figures by name, such as `acc_arc_easy` and `gold_bpb_gsm8k`.
    ///
    /// # Errors
    /// A device that fails.
    pub fn ask(&self, model: &Transformer) -> Result<BTreeMap<String, f64>> {
        let stop_ids = vec![self.tokenizer.eod_id()];
        let network = Network::new(model, &self.tokenizer, stop_ids, Sharing::On, &|_, _| {});
        let mut figures = self.accuracies(&network)?;
        for (name, golds) in &self.golds {
            figures.insert(format!("gold_bpb_{name}"), bits_per_byte(golds, &network)?);
        }
        Ok(figures)
    }

    /// Of tasks, and of groups in place of their parts.
    fn accuracies(&self, network: &Network<'_>) -> Result<BTreeMap<String, f64>> {
        let mut by_name: BTreeMap<String, Vec<Measure>> = BTreeMap::new();
        for task in &self.choices {
            let mut cache = AnswerCache::in_memory();
            let outcome = evaluation::evaluate(task, network, self.settings, &mut cache, None)?;
            by_name.insert(task.definition.task.clone(), outcome.measures);
        }
        let mut figures = BTreeMap::new();
        let mut take = |name: &str, measures: &[Measure]| {
            let followed = measures.iter().filter(|m| m.metric.starts_with(FOLLOWED));
            figures.extend(followed.map(|m| (format!("{}_{name}", m.metric), m.value)));
        };
        for (name, measures) in by_name.iter().filter(|(name, _)| self.counts_for(name) == *name) {
            take(name, measures);
        }
        for group in self.groups.iter().filter(|group| !group.metrics.is_empty()) {
            take(&group.name, &group_measures(group, &leaves(group, &self.groups), &by_name));
        }
        Ok(figures)
    }
}

/// Whether a task is one of choices, whether it has a text for an answer, or neither.
fn is_choice(task: &Task) -> Result<bool> {
    let definition = &task.definition;
    let refuse = |problem: &str, hint: &str| {
        let (task, problem) = (definition.task.clone(), problem.to_owned());
        Err(Error::Task { task, problem, hint: Some(hint.to_owned()) })
    };
    match definition.output {
        _ if definition.unsafe_code => refuse(
            "it runs programs, which training does not wait for",
            "measure it with `neo eval --run-programs` on a checkpoint",
        ),
        Output::Rolling => refuse(
            "it measures whole texts, as training does on held-out text anyway",
            "measure it with `neo eval` on a checkpoint",
        ),
        Output::Choice if !definition.metrics.iter().any(|m| m.name.starts_with(FOLLOWED)) => {
            refuse(
                "none of its metrics is an accuracy, so nothing of it is followed in training",
                "add `acc` to its `metric_list`",
            )
        }
        Output::Choice => Ok(true),
        Output::LogLikelihood | Output::Generate => Ok(false),
    }
}

fn pair(request: &Request) -> Pair<'_> {
    let (context, continuation) = request.parts();
    Pair { context, continuation }
}

/// Bits of all right answers over their bytes.
fn bits_per_byte(golds: &[Gold], network: &Network<'_>) -> Result<f64> {
    let pairs: Vec<Pair<'_>> = golds.iter().map(Gold::pair).collect();
    let mut forget = |_: usize, _: &LogLikelihood| Ok(());
    let mut answers = Answers::new(vec![None; pairs.len()], &mut forget);
    network.log_likelihoods(&pairs, &mut answers)?;
    let nats: f64 = answers.into_vec()?.iter().map(|answer| -answer.sum).sum();
    let n_bytes: usize = golds.iter().map(|gold| gold.n_bytes).sum();
    Ok(nats / std::f64::consts::LN_2 / n_bytes as f64)
}
