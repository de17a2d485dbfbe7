//! `neo data`: documents in, documents or token shards out, everything counted. The work is
//! `neo_data`'s; here are the options, the progress and the tables.

mod decontaminate;
mod dedup;
mod input;
mod mask;
mod results;
mod table;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use neo_data::{
    Language,
    engine::{Event, Observer},
    filter::{Mode, RuleSource},
    pipeline::{self, Account, Recipe, Single, SourceAccount},
    read::{Format, Source},
    tokenizer::Tokenizer,
    write::FileFormat,
};

use crate::{
    environment, interrupt,
    progress::{self, Progress},
    report::cleaning,
};

/// Options of `neo data`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do with the documents.
    #[command(subcommand)]
    command: Command,
}

/// The stages, in their order, then the whole.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read raw files into one document file
    Ingest(Ingest),
    /// Drop documents by rules; every drop is written down with rule, value and threshold
    Filter(Filter),
    /// Drop copies
    Dedup {
        /// Which copies.
        #[command(subcommand)]
        method: dedup::Command,
    },
    /// Drop documents that repeat evaluation sets
    Decontaminate(decontaminate::Decontaminate),
    /// Put placeholders in the place of personal data; every document stays
    Mask(mask::Mask),
    /// Make a corpus folder of token shards from document files
    Tokenize(Tokenize),
    /// Do everything that a data recipe says, from raw files to a corpus folder
    Run(Run),
    /// Draw what cleaning kept and dropped as one self-contained page and a table
    Report(Report),
    /// Count what document files or a corpus folder hold
    Stats(Stats),
}

/// What to read and where to write.
#[derive(Debug, clap::Args)]
struct Stage {
    /// Files, folders, patterns with `*`, s3://bucket/key; JSONL, Parquet, WARC or text, plain, .gz or .zst
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Form of the results
    #[arg(long, default_value = "parquet", value_parser = file_format())]
    format: FileFormat,
    /// What the input holds, when its names do not tell
    #[arg(long, value_parser = input_format())]
    read_as: Option<Format>,
    /// Name of the source in ids and reports; documents that have one already keep theirs
    #[arg(long, default_value = "input")]
    source: String,
    /// Language of documents that state none [default: that of the rules, else other]
    #[arg(long, value_parser = language())]
    language: Option<Language>,
    /// Field of a record that holds the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_field: String,
    /// Field of a record that holds its id
    #[arg(long, default_value = "id", value_name = "NAME")]
    id_field: String,
    /// Field of a record that holds its address
    #[arg(long, default_value = "url", value_name = "NAME")]
    url_field: String,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `neo data ingest`.
#[derive(Debug, clap::Args)]
struct Ingest {
    #[command(flatten)]
    stage: Stage,
    /// Cut documents longer than this many characters into parts
    #[arg(long, value_name = "N")]
    split_chars: Option<usize>,
}

/// Options of `neo data filter`.
#[derive(Debug, clap::Args)]
struct Filter {
    /// `basic`, `matrix-en`, `matrix-zh`, `redpajama-v2` or a rule file
    #[arg(long, value_name = "NAME|FILE.toml")]
    rules: String,
    /// Follow a published filter to the letter, or as it was meant [default: as it was meant; in a rule file what it says]
    #[arg(long, value_parser = mode())]
    mode: Option<Mode>,
    /// Folder with the word lists and models that rules look things up in
    #[arg(long, value_name = "DIR")]
    assets: Option<String>,
    #[command(flatten)]
    stage: Stage,
}

/// Options of `neo data tokenize`.
#[derive(Debug, clap::Args)]
struct Tokenize {
    /// Document files, as the other stages write them
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<String>,
    /// SentencePiece .model, tokenizer.json, or a folder with one of them
    #[arg(long, value_name = "PATH")]
    tokenizer: String,
    /// The corpus folder
    #[arg(long)]
    out: PathBuf,
    /// Print the corpus manifest as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `neo data run`.
#[derive(Debug, clap::Args)]
struct Run {
    /// The data recipe, such as data/recipes/real_small.toml
    recipe: PathBuf,
    /// What to read instead of the recipe's input; a recipe with several sources needs NAME=PATH
    #[arg(long, num_args = 1.., value_name = "[NAME=]PATH")]
    input: Vec<String>,
    /// Folder for the results [default: out/NAME/data with the name of the recipe]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Override one value of the recipe, such as engine.memory_bytes=1000000000; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `neo data report`.
#[derive(Debug, clap::Args)]
struct Report {
    /// Folder with an account.json: the `--out` of `neo data run` or of a stage
    dir: PathBuf,
}

/// Options of `neo data stats`.
#[derive(Debug, clap::Args)]
struct Stats {
    /// Document files, or one corpus folder
    #[arg(required = true, value_name = "PATH")]
    input: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of the stages or all.
///
/// # Errors
/// What the stage reports: input that cannot be used, a failed write, an empty result.
pub(crate) fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Ingest(Ingest { stage, split_chars }) => {
            stage.run("documents", None, split_chars, None)
        }
        Command::Filter(args) => filter(args),
        Command::Dedup { method } => dedup::run(method),
        Command::Decontaminate(args) => decontaminate::run(args),
        Command::Mask(args) => mask::run(args),
        Command::Tokenize(args) => tokenize(&args),
        Command::Run(args) => run_recipe(&args),
        Command::Report(args) => report(&args),
        Command::Stats(args) => stats(&args),
    }
}

fn filter(args: Filter) -> Result<()> {
    let assets = args.assets.map(|path| PathBuf::from(expand_home(&path)));
    let (rules, mode) = (expand_home(&args.rules), args.mode);
    let source = RuleSource { name: &rules, mode, assets: assets.as_deref() };
    let mut stage = args.stage;
    stage.language = stage.language.or(source.language()?);
    let filter = pipeline::Filter { rules, language: None, mode, assets };
    stage.run("kept", Some(pipeline::Stage::Filter(filter)), None, None)
}

/// Memory for comparing documents in a verb; a recipe says how much it wants.
const MEMORY_BYTES: usize = 1 << 30;

impl Stage {
    /// Reads the input, does what a stage of a recipe does, writes `NAME.*`, `dropped.*`, `changed.*` and
    /// `account.json`.
    fn run(
        self,
        kept: &str,
        stage: Option<pipeline::Stage>,
        split_chars: Option<usize>,
        index: Option<&Path>,
    ) -> Result<()> {
        let source = self.source(split_chars)?;
        let single = self.single(kept, index);
        let (reporter, stop) = (Reporter::default(), interrupt::stop_flag()?);
        let on_event = |event: Event<'_>| reporter.show(event);
        let observer = Observer::new(&on_event, &stop);
        let account = pipeline::run_single(&single, stage.as_ref(), &source, observer)?;
        drop(reporter);
        self.account(source.name, account)
    }

    /// Where results go and in which form.
    fn single<'a>(&'a self, kept: &'a str, index: Option<&'a Path>) -> Single<'a> {
        let (out, format) = (self.out.as_path(), self.format);
        Single { out, kept, format, memory_bytes: MEMORY_BYTES, index }
    }

    /// The source that the options describe, once the folder for the results is seen to be free.
    fn source(&self, split_chars: Option<usize>) -> Result<Source> {
        let input: Vec<String> = self.input.iter().map(|path| expand_home(path)).collect();
        results::refuse_used(&self.out, &input)?;
        let store = environment::object_store();
        let format = match self.read_as {
            Some(format) => format,
            None => Format::of_input(&input[0], &store)?,
        };
        let language = self.language.unwrap_or(Language::Other);
        let mut source = Source::new(&self.source, language, input, format);
        source.store = store;
        (source.text_field, source.id_field) = (self.text_field.clone(), self.id_field.clone());
        (source.url_field, source.split_chars) = (self.url_field.clone(), split_chars);
        Ok(source)
    }

    /// Writes an account down and prints it; nothing left at all is an error.
    fn account(&self, name: String, account: SourceAccount) -> Result<()> {
        let account = Account { recipe: name, sources: vec![account], shuffles: Vec::new() };
        account.write(&self.out)?;
        if account.is_empty() {
            return Err(neo_data::Error::Setting(account.where_everything_went()).into());
        }
        print_account(&account, self.json)
    }
}

fn run_recipe(args: &Run) -> Result<()> {
    let mut recipe = Recipe::read(&args.recipe, &args.overrides)?;
    input::override_input(&mut recipe, &args.input)?;
    recipe.map_paths(expand_home);
    let store = environment::object_store();
    recipe.source.iter_mut().for_each(|source| source.store = store.clone());
    let out = args.out.clone().unwrap_or_else(|| Path::new("out").join(&recipe.name).join("data"));
    let (reporter, stop) = (Reporter::default(), interrupt::stop_flag()?);
    let on_event = |event: Event<'_>| reporter.show(event);
    let done = pipeline::run(&recipe, &out, Observer::new(&on_event, &stop))?;
    drop(reporter);
    if done.n_made == 0 {
        progress::write_line("nothing left to do");
    } else if out.join("report.html").exists() {
        let out = out.display();
        progress::write_line(&format!(
            "`{out}/report.html` is of an earlier run: `neo data report {out}` draws it anew"
        ));
    }
    progress::write_line(&format!("corpus: {}", out.join("corpus").display()));
    print_account(&done.account, args.json)
}

fn tokenize(args: &Tokenize) -> Result<()> {
    let input: Vec<String> = args.input.iter().map(|path| expand_home(path)).collect();
    results::refuse_used(&args.out, &input)?;
    let tokenizer = Tokenizer::from_path(Path::new(&expand_home(&args.tokenizer)))?;
    let files: Vec<PathBuf> = input.into_iter().map(PathBuf::from).collect();
    let (reporter, stop) = (Reporter::default(), interrupt::stop_flag()?);
    let on_event = |event: Event<'_>| reporter.show(event);
    let observer = Observer::new(&on_event, &stop);
    let manifest = pipeline::tokenize(&files, &tokenizer, &args.out, &observer)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&manifest)?);
    } else {
        print!("{}", table::corpus(&manifest));
    }
    Ok(())
}

fn stats(args: &Stats) -> Result<()> {
    let input: Vec<String> = args.input.iter().map(|path| expand_home(path)).collect();
    if let [dir] = &input[..]
        && Path::new(dir).join("corpus.json").exists()
    {
        let corpus = neo_data::corpus::Corpus::open(Path::new(dir))?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(corpus.manifest())?);
        } else {
            print!("{}", table::corpus(corpus.manifest()));
        }
        return Ok(());
    }
    let store = environment::object_store();
    let format = Format::of_input(&input[0], &store)?;
    let mut source = Source::new("input", Language::Other, input, format);
    source.store = store;
    let counts = table::count(&source)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&counts)?);
    } else {
        print!("{}", table::documents(&counts));
    }
    Ok(())
}

/// Draws `report.html` and `report.csv` and prints their paths.
fn report(args: &Report) -> Result<()> {
    for path in cleaning::write(&args.dir)? {
        println!("{}", path.display());
    }
    Ok(())
}

fn print_account(account: &Account, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(account)?);
    } else {
        print!("{}", table::account(account));
    }
    Ok(())
}

/// Shows events on stderr, a bar for each stage. Stages of several threads take turns.
#[derive(Default)]
pub(crate) struct Reporter {
    bars: Mutex<Vec<(String, Arc<Progress>)>>,
}

impl Reporter {
    /// Shows one event.
    pub(crate) fn show(&self, event: Event<'_>) {
        match event {
            Event::Warning(what) => progress::write_line(&format!("warning: {what}")),
            Event::Stage { stage, is_reused, input, kept, elapsed } => {
                let how = if is_reused { "reused" } else { "done" };
                let seconds = elapsed.as_secs_f64();
                progress::write_where_no_bars(&format!(
                    "{stage}: {how}, {input} documents in, {kept} kept, {seconds:.1} s"
                ));
            }
            Event::Progress { stage, done_bytes, total_bytes, documents } => {
                let bar = self.bar(stage, total_bytes);
                bar.set(done_bytes, &format!("{documents} documents"));
                if done_bytes >= total_bytes {
                    self.lock().retain(|(shown, _)| shown != stage);
                }
            }
        }
    }

    fn bar(&self, stage: &str, total_bytes: u64) -> Arc<Progress> {
        let mut bars = self.lock();
        if let Some((_, bar)) = bars.iter().find(|(shown, _)| shown == stage) {
            return Arc::clone(bar);
        }
        let bar = Arc::new(Progress::new(stage, Some(total_bytes)));
        bars.push((stage.to_owned(), Arc::clone(&bar)));
        bar
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<Progress>)>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `~/` at the start of a path, as shells expand it, for paths in recipes.
pub(crate) fn expand_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

fn language() -> impl TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::ALL.map(Language::name))
        .map(|name| Language::from_name(&name).expect("clap has checked the name"))
}

fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(["faithful", "corrected"]).map(|name| match name.as_str() {
        "corrected" => Mode::Corrected,
        _ => Mode::Faithful,
    })
}

fn file_format() -> impl TypedValueParser<Value = FileFormat> {
    PossibleValuesParser::new(["parquet", "jsonl"]).map(|name| match name.as_str() {
        "jsonl" => FileFormat::Jsonl,
        _ => FileFormat::Parquet,
    })
}

fn input_format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new([
        "jsonl",
        "parquet",
        "warc",
        "text",
        "lines",
        "paragraphs",
        "articles",
    ])
    .map(|name| match name.as_str() {
        "jsonl" => Format::Jsonl,
        "parquet" => Format::Parquet,
        "warc" => Format::Warc,
        "lines" => Format::Lines,
        "paragraphs" => Format::Paragraphs,
        "articles" => Format::Articles,
        _ => Format::Text,
    })
}
