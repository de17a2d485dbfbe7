//! `neo tokenizer`: train one, carry one between formats, encode and decode with it.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use neo_data::Language;
use neo_data::read::{Format, Reader, Record, Source};
use neo_data::tokenizer::{Tokenizer, TrainerSettings};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Usage;
use crate::progress::{Progress, write_line};

/// Options of `neo tokenizer`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a byte-fallback BPE vocabulary in the layout of MAP-Neo's
    Train(TrainArgs),
    /// Read a tokenizer.model or tokenizer.json, check it, and write neo's tokenizer files
    Import(ImportArgs),
    /// Write a tokenizer as a folder that transformers loads without remote code
    Export(ExportArgs),
    /// Turn texts into ids: {"text":".."} a line in, {"ids":[..]} a line out
    Encode(EncodeArgs),
    /// Turn ids into texts: {"ids":[..]} a line in, {"text":".."} a line out
    Decode(DecodeArgs),
}

#[derive(Debug, clap::Args)]
struct TrainArgs {
    /// Texts: JSONL, Parquet or plain text files, plain or gz or zst
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// Field of a record that holds the text
    #[arg(long, default_value = "text")]
    text_field: String,
    /// Number of pieces, the five special tokens behind them not counted
    #[arg(long)]
    vocab_size: usize,
    /// Share of the characters that get a piece of their own; the others become bytes
    #[arg(long, default_value_t = 0.9999)]
    character_coverage: f64,
    /// Folder for the tokenizer's files
    #[arg(long)]
    out: PathBuf,
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
        Command::Train(args) => train(&args),
        Command::Import(ImportArgs { source, out }) => convert(&source, &out),
        Command::Export(ExportArgs { tokenizer, out }) => convert(&tokenizer, &out),
        Command::Encode(args) => encode(&args),
        Command::Decode(args) => decode(&args),
    }
}

fn train(args: &TrainArgs) -> anyhow::Result<()> {
    refuse_other_tokenizer(&args.out)?;
    let mut texts = Texts::open(args)?;
    let settings = TrainerSettings {
        character_coverage: args.character_coverage,
        ..TrainerSettings::neo(args.vocab_size)
    };
    let trained = Tokenizer::train(&mut texts, &settings);
    let n_bad = texts.finish()?;
    if n_bad > 0 {
        write_line(&format!("{n_bad} records hold no text and were left out"));
    }
    save(&trained?, &args.out)
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

/// The texts of all inputs, one after another; the first error ends them and is kept.
struct Texts {
    readers: std::vec::IntoIter<Reader>,
    current: Option<Reader>,
    n_bad: u64,
    bytes_before: u64,
    failure: Option<neo_data::Error>,
    progress: Progress,
}

impl Texts {
    fn open(args: &TrainArgs) -> anyhow::Result<Self> {
        let open = |path: &String| {
            let format = Format::of_path(path);
            let source = Source {
                text_field: args.text_field.clone(),
                ..Source::new("input", Language::Other, vec![path.clone()], format)
            };
            Reader::open(&source)
        };
        let readers: Vec<Reader> = args.input.iter().map(open).collect::<Result<_, _>>()?;
        let total_bytes = readers.iter().map(|reader| reader.progress().1).sum();
        Ok(Self {
            readers: readers.into_iter(),
            current: None,
            n_bad: 0,
            bytes_before: 0,
            failure: None,
            progress: Progress::new("reading bytes", Some(total_bytes)),
        })
    }

    /// Number of records without text.
    fn finish(self) -> Result<u64, neo_data::Error> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.n_bad),
        }
    }
}

impl Iterator for Texts {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            if self.current.is_none() {
                self.current = Some(self.readers.next()?);
            }
            let reader = self.current.as_mut()?;
            let (read, total) = reader.progress();
            self.progress.set(self.bytes_before + read, "");
            match reader.next() {
                Some(Ok(Record::Document(document))) => return Some(document.text),
                Some(Ok(Record::Bad(_))) => self.n_bad += 1,
                Some(Err(failure)) => {
                    self.failure = Some(failure);
                    self.readers = Vec::new().into_iter();
                    self.current = None;
                }
                None => {
                    self.bytes_before += total;
                    self.current = None;
                }
            }
        }
    }
}
