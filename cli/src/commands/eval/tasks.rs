//! `neo eval --tasks`: a model on benchmarks, with lm-evaluation-harness's numbers.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use neo_eval::cache::AnswerCache;
use neo_eval::evaluation::{self, Outcome, Settings};
use neo_eval::language_model::LanguageModel;
use neo_eval::metric::error::BOOTSTRAP_DRAWS;
use neo_eval::opencompass;
use neo_eval::program::ProgramRunner;
use neo_eval::report::{Evaluated, sample_lines, summary};
use neo_eval::sandbox::Sandbox;
use neo_eval::task::library::{Library, Selection};
use neo_eval::task::{Conversation, Task};
use serde_json::{Map, Value, json};

use super::loaded::Loaded;
use super::{conversation, output};
use crate::error::Usage;
use crate::progress::Progress;

/// Options of `neo eval --tasks`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Folder of the evaluation sets [default: NEO_DATA/eval, or ../shared/data/eval]
    #[arg(long, value_name = "DIR", requires = "tasks", conflicts_with = "corpus")]
    data: Option<PathBuf>,
    /// Whose way of asking: the numbers of the two differ by design
    #[arg(long, value_enum, default_value = "harness")]
    mode: Mode,
    /// Documents of each task, at most
    #[arg(long, value_name = "N", requires = "tasks", conflicts_with = "corpus")]
    limit: Option<NonZeroUsize>,
    /// Shots before each question, in place of the task's own number
    #[arg(long, value_name = "N", requires = "tasks", conflicts_with = "corpus")]
    shots: Option<usize>,
    /// Write every document with prompt, answer and score as JSON lines to this file
    #[arg(long, value_name = "FILE", requires = "tasks", conflicts_with = "corpus")]
    samples: Option<PathBuf>,
    /// Run the programs that the model writes, in a sandbox (HumanEval, MBPP)
    #[arg(long, requires = "tasks", conflicts_with = "corpus")]
    run_programs: bool,
    #[command(flatten)]
    conversation: conversation::Options,
}

/// Ways of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// As lm-evaluation-harness
    Harness,
    /// As OpenCompass, for tasks that say how
    Opencompass,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Harness => "harness",
            Self::Opencompass => "opencompass",
        }
    }
}

/// Prints the names of all tasks and groups that neo brings.
pub(super) fn list() -> anyhow::Result<()> {
    for name in Library::built_in()?.names() {
        println!("{name}");
    }
    Ok(())
}

pub(super) fn run(
    model_dir: &Path,
    names: &[String],
    options: &Options,
    out: Option<&Path>,
    device_name: &str,
) -> anyhow::Result<()> {
    let library = Library::built_in()?;
    let data = super::data_folder(options.data.as_deref());
    let mut selection = library.select_with_paths(names, &data, options.shots)?;
    let conversation = conversation(model_dir, options)?;
    for task in &mut selection.tasks {
        task.conversation = conversation.clone();
    }
    let sandbox = sandbox(&selection, options)?;
    [out, options.samples.as_deref()].into_iter().flatten().try_for_each(output::refuse_used)?;
    let loaded = Loaded::open(model_dir, device_name)?;
    if options.mode == Mode::Harness {
        selection.tasks.iter().try_for_each(|task| loaded.check_room(task))?;
    }
    let mut config = config(model_dir, names, options, device_name)?;
    config.extend(conversation.described());
    let config = Value::Object(config);
    let mut cache = match out {
        Some(out) => {
            let stop = crate::interrupt::stop_flag()?;
            AnswerCache::open(&output::with_ending(out, ".answers"), &config, stop)?
        }
        None => AnswerCache::in_memory(),
    };
    if !cache.is_empty() {
        eprintln!("{} answers are there from before", cache.len());
    }
    let mut outcomes = Vec::new();
    for task in &selection.tasks {
        let progress = Progress::new(task.definition.task.clone(), None);
        let tell =
            |done: usize, all: usize| progress.set(done as u64, &format!("of {all} requests"));
        let network = loaded.network(&tell);
        outcomes.push(evaluate(task, &network, options, &mut cache, sandbox.as_ref())?);
    }
    let evaluated: Vec<Evaluated<'_>> = selection
        .tasks
        .iter()
        .zip(&outcomes)
        .map(|(task, outcome)| Evaluated { task, outcome })
        .collect();
    let mut results = summary(&evaluated, &selection.groups, config);
    results.as_object_mut().expect("results are a mapping").extend(conversation.described());
    if let Some(path) = &options.samples {
        write_samples(path, &evaluated)?;
    }
    if let Some(out) = out {
        crate::whole_file::write(out, &format!("{results:#}\n"))?;
    }
    println!("mode: {}", options.mode.name());
    output::print_table(&results);
    Ok(cache.finish()?)
}

/// The conversation that prompts are put into, which OpenCompass's form has no place for.
fn conversation(model_dir: &Path, options: &Options) -> anyhow::Result<Conversation> {
    if options.mode == Mode::Opencompass && !options.conversation.are_plain() {
        return Err(Usage::with_hint(
            "`--mode opencompass` takes no chat template and no system instruction",
            "use `--mode harness`, or leave them out",
        )
        .into());
    }
    Ok(options.conversation.conversation(model_dir)?)
}

/// The sandbox, if programs are to be run; tasks that need it are refused without.
fn sandbox(selection: &Selection, options: &Options) -> anyhow::Result<Option<Sandbox>> {
    let unsafe_task = selection.tasks.iter().find(|task| task.definition.unsafe_code);
    match (unsafe_task, options.run_programs) {
        (Some(task), false) => {
            let task = &task.definition.task;
            Err(Usage::with_hint(
                format!("task `{task}` runs programs that the model writes"),
                "add `--run-programs` to run them in a sandbox",
            )
            .into())
        }
        (_, true) => {
            let executable = std::env::current_exe()?;
            Ok(Some(Sandbox::new(&executable, &std::env::temp_dir())?))
        }
        (None, false) => Ok(None),
    }
}

fn evaluate(
    task: &Task,
    model: &dyn LanguageModel,
    options: &Options,
    cache: &mut AnswerCache,
    sandbox: Option<&Sandbox>,
) -> neo_eval::Result<Outcome> {
    let limit = options.limit.map(NonZeroUsize::get);
    let settings = Settings { limit, bootstrap_draws: BOOTSTRAP_DRAWS };
    match options.mode {
        Mode::Harness => {
            let runner = sandbox.map(|sandbox| sandbox as &dyn ProgramRunner);
            evaluation::evaluate(task, model, settings, cache, runner)
        }
        Mode::Opencompass => opencompass::evaluate(task, model, settings, cache),
    }
}

/// What the numbers depend on; an evaluation goes on only under the same.
fn config(
    model_dir: &Path,
    names: &[String],
    options: &Options,
    device: &str,
) -> anyhow::Result<Map<String, Value>> {
    let config = json!({
        "model": "neo",
        "model_args": model_dir,
        "model_sha256": neo_eval::report::folder_sha256(model_dir)?,
        "model_dtype": "float32",
        "device": neo_backends::device::resolve(device),
        "mode": options.mode.name(),
        "tasks": names,
        "limit": options.limit,
        "num_fewshot": options.shots,
        "bootstrap_iters": BOOTSTRAP_DRAWS,
        "random_seed": 0,
        "fewshot_seed": neo_eval::task::SHOT_SEED,
        "neo_version": env!("CARGO_PKG_VERSION"),
    });
    Ok(config.as_object().cloned().unwrap_or_default())
}

fn write_samples(path: &Path, evaluated: &[Evaluated<'_>]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for Evaluated { task, outcome } in evaluated {
        for line in sample_lines(task, &outcome.samples) {
            writeln!(text, "{line}")?;
        }
    }
    crate::whole_file::write(path, &String::from_utf8(text)?)
}
