//! `neo data dedup`: one verb a method.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use neo_data::{
    dedup::{
        Method, Mode,
        exact::Exact,
        lines::{self, Lines},
        minhash::{MinHash, Normalise, Scheme},
        paragraph::Paragraph,
        substring::Substring,
    },
    filter::RuleSet,
    pipeline::{self, Account, Dedup},
};

use super::{Reporter, Stage, expand_home, print_account};
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
        Command::Exact(Exactly { stage, known }) => stage.deduplicate(&Exact, known),
        Command::Words(stage) => stage.run("kept", RuleSet::none(), Dedup::Exact, None),
        Command::Minhash(Minhash { stage, known, scheme, normalise, mode }) => {
            stage.deduplicate(&MinHash::new(scheme, normalise, mode), known)
        }
        Command::Paragraph(Parts { stage, mode }) => {
            stage.deduplicate(&Paragraph { mode }, Known::NONE)
        }
        Command::Substring(Parts { stage, mode }) => {
            stage.deduplicate(&Substring { mode }, Known::NONE)
        }
        Command::Lines(SimilarLines { stage, proportion }) => {
            if !(0.0..=1.0).contains(&proportion) {
                let problem = format!("`--proportion` is {proportion}, expected 0 to 1");
                return Err(Usage::with_hint(problem, "leave it out for MAP-Neo's 0.1").into());
            }
            stage.deduplicate(&Lines { proportion }, Known::NONE)
        }
    }
}

impl Known {
    const NONE: Self = Self { index: None };
}

impl Stage {
    /// Reads the input twice or more, writes `kept.*`, `dropped.*`, `changed.*` and `account.json`.
    fn deduplicate(self, method: &dyn Method, known: Known) -> Result<()> {
        let source = self.source(None)?;
        let index = known.index.map(|path| PathBuf::from(expand_home(&path.to_string_lossy())));
        let (index, out) = (index.as_deref(), &self.out);
        let mut reporter = Reporter::default();
        let mut show = |event: pipeline::Event<'_>| reporter.show(event);
        let account = pipeline::deduplicate(method, &source, index, out, self.format, &mut show)?;
        drop(reporter);
        let account = Account { recipe: source.name, sources: vec![account] };
        self.write(&account)?;
        print_account(&account, self.json)
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
