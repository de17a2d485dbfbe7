//! `neo data dedup`: one verb a method.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use neo_data::{
    dedup::{
        Mode, lines,
        minhash::{Normalise, Scheme},
    },
    pipeline::{self, Dedup},
};

use super::{Stage, expand_home};
use crate::error::Usage;

/// Ways to find copies. All but `words` go by ids: of copies, the document with the smallest id is kept, so
/// neither the order of the input nor its files matter.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Documents whose texts are equal, character by character
    Exact(Exactly),
    /// Documents whose texts are equal up to whitespace; the first that is read is kept
    Words(Stage),
    /// Documents that are nearly equal: MinHash over runs of 13 characters, 9 bands of 13 values
    Minhash(Minhash),
    /// Paragraphs that occur before in any document; documents under 20 characters then go
    Paragraph(Parts),
    /// Stretches of 50 characters that occur before in any document; documents under 20 characters then go
    Substring(Parts),
    /// Sentences that are nearly equal to an earlier one of the same document
    Lines(SimilarLines),
}

/// Options of `neo data dedup exact`.
#[derive(Debug, clap::Args)]
pub(super) struct Exactly {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    known: Known,
}

/// Documents of earlier runs.
#[derive(Debug, clap::Args)]
struct Known {
    /// File with the keys of documents kept before: copies of them go too, and what is kept now is added
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
}

/// Options of `neo data dedup minhash`.
#[derive(Debug, clap::Args)]
pub(super) struct Minhash {
    #[command(flatten)]
    stage: Stage,
    #[command(flatten)]
    known: Known,
    /// How signatures are computed: MAP-Neo's numbers, or our own with the same odds and much faster
    #[arg(long, default_value = "original", value_parser = scheme())]
    scheme: Scheme,
    /// What is done to texts before they are compared: English is repaired, lower-cased and freed of
    /// punctuation; by-language does so to all but Chinese
    #[arg(long, default_value = "by-language", value_parser = normalise())]
    normalise: Normalise,
    /// Whether texts under 13 characters are all copies of each other, as for MAP-Neo, or never
    #[arg(long, default_value = "faithful", value_parser = mode())]
    mode: Mode,
}

/// Options of `neo data dedup paragraph` and `substring`.
#[derive(Debug, clap::Args)]
pub(super) struct Parts {
    #[command(flatten)]
    stage: Stage,
    /// As MAP-Neo did, or mended: empty paragraphs stay, a text's last stretch is seen
    #[arg(long, default_value = "faithful", value_parser = mode())]
    mode: Mode,
}

/// Options of `neo data dedup lines`.
#[derive(Debug, clap::Args)]
pub(super) struct SimilarLines {
    #[command(flatten)]
    stage: Stage,
    /// Edits allowed per character of the longer sentence, from 0 to 1
    #[arg(long, default_value_t = lines::PROPORTION)]
    proportion: f64,
}

/// Runs a method.
///
/// # Errors
/// Input that cannot be used, a failed write, an empty result.
pub(super) fn run(command: Command) -> Result<()> {
    match command {
        Command::Exact(Exactly { stage, known }) => known.run(stage, Dedup::Exact {}),
        Command::Words(stage) => Known::NONE.run(stage, Dedup::Words {}),
        Command::Minhash(Minhash { stage, known, scheme, normalise, mode }) => {
            known.run(stage, Dedup::Minhash { scheme, normalise, mode })
        }
        Command::Paragraph(Parts { stage, mode }) => {
            Known::NONE.run(stage, Dedup::Paragraph { mode })
        }
        Command::Substring(Parts { stage, mode }) => {
            Known::NONE.run(stage, Dedup::Substring { mode })
        }
        Command::Lines(SimilarLines { stage, proportion }) => {
            if !(0.0..=1.0).contains(&proportion) {
                let problem = format!("`--proportion` is {proportion}, expected 0 to 1");
                return Err(Usage::with_hint(problem, "leave it out for MAP-Neo's 0.1").into());
            }
            Known::NONE.run(stage, Dedup::Lines { proportion })
        }
    }
}

impl Known {
    const NONE: Self = Self { index: None };

    fn run(self, stage: Stage, dedup: Dedup) -> Result<()> {
        let index = self.index.map(|path| PathBuf::from(expand_home(&path.to_string_lossy())));
        stage.run("kept", Some(pipeline::Stage::Dedup(dedup)), None, index.as_deref())
    }
}

fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(["faithful", "corrected"]).map(|name| match name.as_str() {
        "corrected" => Mode::Corrected,
        _ => Mode::Faithful,
    })
}

fn scheme() -> impl TypedValueParser<Value = Scheme> {
    PossibleValuesParser::new(["original", "fast"]).map(|name| match name.as_str() {
        "fast" => Scheme::Fast,
        _ => Scheme::Original,
    })
}

fn normalise() -> impl TypedValueParser<Value = Normalise> {
    PossibleValuesParser::new(["by-language", "english", "none"]).map(|name| match name.as_str() {
        "english" => Normalise::English,
        "none" => Normalise::None,
        _ => Normalise::ByLanguage,
    })
}
