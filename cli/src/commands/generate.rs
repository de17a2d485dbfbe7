//! `neo generate`: continues a prompt, greedy or sampled with a seed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use neo_backends::Precision;
use neo_data::tokenizer::Tokenizer;
use neo_model::Transformer;
use neo_model::generate::{Limits, Sampling, generate};
use neo_model::hf::HfConfig;

/// Options of `neo generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model folder or checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Text to continue; the model sees it as the beginning of a document
    #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
    prompt: Option<String>,
    /// Token ids to continue, exactly these
    #[arg(long, value_delimiter = ',', value_name = "1,2,3")]
    ids: Option<Vec<u32>>,
    /// Most tokens to be made
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_new: usize,
    /// 0: the most probable token each time
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Choose among the most probable tokens that together reach this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Choose among this many most probable tokens, 0 for all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Seed of the draws; the same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print {"ids":[..],"text":".."} of the new tokens
    #[arg(long)]
    json: bool,
    /// Where to compute: flex, wgpu or wgpu:N, cuda or cuda:N, tch-cpu, tch-cuda or tch-cuda:N, auto
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let device = neo_backends::device::open(&args.device)?;
    let model = Transformer::load(&args.model, Precision::F32, &device)?;
    let tokenizer = optional_tokenizer(&args.model)?;
    let prompt = match (&args.ids, &args.prompt, &tokenizer) {
        (Some(ids), _, _) => ids.clone(),
        (None, Some(text), Some(tokenizer)) => document_start(tokenizer, text),
        _ => {
            let model = args.model.display();
            return Err(neo_model::Error::Setting(format!(
                "model `{model}` has no tokenizer, so `--prompt` cannot be read; use `--ids`"
            ))
            .into());
        }
    };
    let sampling = Sampling {
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        seed: args.seed,
    };
    let mut stop_ids: Vec<u32> = HfConfig::read(&args.model)?.special_ids.eos.into_iter().collect();
    stop_ids.extend(tokenizer.as_ref().map(Tokenizer::eod_id));
    let limits = Limits {
        max_new: args.max_new,
        stop_ids: &stop_ids,
        n_choices: tokenizer.as_ref().map_or(model.config.vocab_size, Tokenizer::vocab_size),
    };
    let started = Instant::now();
    let mut live = (!args.json).then(|| Live::new(tokenizer.as_ref(), &prompt));
    let new = generate(&model, &prompt, sampling, &limits, &mut |id| {
        if let Some(live) = &mut live {
            live.push(id);
        }
    })?;
    tracing::info!(tokens = new.len(), seconds = started.elapsed().as_secs_f64(), "generated");
    if args.json {
        let text = tokenizer.as_ref().map(|tokenizer| tokenizer.decode(&new));
        println!("{}", serde_json::json!({ "ids": new, "text": text }));
    } else {
        println!();
    }
    Ok(())
}

/// A prompt as pretraining saw documents begin: after the EOD of the one before.
pub(crate) fn document_start(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let mut ids = vec![tokenizer.eod_id()];
    tokenizer.encode_into(text, &mut ids);
    ids
}

/// The folder's tokenizer, or none if it holds no tokenizer file.
fn optional_tokenizer(model: &Path) -> anyhow::Result<Option<Tokenizer>> {
    let present =
        ["tokenizer.model", "tokenizer.json"].iter().any(|name| model.join(name).exists());
    Ok(if present { Some(Tokenizer::from_path(model)?) } else { None })
}

/// Prints text as it comes; a token may end inside a character, which then waits for the rest.
struct Live<'a> {
    tokenizer: Option<&'a Tokenizer>,
    ids: Vec<u32>,
    printed: usize,
}

impl<'a> Live<'a> {
    fn new(tokenizer: Option<&'a Tokenizer>, prompt: &[u32]) -> Self {
        let printed = tokenizer.map_or(0, |tokenizer| tokenizer.decode(prompt).len());
        Self { tokenizer, ids: prompt.to_vec(), printed }
    }

    fn push(&mut self, id: u32) {
        self.ids.push(id);
        let Some(tokenizer) = self.tokenizer else {
            print!("{id} ");
            return;
        };
        let text = tokenizer.decode(&self.ids);
        if !text.ends_with('\u{FFFD}') && text.is_char_boundary(self.printed) {
            print!("{}", &text[self.printed..]);
            self.printed = text.len();
            std::io::stdout().flush().ok();
        }
    }
}
