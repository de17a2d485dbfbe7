//! `neo score`: log-probabilities of given texts or ids, one JSON line for each.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use neo_backends::Precision;
use neo_data::tokenizer::Tokenizer;
use neo_model::Transformer;
use neo_model::score::{TokenScore, score};
use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// Options of `neo score`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model folder or checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Lines of {"ids":[..]} or {"text":".."}; a text is scored as its tokens, nothing before them
    #[arg(long)]
    jsonl: PathBuf,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

/// A line of the input.
#[derive(Deserialize)]
#[serde(untagged)]
enum Request {
    Ids { ids: Vec<u32> },
    Text { text: String },
}

/// A line of the output.
#[derive(Serialize)]
struct Scored<'a> {
    ids: &'a [u32],
    logprobs: Vec<Option<f32>>,
    greedy: Vec<Option<bool>>,
    sum: f64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let device = neo_backends::device::open(&args.device)?;
    let input = fs_err::File::open(&args.jsonl).map_err(neo_data::Error::io(&args.jsonl))?;
    let model = Transformer::load(&args.model, Precision::F32, &device)?;
    let mut tokenizer = None;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let progress = Progress::new("score", None);
    for (idx, line) in BufReader::new(input).lines().enumerate() {
        let line = line.map_err(neo_data::Error::io(&args.jsonl))?;
        if line.trim().is_empty() {
            continue;
        }
        let ids = request_ids(&line, &args, idx + 1, &mut tokenizer)?;
        let scores = score(&model, &[&ids])
            .with_context(|| format!("`{}` line {}", args.jsonl.display(), idx + 1))?;
        let first = (!ids.is_empty()).then_some(None);
        let each = |f: fn(&TokenScore) -> f32| {
            first.into_iter().chain(scores[0].iter().map(move |s| Some(f(s))))
        };
        let scored = Scored {
            ids: &ids,
            logprobs: each(|s| s.log_prob).collect(),
            greedy: first
                .map(|_| None)
                .into_iter()
                .chain(scores[0].iter().map(|s| Some(s.greedy)))
                .collect(),
            sum: scores[0].iter().map(|s| f64::from(s.log_prob)).sum(),
        };
        serde_json::to_writer(&mut out, &scored)?;
        writeln!(out)?;
        progress.set(idx as u64 + 1, "lines");
    }
    out.flush()?;
    Ok(())
}

fn request_ids(
    line: &str,
    args: &Args,
    line_number: usize,
    tokenizer: &mut Option<Tokenizer>,
) -> anyhow::Result<Vec<u32>> {
    let request = serde_json::from_str(line).map_err(|error| neo_data::Error::Malformed {
        path: args.jsonl.clone(),
        problem: format!(
            "line {line_number} is neither {{\"ids\":[..]}} nor {{\"text\":\"..\"}}: {error}"
        ),
    })?;
    Ok(match request {
        Request::Ids { ids } => ids,
        Request::Text { text } => opened(tokenizer, &args.model)?.encode(&text),
    })
}

/// The model's tokenizer, read when the first text needs it.
fn opened<'a>(tokenizer: &'a mut Option<Tokenizer>, model: &Path) -> anyhow::Result<&'a Tokenizer> {
    if tokenizer.is_none() {
        *tokenizer = Some(Tokenizer::from_path(model)?);
    }
    Ok(tokenizer.as_ref().expect("filled just above"))
}
