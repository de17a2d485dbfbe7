//! `neo eval`: held-out loss and bits per byte of a model on a corpus.

use std::collections::BTreeMap;
use std::path::PathBuf;

use neo_backends::Precision;
use neo_data::corpus::Corpus;
use neo_eval::{HeldOut, held_out, perplexity};
use neo_model::Transformer;
use serde_json::json;

/// Options of `neo eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model folder or checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Corpus folder whose held-out documents are measured
    #[arg(long)]
    corpus: PathBuf,
    /// Tokens of a window; the model's context unless given
    #[arg(long)]
    seq_len: Option<usize>,
    /// Held-out tokens per language, 0 for all
    #[arg(long, default_value_t = 0)]
    max_tokens: u64,
    /// Write the results as JSON to this file
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where to compute: flex, wgpu[:n], cuda[:n], tch-cpu, tch-cuda[:n], auto
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let device = neo_backends::device::open(&args.device)?;
    let corpus = Corpus::open(&args.corpus)?;
    let model = Transformer::load(&args.model, Precision::F32, &device)?;
    let seq_len = args.seq_len.unwrap_or(model.config.max_seq_len);
    let mut found: BTreeMap<String, HeldOut> = BTreeMap::new();
    for language in held_out::languages(&corpus) {
        let documents = held_out::documents(&corpus, language, args.max_tokens)?;
        let sums = perplexity::held_out(&model, &documents, seq_len)?;
        found.insert(language.to_string(), sums);
    }
    println!(
        "{:10} {:>10} {:>10} {:>12} {:>14}",
        "language", "documents", "tokens", "nats/token", "bits per byte"
    );
    for (language, sums) in &found {
        println!(
            "{language:10} {:10} {:10} {:12.4} {:14.4}",
            sums.documents,
            sums.tokens,
            sums.loss(),
            sums.bits_per_byte()
        );
    }
    if let Some(out) = &args.out {
        let results: BTreeMap<&String, serde_json::Value> = found
            .iter()
            .map(|(language, sums)| {
                (language, json!({ "bits_per_byte": sums.bits_per_byte(), "loss": sums.loss(), "sums": sums }))
            })
            .collect();
        let results = json!({
            "model": args.model, "corpus": corpus.hash(), "seq_len": seq_len, "held_out": results,
        });
        fs_err::write(out, format!("{results:#}\n")).map_err(neo_data::Error::io(out))?;
    }
    Ok(())
}
