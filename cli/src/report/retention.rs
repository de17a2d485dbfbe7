//! What cleaning kept: the account of the data pipeline as a staircase of steps.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use neo_data::pipeline::{Account, SourceAccount};
use serde::Serialize;

use super::chart::short;

/// What the page shows of it.
#[derive(Debug, Serialize)]
pub(super) struct Retention {
    steps: Vec<Step>,
    sources: Vec<SourceRow>,
}

/// One step of the staircase: what a rule took away, and what was left after it.
#[derive(Debug, PartialEq, Serialize)]
struct Step {
    stage: String,
    rule: String,
    dropped: u64,
    /// Percent of all records.
    dropped_percent: String,
    /// Percent of all records.
    left_percent: f64,
    left: u64,
}

#[derive(Debug, Serialize)]
struct SourceRow {
    name: String,
    records: u64,
    kept: u64,
    kept_percent: String,
    kept_bytes: String,
    train_tokens: String,
    held_out_documents: u64,
}

impl Retention {
    /// Looks for `account.json` in the run folder, then beside the corpus that the recipe names.
    ///
    /// # Errors
    /// The file is there but is no account.
    pub(super) fn find(dir: &Path, recipe: Option<&toml::Table>) -> Result<Option<Self>> {
        let corpus = || recipe?.get("data")?.get("corpus")?.as_str().map(PathBuf::from);
        let mut folders = vec![dir.to_owned()];
        folders.extend(corpus().and_then(|corpus| corpus.parent().map(Path::to_owned)));
        for folder in folders {
            if let Some(account) = super::read_json::<Account>(&folder.join("account.json"))? {
                return Ok(Some(Self::of(&account)));
            }
        }
        Ok(None)
    }

    fn of(account: &Account) -> Self {
        Self { steps: steps(account), sources: account.sources.iter().map(SourceRow::of).collect() }
    }
}

/// Rules in the order of their stages, within a stage those that took most first.
fn steps(account: &Account) -> Vec<Step> {
    let records: u64 = account.sources.iter().map(|source| source.input().documents).sum();
    let percent = |n: u64| 100.0 * n as f64 / records.max(1) as f64;
    let mut order: Vec<&str> = Vec::new();
    let mut dropped: BTreeMap<(usize, &str), u64> = BTreeMap::new();
    for stage in account.sources.iter().flat_map(|source| &source.stages) {
        let place = order.iter().position(|&name| name == stage.stage).unwrap_or_else(|| {
            order.push(&stage.stage);
            order.len() - 1
        });
        for (rule, tally) in &stage.rules {
            *dropped.entry((place, rule)).or_default() += tally.documents;
        }
    }
    let mut dropped: Vec<((usize, &str), u64)> = dropped.into_iter().collect();
    dropped.sort_by_key(|&((place, _), n)| (place, std::cmp::Reverse(n)));
    let mut left = records;
    let step = |((place, rule), n): ((usize, &str), u64)| {
        left = left.saturating_sub(n);
        Step {
            stage: order[place].to_owned(),
            rule: rule.to_owned(),
            dropped: n,
            dropped_percent: format!("{:.2}", percent(n)),
            left_percent: percent(left),
            left,
        }
    };
    dropped.into_iter().map(step).collect()
}

impl SourceRow {
    fn of(source: &SourceAccount) -> Self {
        let (records, kept) = (source.input().documents, source.kept());
        Self {
            name: source.name.clone(),
            records,
            kept: kept.documents,
            kept_percent: format!("{:.1}", 100.0 * kept.documents as f64 / records.max(1) as f64),
            kept_bytes: short(kept.bytes as f64),
            train_tokens: short(source.train.tokens as f64),
            held_out_documents: source.held_out.documents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = r#"{"recipe": "t", "sources": [
        {"name": "en", "language": "en", "unread": {},
         "stages": [
            {"stage": "read", "input": {"documents": 10, "bytes": 100, "chars": 90},
             "kept": {"documents": 9, "bytes": 95, "chars": 90}, "dropped": {"documents": 1},
             "rules": {"not_json": {"documents": 1, "bytes": 5}}},
            {"stage": "filter", "input": {"documents": 9, "bytes": 95},
             "kept": {"documents": 6, "bytes": 80},
             "rules": {"n_chars": {"documents": 1, "bytes": 5}, "n_words": {"documents": 2, "bytes": 10}}}],
         "train": {"documents": 5, "bytes": 60, "tokens": 20},
         "held_out": {"documents": 1, "bytes": 20, "tokens": 5}}]}"#;

    #[test]
    fn the_staircase_goes_down_to_what_is_kept() {
        let account: Account = serde_json::from_str(ACCOUNT).unwrap();
        let shown: Vec<(String, u64, u64)> =
            steps(&account).into_iter().map(|step| (step.rule, step.dropped, step.left)).collect();
        let expected = [("not_json", 1, 9), ("n_words", 2, 7), ("n_chars", 1, 6)];
        assert_eq!(shown, expected.map(|(rule, n, left)| (rule.to_owned(), n, left)));
        assert_eq!(Retention::of(&account).sources[0].kept_percent, "60.0");
    }
}
