//! A model folder opened for questions: weights, tokenizer, and what ends a text.

use std::path::Path;

use neo_backends::Precision;
use neo_data::tokenizer::Tokenizer;
use neo_eval::network::{Network, Sharing};
use neo_eval::task::{Output, Task};
use neo_model::Transformer;
use neo_model::hf::HfConfig;

use crate::error::Usage;

/// A model with its tokenizer.
pub(super) struct Loaded {
    pub(super) model: Transformer,
    tokenizer: Tokenizer,
    stop_ids: Vec<u32>,
}

impl Loaded {
    pub(super) fn open(folder: &Path, device: &str) -> anyhow::Result<Self> {
        let device = neo_backends::device::open(device)?;
        let tokenizer = tokenizer(folder)?;
        let model = Transformer::load(folder, Precision::F32, &device)?;
        // Only what the folder declares, as in lm-evaluation-harness; its EOD where it declares
        // nothing.
        let mut stop_ids = HfConfig::read(folder)?.special_ids.eos;
        if stop_ids.is_empty() {
            stop_ids.push(tokenizer.eod_id());
        }
        Ok(Self { model, tokenizer, stop_ids })
    }

    /// Tokens of a prompt.
    pub(super) fn n_tokens(&self, prompt: &str) -> usize {
        self.tokenizer.encode_with_specials(prompt).len()
    }

    /// Refuses a task whose answers may be as long as the model's context.
    pub(super) fn check_room(&self, task: &Task) -> anyhow::Result<()> {
        let definition = &task.definition;
        let context = self.model.config.max_seq_len;
        match definition.output == Output::Generate && definition.generation.n_tokens() >= context {
            false => Ok(()),
            true => Err(Usage::with_hint(
                format!(
                    "task `{}` may write {} tokens, the model's context has {context}",
                    definition.task,
                    definition.generation.n_tokens()
                ),
                "set a smaller `max_gen_toks` in the task's `generation_kwargs`, or leave it out",
            )
            .into()),
        }
    }

    /// The model as evaluations see it; `tell` hears how many requests of how many are answered.
    pub(super) fn network<'a>(&'a self, tell: &'a (dyn Fn(usize, usize) + Sync)) -> Network<'a> {
        Network::new(&self.model, &self.tokenizer, self.stop_ids.clone(), Sharing::On, tell)
    }
}

fn tokenizer(folder: &Path) -> anyhow::Result<Tokenizer> {
    let present = ["tokenizer.model", "tokenizer.json"].iter().any(|n| folder.join(n).exists());
    if folder.is_dir() && !present {
        return Err(Usage::with_hint(
            format!("model `{}` has no tokenizer, so it cannot be asked", folder.display()),
            "put the tokenizer.model it was trained with into the folder",
        )
        .into());
    }
    Ok(Tokenizer::from_path(folder)?)
}
