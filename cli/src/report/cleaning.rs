//! What cleaning did, as one self-contained page and a table: `account.json` drawn.
//!
//! The page goes from the whole to the single document: how much was kept, which stage and which rule took the
//! rest, how long and in which language it was, samples to read, and at the end every setting. It needs no script;
//! all text of documents is escaped. Here is what is read and written; each part is a file below.

mod csv;
mod funnel;
mod histogram;
mod samples;
mod settings;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::Result;
use neo_data::pipeline::{Account, SourceAccount, StageAccount, Tally};
use serde::Serialize;

use super::{FILE_NAME, KeyFigure, chart::short, read_json, render};
use crate::error::Usage;

/// Name of the table in the folder.
const CSV_NAME: &str = "report.csv";

/// Draws `dir/report.html` and `dir/report.csv` from `dir/account.json` and returns their paths.
///
/// # Errors
/// The folder holds no account, or one that is damaged, or the files cannot be written.
pub(crate) fn write(dir: &Path) -> Result<[PathBuf; 2]> {
    let Some(account) = read_json::<Account>(&dir.join("account.json"))? else {
        return Err(no_account(dir).into());
    };
    let [page, table] = [FILE_NAME, CSV_NAME].map(|name| dir.join(name));
    fs_err::write(&page, Page::of(&account).render()?)?;
    fs_err::write(&table, csv::of(&account))?;
    Ok([page, table])
}

/// A folder in which nothing was finished, or that is something else.
fn no_account(dir: &Path) -> Usage {
    let shown = dir.display();
    if dir.join("data_recipe.toml").is_file() && dir.join("work").is_dir() {
        return Usage::with_hint(
            format!("`{shown}` holds a run that is not finished"),
            format!(
                "the same `neo data run` goes on, or `neo data run {shown}/data_recipe.toml --out {shown}`"
            ),
        );
    }
    Usage::with_hint(
        format!("`{shown}` holds no account.json"),
        "give the `--out` folder of `neo data run`, `filter`, `dedup`, `decontaminate` or `mask`",
    )
}

/// What the template is given.
#[derive(Serialize)]
struct Page {
    name: String,
    key_figures: Vec<KeyFigure>,
    funnels: Vec<funnel::Funnel>,
    sources: Vec<SourceRow>,
    stages: Vec<stage::Stage>,
    settings: Vec<settings::Settings>,
    version: &'static str,
}

/// A source, from the files it names to what is left.
#[derive(Serialize)]
struct SourceRow {
    name: String,
    language: String,
    input: String,
    records: String,
    kept: String,
    kept_percent: String,
    bytes: String,
    tokens: Option<String>,
    held_out: Option<String>,
}

impl Page {
    fn of(account: &Account) -> Self {
        let stages = merged_stages(account);
        Self {
            name: account.recipe.clone(),
            key_figures: key_figures(account),
            funnels: funnel::draw(&stages),
            sources: account.sources.iter().map(SourceRow::of).collect(),
            stages: stages.iter().map(stage::Stage::of).collect(),
            settings: settings::of(account),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn render(&self) -> Result<String> {
        render(include_str!("../cleaning.html.j2"), self)
    }
}

/// The stages over all sources, in the order in which they first occur.
fn merged_stages(account: &Account) -> Vec<StageAccount> {
    let mut merged: Vec<StageAccount> = Vec::new();
    for stage in account.sources.iter().flat_map(|source| &source.stages) {
        match merged.iter_mut().find(|known| known.stage == stage.stage) {
            Some(known) => *known += stage.clone(),
            None => merged.push(stage.clone()),
        }
    }
    merged
}

/// Label, value and unit of the figures at the top.
fn key_figures(account: &Account) -> Vec<KeyFigure> {
    let total = |of: fn(&SourceAccount) -> Tally| {
        account.sources.iter().map(of).fold(Tally::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    };
    let (input, kept) = (total(SourceAccount::input), total(SourceAccount::kept));
    let tokens: u64 =
        account.sources.iter().map(|source| source.train.tokens + source.held_out.tokens).sum();
    let mut figures = vec![
        ("came in".to_owned(), short(input.documents as f64), "records"),
        ("kept".to_owned(), short(kept.documents as f64), "documents"),
        ("kept".to_owned(), bytes(kept.bytes), "of text"),
        ("that is".to_owned(), percent(kept.bytes, input.bytes), "of the bytes"),
    ];
    if tokens > 0 {
        figures.push(("made".to_owned(), short(tokens as f64), "tokens"));
    }
    figures
}

impl SourceRow {
    fn of(source: &SourceAccount) -> Self {
        let (input, kept) = (source.input(), source.kept());
        let of_read = source.stages.first().map(|stage| &stage.settings["input"]);
        let input_paths = of_read.map(super::plain).filter(|paths| paths != "unknown");
        let is_tokenized = source.train.tokens + source.held_out.tokens > 0;
        let if_tokenized = |n: u64| is_tokenized.then(|| short(n as f64));
        Self {
            name: source.name.clone(),
            language: source
                .languages()
                .iter()
                .map(|language| super::language_name(language.name()))
                .collect::<Vec<_>>()
                .join(", "),
            input: input_paths.unwrap_or_default(),
            records: short(input.documents as f64),
            kept: short(kept.documents as f64),
            kept_percent: percent(kept.bytes, input.bytes),
            bytes: bytes(kept.bytes),
            tokens: if_tokenized(source.train.tokens),
            held_out: if_tokenized(source.held_out.documents),
        }
    }
}

/// A share as it is printed.
fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        _ if share < 0.1 => format!("{share:.3} %"),
        _ if share < 10.0 => format!("{share:.2} %"),
        _ => format!("{share:.1} %"),
    }
}

/// An amount of bytes as it is printed.
fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        _ if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        _ if n >= 1e6 => format!("{:.2} MB", n / 1e6),
        _ if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        _ => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = r#"{"recipe": "a <b> & c", "sources": [
        {"name": "web", "language": "en", "unread": {}, "stages": [
            {"stage": "read", "settings": {"input": ["a,b.jsonl"], "format": "jsonl"},
             "input": {"documents": 4, "bytes": 100}, "kept": {"documents": 4, "bytes": 100}, "rules": {},
             "languages": {"en": {"kept": {"documents": 4, "bytes": 100}, "dropped": {}}}},
            {"stage": "filter",
             "settings": {"name": "matrix-en", "mode": "corrected", "rules": {"E1": {"min": 3}},
                          "about": {"E1": "mean length <of> tokens"}},
             "input": {"documents": 4, "bytes": 100}, "kept": {"documents": 3, "bytes": 80},
             "dropped": {"documents": 1, "bytes": 20}, "rules": {"E1": {"documents": 1, "bytes": 20}},
             "masked": {"ip": 2, "mail": 7},
             "kept_lengths": [0, 0, 2, 1], "dropped_lengths": [0, 1],
             "languages": {"en": {"kept": {"documents": 3, "bytes": 80}, "dropped": {"documents": 1, "bytes": 20}}},
             "kept_samples": [{"rank": 1, "id": "k", "source": "web", "language": "en", "n_chars": 5, "text": "kept \"text\""}],
             "dropped_samples": {"E1": [{"rank": 2, "id": "d<1>", "source": "web", "language": "en",
                "value": 2.5, "limit": {"min": 3}, "n_chars": 1000, "text": "<script>alert(1)</script>"}]}}],
         "train": {"documents": 0, "bytes": 0, "tokens": 0}, "held_out": {"documents": 0, "bytes": 0, "tokens": 0}}]}"#;

    fn page(account: &str) -> Result<(String, String)> {
        let dir = tempfile::tempdir()?;
        fs_err::write(dir.path().join("account.json"), account)?;
        let [page, table] = write(dir.path())?;
        Ok((fs_err::read_to_string(page)?, fs_err::read_to_string(table)?))
    }

    #[test]
    fn every_part_is_shown_and_escaped() {
        let (page, _) = page(ACCOUNT).unwrap();
        let parts = [
            "<h1>a &lt;b&gt; &amp; c</h1>",
            "mean length &lt;of&gt; tokens",
            "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;",
            "2.5, kept is at least 3",
            "kept &quot;text&quot;",
            "heuristic filter",
            "20 %",
            "Masked were: ip 2 times, mail 7 times.",
            "mode = &quot;corrected&quot;",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        for part in ["<script", "src=", "http:"] {
            assert!(!page.contains(part), "{part} is there");
        }
    }

    #[test]
    fn the_table_has_every_rule() {
        let (_, table) = page(ACCOUNT).unwrap();
        assert!(
            table.starts_with("stage,source,rule,documents,bytes,chars,share,keeps,found\n"),
            "{table}"
        );
        assert!(table.contains("filter,web,(masked mail),,,,,,7\n"), "{table}");
        assert!(table.contains("filter,web,E1,1,20,0,0.25,min 3,\n"), "{table}");
        assert!(table.contains("filter,web,(kept),3,80,0,0.75,,\n"), "{table}");
    }

    #[test]
    fn accounts_of_before_make_a_page() {
        let old = r#"{"recipe": "t", "sources": [{"name": "s", "language": "zh", "unread": {}, "stages": [
            {"stage": "read", "input": {"documents": 1, "bytes": 9}, "kept": {}, "dropped": {}, "rules": {}}],
            "train": {"documents": 0, "bytes": 0, "tokens": 9},
            "held_out": {"documents": 0, "bytes": 0, "tokens": 0}}]}"#;
        assert!(page(old).unwrap().0.contains("<h1>t</h1>"));
        assert!(page(r#"{"recipe": "t", "sources": []}"#).is_ok());
    }

    #[test]
    fn what_is_no_account_is_refused() {
        assert!(page("{}").unwrap_err().to_string().contains("account.json"));
        let dir = tempfile::tempdir().unwrap();
        let error = write(dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no account.json"), "{error}");
    }
}
