//! `neo tokenizer`: train one, carry one between formats, encode and decode with it, compare two.

mod chart;
mod compare;
mod texts;
mod train;

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use neo_data::tokenizer::Tokenizer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Usage;
use crate::progress::Progress;

/// Options of `neo tokenizer`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a byte-fallback BPE vocabulary in the layout of MAP-Neo's
    Train(train::Args),
    /// Read a tokenizer.model or tokenizer.json, check it, and write neo's tokenizer files
    Import(ImportArgs),
    /// Write a tokenizer as a folder that transformers loads without remote code
    Export(ExportArgs),
    /// Turn texts into ids: {"text":".."} a line in, {"ids":[..]} a line out
    Encode(EncodeArgs),
    /// Turn ids into texts: {"ids":[..]} a line in, {"text":".."} a line out
    Decode(DecodeArgs),
    /// Measure how two tokenizers cut the same texts, language by language
    Compare(compare::Args),
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// A SentencePiece .model, a tokenizer.json, or a folder that holds one
    source: PathBuf,
    /// Folder for the tokenizer's files
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// A tokenizer file, or a folder that holds one: a corpus, a model, a checkpoint
    tokenizer: PathBuf,
    /// Folder for tokenizer.json, tokenizer_config.json, special_tokens_map.json, tokenizer.model
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct EncodeArgs {
    /// A tokenizer file, or a folder that holds one
    #[arg(long)]
    tokenizer: PathBuf,
    /// Lines of {"text":".."}
    #[arg(long)]
    jsonl: PathBuf,
    /// How special-token strings such as `<EOD>` inside a text are read
    #[arg(long, value_enum, default_value_t = Special::Plain)]
    special: Special,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Special {
    /// As plain text
    Plain,
    /// As special tokens, the parts between them encoded apart, as Megatron's wrapper does
    Megatron,
}

#[derive(Debug, clap::Args)]
struct DecodeArgs {
    /// A tokenizer file, or a folder that holds one
    #[arg(long)]
    tokenizer: PathBuf,
    /// Lines of {"ids":[..]}
    #[arg(long)]
    jsonl: PathBuf,
}

/// A line with a text.
#[derive(Deserialize, Serialize)]
struct TextLine {
    text: String,
}

/// A line with ids.
#[derive(Deserialize, Serialize)]
struct IdsLine {
    ids: Vec<u32>,
}

/// Runs the verb that was typed.
///
/// # Errors
/// A file that cannot be read or written, or that is not what it must be.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Train(args) => train::run(args),
        Command::Import(ImportArgs { source, out }) => convert(&source, &out),
        Command::Export(ExportArgs { tokenizer, out }) => convert(&tokenizer, &out),
        Command::Encode(args) => encode(&args),
        Command::Decode(args) => decode(&args),
        Command::Compare(args) => compare::run(&args),
    }
}

fn convert(source: &Path, out: &Path) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_path(source)?;
    refuse_other_tokenizer(out)?;
    save(&tokenizer, out)
}

fn save(tokenizer: &Tokenizer, out: &Path) -> anyhow::Result<()> {
    tokenizer.save(out)?;
    println!("{} ids, vocabulary {}", tokenizer.vocab_size(), tokenizer.vocab_hash());
    Ok(())
}

/// Files of another tokenizer are never written over: shards and models may depend on them.
fn refuse_other_tokenizer(out: &Path) -> anyhow::Result<()> {
    for name in ["tokenizer.model", "tokenizer.json"] {
        if out.join(name).exists() {
            let problem = format!("`{}` already holds a `{name}`", out.display());
            return Err(Usage::with_hint(problem, "give another folder as --out").into());
        }
    }
    Ok(())
}

fn encode(args: &EncodeArgs) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_path(&args.tokenizer)?;
    map_lines(&args.jsonl, |TextLine { text }| {
        let ids = match args.special {
            Special::Plain => tokenizer.encode(&text),
            Special::Megatron => tokenizer.encode_megatron(&text),
        };
        Ok(IdsLine { ids })
    })
}

fn decode(args: &DecodeArgs) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_path(&args.tokenizer)?;
    let n_ids = tokenizer.vocab_size();
    map_lines(&args.jsonl, |IdsLine { ids }| match ids.iter().find(|&&id| id as usize >= n_ids) {
        Some(id) => Err(format!("has id `{id}`, expected less than `{n_ids}`")),
        None => Ok(TextLine { text: tokenizer.decode(&ids) }),
    })
}

/// Prints one JSON line for each line of a file; a wrong line ends it, named by its number.
fn map_lines<In: DeserializeOwned, Out: Serialize>(
    path: &Path,
    mut line_of: impl FnMut(In) -> Result<Out, String>,
) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).map_err(neo_data::Error::io(path))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let progress = Progress::new("lines", None);
    for (line, number) in BufReader::new(file).lines().zip(1_u64..) {
        let wrong = |what: String| neo_data::Error::Malformed {
            path: path.to_owned(),
            problem: format!("line {number} {what}"),
        };
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => wrong("is not valid UTF-8".to_owned()),
            _ => neo_data::Error::io(path)(error),
        })?;
        if line.trim().is_empty() {
            continue;
        }
        let input =
            serde_json::from_str(&line).map_err(|error| wrong(format!("does not fit: {error}")))?;
        serde_json::to_writer(&mut out, &line_of(input).map_err(wrong)?)?;
        out.write_all(b"\n")?;
        progress.set(number, "");
    }
    out.flush()?;
    Ok(())
}
