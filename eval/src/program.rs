//! Programs that a model wrote, run and scored: HumanEval and MBPP.
//!
//! This file knows which program belongs to an answer and what its passing is worth; how a program
//! is run without harm is a [`ProgramRunner`]'s.

use serde_json::Value;

use crate::Result;
use crate::evaluation::Sample;
use crate::metric::{Score, generation::pass_at_k};
use crate::task::{Document, Task};
use crate::template::Template;

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It ended by itself without an error.
    Passed,
    /// It did not; the text says what happened.
    Failed(String),
}

/// Runs programs that nobody trusts.
pub trait ProgramRunner {
    /// Runs one program to its end or its limit.
    ///
    /// # Errors
    /// When no program can be run at all.
    fn run(&self, program: &str) -> Result<Verdict>;
}

/// Adds `pass@k` to the samples of a task whose answers are programs.
///
/// # Errors
/// A program template that does not fit, or a machine that cannot run programs.
pub(crate) fn score(task: &Task, samples: &mut [Sample], runner: &dyn ProgramRunner) -> Result<()> {
    let metric = task.definition.metrics.iter().find(|metric| metric.name == "pass_at_k");
    let (Some(metric), Some(source)) = (metric, &task.definition.own.program) else {
        return Ok(());
    };
    let template = Template::new(source).map_err(|problem| task.definition.error(problem))?;
    for sample in samples {
        let answers = match &sample.filtered[0] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let mut passed = 0;
        for answer in &answers {
            let program = program(task, &template, &task.documents[sample.doc_id], answer)?;
            passed += usize::from(runner.run(&program)? == Verdict::Passed);
        }
        for &k in metric.settings.k.iter().filter(|&&k| k <= answers.len()) {
            let score = Score::Number(pass_at_k(answers.len(), passed, k));
            sample.scores.push((format!("pass@{k}"), score));
        }
    }
    Ok(())
}

fn program(
    task: &Task,
    template: &Template,
    document: &Document,
    answer: &Value,
) -> Result<String> {
    let mut fields = document.fields.clone();
    fields.insert("completion".into(), answer.clone());
    let document = Document::new(fields);
    template.render(&document.context).map_err(|problem| task.definition.error(problem))
}
