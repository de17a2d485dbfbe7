//! `neo eval mt-bench`: a model answers MT-Bench, and a judge behind an OpenAI-compatible endpoint
//! rates its answers.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use neo_eval::cache::AnswerCache;
use neo_eval::judge::{Endpoint, Judge};
use neo_eval::mt_bench::{self, BenchSet, Judgment, Question, Speaker};
use neo_eval::template::chat::{self, ChatTemplate};
use serde_json::{Value, json};

use super::loaded::Loaded;
use super::output;
use crate::error::Usage;
use crate::progress::Progress;

/// Longest time that the judge may take for one reply.
const REQUEST_TIME: Duration = Duration::from_secs(300);
/// Pause before a request is tried again; the next ones are twice as long each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Options of `neo eval mt-bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model folder whose tokenizer has a chat template
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder of the evaluation sets [default: NEO_DATA/eval, or ../shared/data/eval]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// OpenAI-compatible endpoint of the judge, the address up to `/chat/completions`; its key is
    /// read from OPENAI_API_KEY
    #[arg(long, value_name = "URL")]
    judge: String,
    /// Model that judges, by its name at the endpoint
    #[arg(long, value_name = "NAME")]
    judge_model: String,
    /// Write the results as JSON to this file; answers and replies are kept beside it, so that the
    /// same command asks nobody twice
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write every answer with the judge's reply as JSON lines to this file
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Questions, at most
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_new: usize,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let bench = Bench::open(args)?;
    let kept = output::with_ending(&args.out, ".answers.jsonl");
    let mut cache = AnswerCache::open(&kept, &json!("mt_bench"), crate::interrupt::stop_flag()?)?;
    let all = &bench.set.questions;
    let questions = &all[..args.limit.map_or(all.len(), |limit| limit.get().min(all.len()))];
    // The first question is answered and judged before the others are, so that a judge that cannot
    // be asked is found out before hours of answering.
    let (first, others) = questions.split_at(questions.len().min(1));
    let mut judgments = bench.judged(first, &mut cache)?;
    judgments.extend(bench.judged(others, &mut cache)?);
    write(args, &judgments, &bench)
}

/// Everything that takes part.
struct Bench {
    set: BenchSet,
    judge: Judge,
    template: ChatTemplate,
    loaded: Loaded,
    /// What the model's answers depend on.
    identity: Value,
    max_new: usize,
}

impl Bench {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let set = BenchSet::read(&super::data_folder(args.data.as_deref()))?;
        let judge = open_judge(args)?;
        let template = ChatTemplate::read(&args.model, chat::DEFAULT)?;
        let loaded = Loaded::open(&args.model, &args.device)?;
        check_context(args, loaded.model.config.max_seq_len)?;
        let identity = json!({
            "model": "neo",
            "model_sha256": neo_eval::report::folder_sha256(&args.model)?,
            "model_dtype": "float32",
            "device": neo_backends::device::resolve(&args.device),
            "max_new": args.max_new,
            "neo_version": env!("CARGO_PKG_VERSION"),
        });
        Ok(Self { set, judge, template, loaded, identity, max_new: args.max_new })
    }

    /// The questions answered and judged.
    fn judged(
        &self,
        questions: &[Question],
        cache: &mut AnswerCache,
    ) -> anyhow::Result<Vec<Judgment>> {
        let progress = Progress::new("MT-Bench answers", None);
        let tell = |done: usize, all: usize| {
            progress.set(done as u64, &format!("of {all} at a temperature"));
        };
        let speaker = Speaker {
            model: &self.loaded.network(&tell),
            template: &self.template,
            max_new: self.max_new,
            identity: &self.identity,
        };
        let answers = speaker.answers(questions, cache)?;
        let progress = Progress::new("MT-Bench judgments", None);
        let tell =
            |done: usize, all: usize| progress.set(done as u64, &format!("of {all} replies"));
        Ok(mt_bench::judge(&self.set, questions, &answers, &self.judge, cache, &tell)?)
    }

    /// Answers whose prompt lost its beginning because the model's context had no room for it.
    fn n_cut(&self, judgments: &[Judgment]) -> anyhow::Result<usize> {
        let room = self.loaded.model.config.max_seq_len - self.max_new;
        let mut n_cut = 0;
        for turns in judgments.chunks(2) {
            let answers = [turns[0].answer.clone(), String::new()];
            for turn in 0..turns.len() {
                let prompt = mt_bench::prompt(&self.template, &turns[0].question, &answers, turn)?;
                n_cut += usize::from(self.loaded.n_tokens(&prompt) > room);
            }
        }
        Ok(n_cut)
    }
}

/// The judge, with the key from the environment.
fn open_judge(args: &Args) -> anyhow::Result<Judge> {
    let Some(key) = crate::environment::judge_key() else {
        return Err(Usage::with_hint(
            "the judge's key is missing: OPENAI_API_KEY is not set",
            "set it in the environment; for an endpoint that wants no key, set it to any word",
        )
        .into());
    };
    Ok(Judge::new(Endpoint {
        url: args.judge.clone(),
        model: args.judge_model.clone(),
        key,
        request_time: REQUEST_TIME,
        first_pause: FIRST_PAUSE,
    })?)
}

fn check_context(args: &Args, context: usize) -> anyhow::Result<()> {
    if args.max_new < context {
        return Ok(());
    }
    let max_new = args.max_new;
    let problem = format!(
        "answers of {max_new} tokens leave no room for a question in the model's context of {context}"
    );
    Err(Usage::with_hint(problem, "ask for fewer with `--max-new N`").into())
}

/// Writes results and samples, and prints the table.
fn write(args: &Args, judgments: &[Judgment], bench: &Bench) -> anyhow::Result<()> {
    let temperature = |judgment: &Judgment| {
        let category = &judgment.question.category;
        (category.clone(), json!(mt_bench::temperature(category)))
    };
    let mut config = bench.identity.clone();
    config["model_args"] = json!(args.model);
    config["chat_template"] = json!(bench.template.source());
    config["judge"] = json!({ "url": args.judge, "model": args.judge_model });
    config["limit"] = json!(args.limit);
    config["temperatures"] = judgments.iter().map(temperature).collect();
    let mut results = mt_bench::summary(judgments, config);
    results["results"]["mt_bench"]["cut_prompts"] = json!(bench.n_cut(judgments)?);
    if let Some(path) = &args.samples {
        let mut text = String::new();
        for judgment in judgments {
            writeln!(text, "{}", judgment.line(&json!(args.model), &bench.judge))?;
        }
        crate::whole_file::write(path, &text)?;
    }
    crate::whole_file::write(&args.out, &format!("{results:#}\n"))?;
    output::print_table(&results);
    print_notes(&results["results"]["mt_bench"]);
    Ok(())
}

/// Says what the score does not tell.
fn print_notes(entry: &Value) {
    let n = &entry["sample_len"];
    if entry["cut_prompts"] != 0 {
        let n_cut = &entry["cut_prompts"];
        println!("{n_cut} of {n} answers follow a prompt that the context had no room for");
    }
    let bound = |i: usize| entry["score_bounds"][i].as_f64();
    if let (Some(low), Some(high)) = (bound(0), bound(1)) {
        let n_unreadable = &entry["unreadable"];
        println!(
            "{n_unreadable} of {n} replies hold no rating; were they all 1 or all 10, the score would \
             be {low:.4} or {high:.4}"
        );
    }
}
