//! One stage: what its rules dropped, lengths and languages before and after, samples.

use neo_data::pipeline::{StageAccount, Tally};
use serde::Serialize;
use serde_json::Value;

use super::{bytes, histogram, percent, samples::Samples};
use crate::report::{chart::short, language_name};

/// What the page shows of a stage.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    name: String,
    summary: String,
    rules: Vec<Rule>,
    lengths: Option<String>,
    languages: Vec<Split>,
    dropped: Vec<Samples>,
    kept: Samples,
}

/// A rule and what it dropped.
#[derive(Debug, Serialize)]
struct Rule {
    name: String,
    about: Option<String>,
    limits: String,
    documents: String,
    share: String,
    width: f64,
    bytes: String,
}

/// What became of the documents of a language.
#[derive(Debug, Serialize)]
struct Split {
    language: String,
    before: String,
    after: String,
    share: String,
    kept_width: f64,
    dropped_width: f64,
}

impl Stage {
    pub(super) fn of(stage: &StageAccount) -> Self {
        Self {
            name: stage.stage.clone(),
            summary: summary(stage),
            rules: rules(stage),
            lengths: histogram::draw(&stage.kept_lengths, &stage.dropped_lengths),
            languages: languages(stage),
            dropped: Samples::of_dropped(stage),
            kept: Samples::of_kept(stage),
        }
    }
}

fn summary(stage: &StageAccount) -> String {
    let amount = |tally: Tally| {
        format!("{} documents ({})", short(tally.documents as f64), bytes(tally.bytes))
    };
    let mut summary = format!(
        "Of {} it kept {} and dropped {}.",
        amount(stage.input),
        amount(stage.kept),
        amount(stage.dropped)
    );
    let rewritten = stage.rewritten;
    if rewritten.before.documents > 0 {
        summary += &format!(
            " {} of the kept were rewritten or cut, from {} to {}.",
            short(rewritten.before.documents as f64),
            bytes(rewritten.before.bytes),
            bytes(rewritten.after.bytes)
        );
    }
    if !stage.masked.is_empty() {
        let counts = stage.masked.iter();
        let counts: Vec<String> = counts.map(|(kind, n)| format!("{kind} {n} times")).collect();
        summary += &format!(" Masked were: {}.", counts.join(", "));
    }
    summary
}

/// Rules that dropped something, those that dropped most first, then the names of the others.
fn rules(stage: &StageAccount) -> Vec<Rule> {
    let mut rules: Vec<(&str, Tally)> =
        stage.rules.iter().map(|(rule, &tally)| (rule.as_str(), tally)).collect();
    rules.sort_by_key(|(_, tally)| std::cmp::Reverse((tally.documents, tally.bytes)));
    let most = rules.first().map_or(1, |(_, tally)| tally.documents.max(1));
    let rule = |(name, tally): (&str, Tally)| Rule {
        name: name.to_owned(),
        about: stage.settings["about"][name].as_str().map(str::to_owned),
        limits: limits(&stage.settings, name),
        documents: short(tally.documents as f64),
        share: percent(tally.documents, stage.input.documents),
        width: 100.0 * tally.documents as f64 / most as f64,
        bytes: bytes(tally.bytes),
    };
    rules.into_iter().map(rule).collect()
}

/// What a rule keeps, as the settings say it: in a table of rules, or in one of each language.
pub(super) fn limits(settings: &Value, rule: &str) -> String {
    let Some(tables) = settings.as_object() else { return String::new() };
    let of_table = |(table, rules): (&String, &Value)| {
        let limits = rules.get(rule)?.as_object()?;
        let sides = ["min", "above", "max", "below"];
        let limits = sides.iter().filter_map(|side| limits.get_key_value(*side));
        let limits: Vec<String> = limits.map(|(side, value)| format!("{side} {value}")).collect();
        let language = if table == "rules" { String::new() } else { format!("{table}: ") };
        (!limits.is_empty()).then(|| format!("{language}{}", limits.join(", ")))
    };
    tables.iter().filter_map(of_table).collect::<Vec<_>>().join("; ")
}

fn languages(stage: &StageAccount) -> Vec<Split> {
    let most = stage.languages.values().map(|split| split.kept.bytes + split.dropped.bytes).max();
    let width = |n: u64| 100.0 * n as f64 / most.unwrap_or(1).max(1) as f64;
    let row = |(language, split): (&neo_data::Language, &neo_data::pipeline::KeptAndDropped)| {
        let before = split.kept.bytes + split.dropped.bytes;
        Split {
            language: language_name(language.name()).to_owned(),
            before: bytes(before),
            after: bytes(split.kept.bytes),
            share: percent(split.kept.bytes, before),
            kept_width: width(split.kept.bytes),
            dropped_width: width(split.dropped.bytes),
        }
    };
    stage.languages.iter().map(row).collect()
}
