//! `neo demo`: the tour of the program, from raw text to a released model, in the order in which it
//! happens. Every stage is one call of what the other verbs call; the two recipes are those of
//! `data/recipes/demo.toml` and `train/recipes/demo.toml`.

mod compare;
mod samples;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, atomic::Ordering};
use std::time::Instant;

use anyhow::Result;
use neo_backends::Precision;
use neo_data::{
    corpus::Corpus,
    engine::{Event, Observer},
    pipeline,
    sample::{self, SampleSettings},
    tokenizer::Tokenizer,
    toml_file,
};
use neo_model::{Transformer, hf};
use neo_train::{pretrain::Outcome, recipe::Recipe, run_folder::Resume};

use super::{data::Reporter, train};
use crate::{
    error::{INTERRUPTED, Usage},
    progress::write_line,
    report,
};

/// Options of `neo demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for everything the demo makes; must not exist or be empty
    #[arg(long, default_value = DEFAULT_OUT)]
    out: PathBuf,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seed of the corpus, the weights and the data order
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How much is generated and trained
    #[arg(long, value_enum, default_value_t = Size::Standard)]
    size: Size,
}

/// How much is generated and trained.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Size {
    /// A few steps of a very small model, to try a device out
    Small,
    /// Minutes on two CPU cores
    Standard,
}

/// The recipes' paths begin with it; another `--out` takes its place.
const DEFAULT_OUT: &str = "out/demo";

const DATA_RECIPE: &str = include_str!("../../../data/recipes/demo.toml");

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let started = Instant::now();
    let device = neo_backends::device::open(&args.device)?;
    let folders = Folders::create(&args.out)?;

    stage(1, "generate a small bilingual corpus, with copies and junk in it");
    let settings = args.size.sample(args.seed);
    let sample = sample::write(&folders.raw(), &settings)?;
    write_line(&summary::sample(&sample));

    stage(2, "read, clean, remove copies, hold out, train a tokenizer, write token shards");
    let data_recipe = data_recipe(&args.out)?;
    let stop = crate::interrupt::stop_flag()?;
    let reporter = Reporter::default();
    let on_event = |event: Event<'_>| reporter.show(event);
    let cleaned = pipeline::run(&data_recipe, &folders.data(), Observer::new(&on_event, &stop));
    drop(reporter);
    let cleaned = match cleaned {
        Err(neo_data::Error::Interrupted) => {
            write_line(&summary::interrupted_before_training(&args.out));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        cleaned => cleaned?,
    };
    write_line(&summary::account(&cleaned.account));

    stage(3, "pretrain: a fundamental phase, then a decay phase");
    let recipe = args.size.training_recipe(&folders.corpus(), args.seed)?;
    let run = folders.run();
    let outcome =
        train::train(&recipe, &run, Resume::Never, None, &args.device, Arc::clone(&stop))?;
    if outcome == Outcome::Interrupted {
        write_line(&summary::interrupted(&run));
        return Ok(ExitCode::from(INTERRUPTED));
    }

    stage(4, "compare with counting, before and after the decay phase, on all held-out text");
    let corpus = Corpus::open(&folders.corpus())?;
    let load = |dir: &Path| Transformer::load(dir, Precision::F32, &device);
    let comparison = compare::compare(&corpus, &recipe, &run, load)?;
    write_json(&run.join("baselines.json"), &comparison)?;
    if stop.load(Ordering::Relaxed) {
        write_line(&summary::interrupted_after_training(&run));
        return Ok(ExitCode::from(INTERRUPTED));
    }

    stage(5, "export to a Hugging Face folder");
    let last = compare::checkpoint_after(&run, recipe.total_steps())?;
    hf::export(&last, &folders.model(), None, MAX_SHARD_BYTES, &mut |_, _| {})?;

    stage(6, "let the model write");
    let (model, tokenizer) = (load(&folders.model())?, Tokenizer::from_path(&folders.model())?);
    let samples = samples::write(&model, &tokenizer, args.seed)?;
    write_json(&run.join("samples.json"), &samples)?;

    stage(7, "draw the report");
    let page = report::write(&run)?;

    print!("{}", summary::table(&comparison));
    print!("{}", summary::next_commands(&folders.model(), &folders.corpus(), &page));
    write_line(&format!("done in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

/// The demo's weights fit into one file many times over.
const MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// Where everything of the demo lies.
struct Folders {
    out: PathBuf,
}

impl Folders {
    /// Makes the folder; what another run left there is never touched.
    fn create(out: &Path) -> Result<Self> {
        let is_taken = out.exists() && fs_err::read_dir(out)?.next().is_some();
        if is_taken {
            return Err(Usage::with_hint(
                format!("`{}` is not empty", out.display()),
                "give another folder with `--out`, or remove this one",
            )
            .into());
        }
        fs_err::create_dir_all(out)?;
        Ok(Self { out: out.to_owned() })
    }

    /// Raw JSONL files, as a crawl might have left them.
    fn raw(&self) -> PathBuf {
        self.out.join("raw")
    }

    /// Kept and dropped documents with their account.
    fn data(&self) -> PathBuf {
        self.out.join("data")
    }

    /// Token shards and tokenizer.
    fn corpus(&self) -> PathBuf {
        self.data().join("corpus")
    }

    /// The training run: recipe, metrics, checkpoints, report.
    fn run(&self) -> PathBuf {
        self.out.join("run")
    }

    /// The model in Hugging Face layout.
    fn model(&self) -> PathBuf {
        self.out.join("hf")
    }
}

impl Size {
    fn sample(self, seed: u64) -> SampleSettings {
        let documents = match self {
            Self::Small => 2000,
            Self::Standard => 8000,
        };
        SampleSettings { seed, documents, junk_share: 0.2 }
    }

    fn training_recipe(self, corpus: &Path, seed: u64) -> Result<Recipe> {
        let (path, text) = match self {
            Self::Small => (
                "train/recipes/demo_small.toml",
                include_str!("../../../train/recipes/demo_small.toml"),
            ),
            Self::Standard => {
                ("train/recipes/demo.toml", include_str!("../../../train/recipes/demo.toml"))
            }
        };
        let (mut recipe, _) = toml_file::parse::<Recipe>(Path::new(path), text, &[])?;
        recipe.data.corpus = corpus.to_owned();
        recipe.seed = seed;
        recipe.validate()?;
        Ok(recipe)
    }
}

fn data_recipe(out: &Path) -> Result<pipeline::Recipe> {
    let path = Path::new("data/recipes/demo.toml");
    let (mut recipe, _) = toml_file::parse::<pipeline::Recipe>(path, DATA_RECIPE, &[])?;
    recipe.map_paths(|path| match path.strip_prefix(DEFAULT_OUT) {
        Some(rest) => format!("{}{rest}", out.display()),
        None => path.to_owned(),
    });
    Ok(recipe)
}

fn stage(number: usize, what: &str) {
    write_line(&format!("[{number}/7] {what}"));
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(fs_err::write(path, json)?)
}
