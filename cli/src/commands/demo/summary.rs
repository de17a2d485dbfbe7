//! What the demo says: a line after each stage, the table and the next commands at the end.

use std::fmt::Write;
use std::path::Path;

use neo_data::{pipeline::Account, sample::SampleSummary};

use crate::report::Comparison;

/// What was generated.
pub(super) fn sample(summary: &SampleSummary) -> String {
    let megabytes = summary.utf8_bytes as f64 / 1e6;
    format!(
        "      {} clean documents ({megabytes:.1} MB), {} junk records, {} broken lines, {} files",
        summary.documents,
        summary.junk,
        summary.broken_lines,
        summary.files.len()
    )
}

/// What cleaning kept.
pub(super) fn account(account: &Account) -> String {
    let sum = |count: fn(&neo_data::pipeline::SourceAccount) -> u64| {
        account.sources.iter().map(count).sum::<u64>()
    };
    format!(
        "      {} of {} records kept; {} tokens to train on, {} held out",
        sum(|source| source.kept().documents),
        sum(|source| source.input().documents),
        sum(|source| source.train.tokens),
        sum(|source| source.held_out.tokens)
    )
}

/// What to do with a demo whose corpus is not there yet.
pub(super) fn interrupted_before_training(out: &Path) -> String {
    let out = out.display();
    format!("interrupted; a demo begins anew: remove `{out}`, or give another folder with `--out`")
}

/// How to go on after an interruption.
pub(super) fn interrupted(run: &Path) -> String {
    let run = run.display();
    format!("interrupted but saved; go on with: {} train {run}/recipe.toml --out {run}", program())
}

/// What to do with a run that was trained to its end before the interruption.
pub(super) fn interrupted_after_training(run: &Path) -> String {
    let run = run.display();
    format!("interrupted; training was complete, draw its curves with: {} report {run}", program())
}

/// Predictors, nats per token, bits per byte by language.
pub(super) fn table(comparison: &Comparison) -> String {
    let languages: Vec<&String> =
        comparison.rows.first().map(|row| row.bits_per_byte.keys().collect()).unwrap_or_default();
    let width = comparison.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut text = format!(
        "\nheld-out text, {} tokens{:pad$}bits per byte\n{:width$}  nats/token",
        comparison.held_out_tokens,
        "",
        "",
        pad = (width + 14).saturating_sub(23 + comparison.held_out_tokens.to_string().len()),
    );
    for language in &languages {
        let _ = write!(text, "{language:>8}");
    }
    for row in &comparison.rows {
        let _ = write!(text, "\n{:width$}  {:10.3}", row.name, row.nats_per_token);
        for language in &languages {
            match row.bits_per_byte.get(*language) {
                Some(value) => write!(text, "{value:8.3}"),
                None => write!(text, "{:>8}", "-"),
            }
            .unwrap_or_default();
        }
    }
    text + "\n"
}

/// What to try next.
pub(super) fn next_commands(model: &Path, corpus: &Path, page: &Path) -> String {
    let (neo, model, corpus) = (program(), model.display(), corpus.display());
    let page = page.display();
    format!(
        "\nnext:\n  open {page}\n  \
         {neo} generate --model {model} --prompt \"In Foxhill there lives\"\n  \
         {neo} eval --model {model} --corpus {corpus}\n  \
         {neo} plan train/recipes/neo_7b.toml\n"
    )
}

/// The program as it was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "neo".into())
}
