//! Which documents serve as shots: drawn by a generator of the task's own, or the first ones.
//!
//! The generator is consumed document by document, so a document's shots depend on how many came
//! before it and on nothing else.

use std::sync::Arc;

use serde_json::Value;

use super::definition::Definition;
use super::source::{Document, Splits};
use crate::python::random::Random;
use crate::{Error, Result};

/// Where shots come from.
#[derive(Clone, Debug)]
pub struct Sampler {
    pool: Arc<Vec<Document>>,
    n: usize,
    first_n: bool,
    /// Whether the asked document may be among them and must be left out.
    leaves_out: bool,
    seed: u64,
}

/// Draws shots in the order of the documents.
pub struct Drawer<'a> {
    sampler: &'a Sampler,
    random: Random,
}

impl Sampler {
    /// A sampler of `n` shots for a task.
    ///
    /// # Errors
    /// Shots asked of a task without documents to draw them from, or more than there are.
    pub(super) fn new(task: &Definition, splits: &Splits, n: usize, seed: u64) -> Result<Self> {
        let shots = &task.shots;
        let pool = if n == 0 { Arc::default() } else { pool(task, splits)? };
        let leaves_out = shots.split == task.splits[2];
        let needed = n + usize::from(leaves_out && n > 0 && !shots.first_n);
        if pool.len() < needed {
            return Err(Error::Task {
                task: task.task.clone(),
                problem: format!("{n} shots need {needed} documents, {} are there", pool.len()),
                hint: Some("ask for fewer with `--shots`".into()),
            });
        }
        Ok(Self { pool, n, first_n: shots.first_n, leaves_out, seed })
    }

    /// The first `n` documents that shots may come from.
    ///
    /// # Errors
    /// Fewer than `n`.
    pub(super) fn first(task: &Definition, splits: &Splits, n: usize) -> Result<Vec<Document>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        let pool = pool(task, splits)?;
        if pool.len() < n {
            return Err(task.error(format!("{n} shots are needed, {} are there", pool.len())));
        }
        Ok(pool[..n].to_vec())
    }

    /// Begins with the first document.
    pub(super) fn drawer(&self) -> Drawer<'_> {
        Drawer { sampler: self, random: Random::new(self.seed) }
    }
}

impl Drawer<'_> {
    /// Shots of the next document.
    pub(super) fn next(&mut self, asked: &Document) -> Vec<Document> {
        let Sampler { pool, n, first_n, leaves_out, .. } = self.sampler;
        if *n == 0 {
            return Vec::new();
        }
        let is_other = |document: &&Document| !leaves_out || document.fields != asked.fields;
        if *first_n {
            return pool.iter().filter(is_other).take(*n).cloned().collect();
        }
        let drawn = self.random.sample(pool.len(), n + usize::from(*leaves_out));
        let chosen = drawn.into_iter().map(|i| &pool[i]).filter(is_other).take(*n);
        let chosen: Vec<Document> = chosen.cloned().collect();
        if chosen.len() == *n { chosen } else { self.without_copies(asked) }
    }

    /// Copies of the asked document were drawn more than once: draws from all others.
    fn without_copies(&mut self, asked: &Document) -> Vec<Document> {
        let Sampler { pool, n, .. } = self.sampler;
        let others: Vec<&Document> = pool.iter().filter(|d| d.fields != asked.fields).collect();
        let drawn = self.random.sample(others.len(), (*n).min(others.len()));
        drawn.into_iter().map(|i| others[i].clone()).collect()
    }
}

fn pool(task: &Definition, splits: &Splits) -> Result<Arc<Vec<Document>>> {
    let stated = task.shots.samples.as_ref().filter(|_| task.shots.split.is_none());
    if let Some(samples) = stated {
        let fields = samples.iter().filter_map(Value::as_object).cloned();
        return Ok(Arc::new(fields.map(Document::new).collect()));
    }
    let found = task.shot_split().and_then(|split| splits.get(split)).cloned();
    let Some(documents) = found else {
        return Err(Error::Task {
            task: task.task.clone(),
            problem: "shots are asked for, but it has none".into(),
            hint: Some("use `--shots 0`, or name `fewshot_split` and its data file".into()),
        });
    };
    Ok(match &task.shots.indices {
        None => documents,
        Some(indices) => {
            Arc::new(indices.iter().filter_map(|&i| documents.get(i).cloned()).collect())
        }
    })
}
