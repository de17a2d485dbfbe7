//! `neo eval --tasks`: a model on benchmarks, with lm-evaluation-harness's numbers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use neo_backends::Precision;
use neo_data::tokenizer::Tokenizer;
use neo_eval::cache::AnswerCache;
use neo_eval::evaluation::{self, Outcome, Settings};
use neo_eval::language_model::LanguageModel;
use neo_eval::metric::error::BOOTSTRAP_DRAWS;
use neo_eval::network::{Network, Sharing};
use neo_eval::opencompass;
use neo_eval::program::ProgramRunner;
use neo_eval::report::{Evaluated, sample_lines, summary};
use neo_eval::sandbox::Sandbox;
use neo_eval::task::Task;
use neo_eval::task::library::{Library, Selection};
use neo_model::Transformer;
use neo_model::hf::HfConfig;
use serde_json::{Value, json};

use crate::error::Usage;
use crate::progress::Progress;

/// Exit code of an evaluation that was stopped and can go on.
const STOPPED: u8 = 75;

/// Options of `neo eval --tasks`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Folder of the evaluation sets [default: NEO_DATA/eval, or ../shared/data/eval]
    #[arg(long, value_name = "DIR", requires = "tasks")]
    data: Option<PathBuf>,
    /// Whose way of asking: the numbers of the two differ by design
    #[arg(long, value_enum, default_value = "harness")]
    mode: Mode,
    /// Documents of each task, at most
    #[arg(long, value_name = "N", requires = "tasks")]
    limit: Option<usize>,
    /// Shots before each question, in place of the task's own number
    #[arg(long, value_name = "N", requires = "tasks")]
    shots: Option<usize>,
    /// Write every document with prompt, answer and score as JSON lines to this file
    #[arg(long, value_name = "FILE", requires = "tasks")]
    samples: Option<PathBuf>,
    /// Run the programs that the model writes, in a sandbox (HumanEval, MBPP)
    #[arg(long, requires = "tasks")]
    run_programs: bool,
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
) -> anyhow::Result<ExitCode> {
    let library = Library::built_in()?;
    let selection = library.select_with_paths(names, &data_folder(options), options.shots)?;
    let sandbox = sandbox(&selection, options)?;
    let device = neo_backends::device::open(device_name)?;
    let tokenizer = tokenizer(model_dir)?;
    let model = Transformer::load(model_dir, Precision::F32, &device)?;
    let config = config(model_dir, names, options, device_name)?;
    let mut cache = match out {
        Some(out) => AnswerCache::open(&beside(out), &config, crate::interrupt::stop_flag()?)?,
        None => AnswerCache::in_memory(),
    };
    // Only what the folder declares, as in that program; its EOD where it declares nothing.
    let mut stop_ids = HfConfig::read(model_dir)?.special_ids.eos;
    if stop_ids.is_empty() {
        stop_ids.push(tokenizer.eod_id());
    }
    let mut outcomes = Vec::new();
    for task in &selection.tasks {
        let progress = Progress::new(task.definition.task.clone(), None);
        let tell =
            |done: usize, all: usize| progress.set(done as u64, &format!("of {all} requests"));
        let network = Network::new(&model, &tokenizer, stop_ids.clone(), Sharing::On, &tell);
        match evaluate(task, &network, options, &mut cache, sandbox.as_ref()) {
            Ok(outcome) => outcomes.push(outcome),
            Err(neo_eval::Error::Stopped) => {
                crate::progress::write_line("stopped; the same command goes on");
                return Ok(ExitCode::from(STOPPED));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let evaluated: Vec<Evaluated<'_>> = selection
        .tasks
        .iter()
        .zip(&outcomes)
        .map(|(task, outcome)| Evaluated { task, outcome })
        .collect();
    let results = summary(&evaluated, &selection.groups, config);
    if let Some(path) = &options.samples {
        write_samples(path, &evaluated)?;
    }
    if let Some(out) = out {
        crate::whole_file::write(out, &format!("{results:#}\n"))?;
    }
    print_table(&results, options.mode);
    cache.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn data_folder(options: &Options) -> PathBuf {
    let from_environment =
        || std::env::var_os("NEO_DATA").map(|data| PathBuf::from(data).join("eval"));
    let usual = || PathBuf::from("../shared/data/eval");
    options.data.clone().or_else(from_environment).unwrap_or_else(usual)
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

fn tokenizer(model_dir: &Path) -> anyhow::Result<Tokenizer> {
    let present = ["tokenizer.model", "tokenizer.json"].iter().any(|n| model_dir.join(n).exists());
    if model_dir.is_dir() && !present {
        return Err(Usage::with_hint(
            format!("model `{}` has no tokenizer, so it cannot be asked", model_dir.display()),
            "put the tokenizer.model it was trained with into the folder",
        )
        .into());
    }
    Ok(Tokenizer::from_path(model_dir)?)
}

fn evaluate(
    task: &Task,
    model: &dyn LanguageModel,
    options: &Options,
    cache: &mut AnswerCache,
    sandbox: Option<&Sandbox>,
) -> neo_eval::Result<Outcome> {
    let settings = Settings { limit: options.limit, bootstrap_draws: BOOTSTRAP_DRAWS };
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
) -> anyhow::Result<Value> {
    Ok(json!({
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
    }))
}

/// The file of answers so far, beside the results.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".answers");
    name.into()
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

fn print_table(results: &Value, mode: Mode) {
    println!("mode: {}", mode.name());
    println!(
        "{:36} {:22} {:>10} {:>9}  {:19} {:>6}",
        "task", "metric", "value", "stderr", "95 % interval", "n"
    );
    let tasks = results["results"].as_object().into_iter().flatten();
    for (task, entry) in tasks {
        for (key, value) in entry.as_object().into_iter().flatten() {
            let Some((metric, filter)) = key.split_once(',') else { continue };
            if metric.ends_with("_stderr") || metric.ends_with("_ci95") {
                continue;
            }
            let error = entry[format!("{metric}_stderr,{filter}")].as_f64();
            let error = error.map_or("".into(), |error| format!("{error:.4}"));
            let bound = |i: usize| entry[format!("{metric}_ci95,{filter}")][i].as_f64();
            let interval = match (bound(0), bound(1)) {
                (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
                _ => String::new(),
            };
            let value = value.as_f64().unwrap_or(f64::NAN);
            let n = &entry["sample_len"];
            let chance = match (entry["chance"].as_f64(), bound(0), bound(1)) {
                (Some(chance), Some(low), Some(high))
                    if metric == "acc" && low <= chance && chance <= high =>
                {
                    format!("  chance is {chance}")
                }
                _ => String::new(),
            };
            println!("{task:36} {key:22} {value:10.4} {error:>9}  {interval:19} {n:>6}{chance}");
        }
    }
}
