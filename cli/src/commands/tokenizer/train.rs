//! `neo tokenizer train`: a vocabulary from texts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use neo_data::Language;
use neo_data::tokenizer::{Tokenizer, TrainerSettings};

use super::texts::{Input, Texts};
use super::{refuse_other_tokenizer, save};
use crate::progress::Progress;

/// Options of `neo tokenizer train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    /// How often the lines of a source count, such as code=2 or web=0.5; documents that neo wrote
    /// name theirs, others are named as their file is up to the first point; may be repeated
    #[arg(long = "weight", value_name = "SOURCE=ROUNDS", value_parser = weight)]
    weights: Vec<(String, f64)>,
    /// What the lots for a fraction of a source are drawn with
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Memory for the words of the sample, about; a sample that needs more is halved until it fits
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory: usize,
    /// Folder for the tokenizer's files
    #[arg(long)]
    out: PathBuf,
}

/// Trains and saves.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    refuse_other_tokenizer(&args.out)?;
    let (language, text_field) = (Language::Other, args.text_field.as_str());
    let inputs = args.input.iter().map(|path| Input { path, language, text_field });
    let mut texts = Texts::open(inputs)?;
    let settings = TrainerSettings {
        character_coverage: args.character_coverage,
        weights: args.weights.into_iter().collect::<BTreeMap<_, _>>(),
        seed: args.seed,
        memory_mib: args.memory,
        ..TrainerSettings::neo(args.vocab_size)
    };
    let documents = texts.by_ref().map(|document| (document.source, document.text));
    let mut merging = None;
    let trained = Tokenizer::train(documents, &settings, &mut |done, total| {
        let progress = merging.get_or_insert_with(|| Progress::new("pieces", Some(total as u64)));
        progress.set(done as u64, "");
    });
    texts.finish()?;
    save(&trained?, &args.out)
}

fn weight(text: &str) -> Result<(String, f64), String> {
    let (name, rounds) = text.split_once('=').ok_or("expected SOURCE=ROUNDS, such as code=2")?;
    let rounds = rounds.parse().map_err(|_| format!("`{rounds}` is no number of rounds"))?;
    Ok((name.to_owned(), rounds))
}
