//! What is told of a stage when it is through: whether it was there already, what came in and went on, how long it took.

use std::time::Instant;

use super::shard::Flow;
use crate::engine::{Event, Work};

/// A stage that is under way.
pub(super) struct Milestone<'a> {
    work: &'a Work<'a>,
    stage: &'a str,
    started: Instant,
    n_made: u64,
}

impl<'a> Milestone<'a> {
    /// Begins to measure.
    pub(super) fn begin(work: &'a Work<'_>, stage: &'a str) -> Self {
        Self { work, stage, started: Instant::now(), n_made: work.n_made() }
    }

    /// Tells of a stage that the accounts have at a place.
    pub(super) fn reach(self, flow: &Flow, number: usize) {
        let stages = || flow.accounts.iter().filter_map(|source| source.stages.get(number));
        let input = stages().map(|stage| stage.input.documents).sum();
        self.tell(input, stages().map(|stage| stage.kept.documents).sum());
    }

    /// Tells of a stage through which all documents go.
    pub(super) fn pass(self, flow: &Flow) {
        let documents = flow.accounts.iter().map(|source| source.kept().documents).sum();
        self.tell(documents, documents);
    }

    fn tell(self, input: u64, kept: u64) {
        let is_reused = self.work.n_made() == self.n_made;
        let (stage, elapsed) = (self.stage, self.started.elapsed());
        self.work.observer().tell(Event::Stage { stage, is_reused, input, kept, elapsed });
    }
}
