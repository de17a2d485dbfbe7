//! `neo tokenizer compare`: two tokenizers on the same texts, as a table and a plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use neo_data::tokenizer::{Compression, Tokenizer};
use neo_data::{Document, Language, write::write_file};
use serde::Serialize;

use super::chart;
use super::texts::{Input, Texts};

/// Options of `neo tokenizer compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A tokenizer file, or a folder that holds one
    first: PathBuf,
    /// The other one
    second: PathBuf,
    /// Texts: JSONL, Parquet or plain text files, plain or gz or zst; en=, zh= or code= before a path
    /// tells the language of documents that do not state one
    #[arg(long, required = true, num_args = 1.., value_name = "[LANGUAGE=]PATH")]
    input: Vec<String>,
    /// Field of a record that holds the text
    #[arg(long, default_value = "text")]
    text_field: String,
    /// Draw characters per token into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One row of the table.
#[derive(Serialize)]
pub(super) struct Row {
    /// Language, or `all`.
    pub(super) language: &'static str,
    /// Sums of the first tokenizer and of the second.
    pub(super) measured: [Compression; 2],
}

/// Measures and shows.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let paths = [&args.first, &args.second];
    let tokenizers = [Tokenizer::from_path(paths[0])?, Tokenizer::from_path(paths[1])?];
    let mut texts = Texts::open(args.input.iter().map(|input| args.typed(input)))?;
    let rows = measure(&tokenizers, texts.by_ref());
    texts.finish()?;
    if rows.is_empty() {
        return Err(neo_data::Error::Setting("the input holds no text to compare on".into()).into());
    }
    let names = paths.map(|path| name(path));
    if args.json {
        let results = serde_json::json!({"tokenizers": names, "rows": rows});
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", table(&names, &tokenizers, &rows));
    }
    if let Some(path) = &args.plot {
        write_file(path, chart::svg(&names, &rows).as_bytes())?;
    }
    Ok(())
}

impl Args {
    /// A path with the language before it.
    fn typed<'a>(&'a self, input: &'a str) -> Input<'a> {
        let named = input
            .split_once('=')
            .and_then(|(name, path)| Language::from_name(name).map(|language| (language, path)));
        let (language, path) = named.unwrap_or((Language::Other, input));
        Input { path, language, text_field: &self.text_field }
    }
}

/// A row for each language that occurs, then one for all if there are several.
fn measure(tokenizers: &[Tokenizer; 2], texts: impl Iterator<Item = Document>) -> Vec<Row> {
    let mut sums: BTreeMap<Language, [Compression; 2]> = BTreeMap::new();
    let mut all = [Compression::default(); 2];
    for Document { text, language, .. } in texts.filter(|document| !document.text.is_empty()) {
        let sums = sums.entry(language).or_default();
        for (idx, tokenizer) in tokenizers.iter().enumerate() {
            let measured = Compression::measure(tokenizer, &text);
            sums[idx] += measured;
            all[idx] += measured;
        }
    }
    let row = |(language, measured): (Language, _)| Row { language: language.name(), measured };
    let mut rows: Vec<Row> = sums.into_iter().map(row).collect();
    if rows.len() > 1 {
        rows.push(Row { language: "all", measured: all });
    }
    rows
}

/// A file's or folder's name, after its folder's for the usual file names.
fn name(path: &Path) -> String {
    let is_usual = |name: &str| ["tokenizer.json", "tokenizer.model"].contains(&name);
    let part = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match (part(path), path.parent().and_then(part)) {
        (Some(name), Some(folder)) if is_usual(&name) => format!("{folder}/{name}"),
        (Some(name), _) => name,
        (None, _) => path.display().to_string(),
    }
}

fn table(names: &[String; 2], tokenizers: &[Tokenizer; 2], rows: &[Row]) -> String {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(9);
    let mut text = format!(
        "{:9} {:width$} {:>8} {:>11} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9}\n",
        "language",
        "tokenizer",
        "ids",
        "bytes",
        "tokens",
        "bytes/token",
        "chars/token",
        "fertility",
        "bytes %",
        "unknown %"
    );
    for Row { language, measured } in rows {
        for ((name, tokenizer), sums) in names.iter().zip(tokenizers).zip(measured) {
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{language:9} {name:width$} {:8} {:11} {:11} {:11.4} {:11.4} {:9.4} {:9.3} {:9.3}",
                tokenizer.vocab_size(),
                sums.bytes,
                sums.tokens,
                sums.bytes_per_token(),
                sums.chars_per_token(),
                sums.fertility(),
                100.0 * sums.byte_rate(),
                100.0 * sums.unknown_rate(),
            );
        }
    }
    text.push_str(
        "fertility: tokens per word, a Chinese character being a word; bytes %: tokens that stand for \
         a byte\n",
    );
    for (language, chars_per_token) in chart::PAPER {
        let _ =
            writeln!(text, "MAP-Neo's paper, {language}: {chars_per_token} characters per token");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenizers_are_named_by_what_tells_them_apart() {
        assert_eq!(name(Path::new("a/b.model")), "b.model");
        assert_eq!(name(Path::new("a/mine/tokenizer.json")), "mine/tokenizer.json");
        assert_eq!(name(Path::new("tokenizer.json")), "tokenizer.json");
        assert_eq!(name(Path::new("out/mine/")), "mine");
    }
}
