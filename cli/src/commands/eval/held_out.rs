//! `neo eval --corpus`: held-out loss and bits per byte of a model on a corpus.

use std::collections::BTreeMap;
use std::path::Path;

use neo_backends::Precision;
use neo_data::corpus::{Corpus, Split};
use neo_data::tokenizer::Tokenizer;
use neo_eval::held_out::HeldOutDocument;
use neo_eval::{HeldOut, NgramModel, compression, held_out, perplexity};
use neo_model::Transformer;
use serde_json::json;

use crate::error::Usage;

/// Options of `neo eval --corpus`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Tokens of a window; the model's context unless given
    #[arg(long, requires = "corpus")]
    seq_len: Option<usize>,
    /// Held-out tokens per language, about: whole documents, one of each source at least; 0 for all
    #[arg(long, default_value_t = 0)]
    max_tokens: u64,
    /// Also measure unigram and bigram models of the corpus's training tokens, and zstd -19
    #[arg(long, requires = "corpus")]
    baselines: bool,
}

/// Level of the compressor that `--baselines` compares with.
const ZSTD_LEVEL: i32 = 19;

/// Orders of the n-gram models that `--baselines` fits, with their names.
const NGRAMS: [(usize, &str); 2] = [(1, "unigram"), (2, "bigram")];

/// Figures of one language.
#[derive(serde::Serialize)]
struct Figures {
    bits_per_byte: f64,
    loss: f64,
    sums: HeldOut,
    /// Bits per byte of each baseline by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    baselines: BTreeMap<String, f64>,
}

pub(super) fn run(
    model_dir: &Path,
    corpus: &Path,
    options: &Options,
    out: Option<&Path>,
    device: &str,
) -> anyhow::Result<()> {
    let device = neo_backends::device::open(device)?;
    let corpus = Corpus::open(corpus)?;
    check_tokenizer(model_dir, &corpus)?;
    let model = Transformer::load(model_dir, Precision::F32, &device)?;
    let seq_len = options.seq_len.unwrap_or(model.config.max_seq_len);
    let mut found: BTreeMap<String, Figures> = BTreeMap::new();
    let baselines = if options.baselines { Some(Baselines::fit(&corpus)?) } else { None };
    for language in held_out::languages(&corpus) {
        let documents = held_out::documents(&corpus, language, options.max_tokens)?;
        let sums = perplexity::held_out(&model, &documents, seq_len)?;
        let figures = Figures {
            bits_per_byte: sums.bits_per_byte(),
            loss: sums.loss(),
            sums,
            baselines: match &baselines {
                Some(baselines) => baselines.measure(&documents)?,
                None => BTreeMap::new(),
            },
        };
        found.insert(language.to_string(), figures);
    }
    print_table(&found);
    if let Some(out) = out {
        let results = json!({
            "model": model_dir, "corpus": corpus.hash(), "seq_len": seq_len, "held_out": found,
        });
        fs_err::write(out, format!("{results:#}\n")).map_err(neo_data::Error::io(out))?;
    }
    Ok(())
}

/// Refuses a corpus whose ids mean other pieces than the model's, where the model tells its own.
fn check_tokenizer(model: &Path, corpus: &Corpus) -> anyhow::Result<()> {
    let hash_of_model = Tokenizer::from_path(model).map(|tokenizer| tokenizer.vocab_hash());
    if hash_of_model.is_ok_and(|hash| hash != corpus.manifest().vocab_hash) {
        let (model, corpus) = (model.display(), corpus.dir().display());
        return Err(Usage::with_hint(
            format!("model `{model}` and corpus `{corpus}` have different tokenizers"),
            "tokenize the texts with the model's own: `neo data tokenize --tokenizer MODEL`",
        )
        .into());
    }
    Ok(())
}

/// N-gram models of the training tokens, each document once, and the tokenizer to get texts back.
struct Baselines {
    ngrams: Vec<(&'static str, NgramModel)>,
    tokenizer: Tokenizer,
}

impl Baselines {
    fn fit(corpus: &Corpus) -> anyhow::Result<Self> {
        let sources = corpus.sources(Split::Train).map(|source| (source.name.clone(), 1.0));
        let mixture: BTreeMap<String, f64> = sources.collect();
        let fit =
            |(order, name)| anyhow::Ok((name, NgramModel::fit_corpus(order, corpus, &mixture)?));
        let ngrams = NGRAMS.into_iter().map(fit).collect::<anyhow::Result<_>>()?;
        Ok(Self { ngrams, tokenizer: Tokenizer::from_path(corpus.dir())? })
    }

    fn measure(&self, documents: &[HeldOutDocument]) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut found: BTreeMap<String, f64> = BTreeMap::new();
        for (name, model) in &self.ngrams {
            found.insert((*name).to_owned(), model.score_documents(documents).bits_per_byte());
        }
        let zstd = compression::zstd_bits_per_byte(documents, &self.tokenizer, ZSTD_LEVEL)?;
        found.insert(format!("zstd -{ZSTD_LEVEL}"), zstd);
        Ok(found)
    }
}

fn print_table(found: &BTreeMap<String, Figures>) {
    let names: Vec<&String> =
        found.values().next().map(|f| f.baselines.keys().collect()).unwrap_or_default();
    print!(
        "{:10} {:>10} {:>10} {:>11} {:>14}",
        "language", "documents", "tokens", "nats/token", "bits per byte"
    );
    names.iter().for_each(|name| print!(" {name:>9}"));
    println!();
    for (language, figures) in found {
        let HeldOut { documents, tokens, .. } = figures.sums;
        print!(
            "{language:10} {documents:10} {tokens:10} {:11.4} {:14.4}",
            figures.loss, figures.bits_per_byte
        );
        names.iter().for_each(|name| print!(" {:9.4}", figures.baselines[*name]));
        println!();
    }
}
