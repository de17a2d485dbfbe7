//! Decoding with a key-value cache: greedy, or sampled with an explicit seed.

use burn::tensor::DType;
use neo_backends::device;

use crate::{Error, Result, kv_cache::KvCache, score::check_ids, transformer::Transformer};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0: the most probable token; else logits are divided by it.
    pub temperature: f64,
    /// Smallest set of tokens whose probabilities reach this sum; 1 for all.
    pub top_p: f64,
    /// The `top_k` most probable tokens; 0 for all.
    pub top_k: usize,
    /// Seed of the draws; the same seed gives the same text.
    pub seed: u64,
}

impl Sampling {
    /// The most probable token at each step.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 };
}

/// What ends a generation, and which ids can be chosen.
#[derive(Clone, Debug)]
pub struct Limits<'a> {
    /// Most tokens to be made.
    pub max_new: usize,
    /// Ids that end the text; they are not returned.
    pub stop_ids: &'a [u32],
    /// Only ids below this are chosen: rows beyond the tokenizer are never real tokens.
    pub n_choices: usize,
}

/// Continues `prompt`, calling `on_token` with each new id.
///
/// Ends at a stop id, after `max_new` tokens, or when the context is full.
///
/// # Errors
/// An empty prompt, one longer than the context, or an id outside the vocabulary.
pub fn generate(
    model: &Transformer,
    prompt: &[u32],
    sampling: Sampling,
    limits: &Limits<'_>,
    on_token: &mut dyn FnMut(u32),
) -> Result<Vec<u32>> {
    let context = model.config.max_seq_len;
    if prompt.is_empty() {
        return Err(Error::Setting("the prompt has no tokens; start with the EOD id".into()));
    }
    if prompt.len() > context {
        let found = prompt.len();
        return Err(Error::Setting(format!(
            "the prompt has {found} tokens, the context {context}"
        )));
    }
    check_ids(prompt, model.config.vocab_size)?;
    let mut cache = KvCache::new(model.config.n_layers);
    let mut new = Vec::new();
    let mut next_input = prompt.to_vec();
    while new.len() < limits.max_new && cache.len() + next_input.len() <= context {
        let logits = last_logits(model, &next_input, &mut cache)?;
        let n_choices = limits.n_choices.min(logits.len());
        let id = choose(&logits[..n_choices], sampling, new.len() as u64);
        if limits.stop_ids.contains(&id) {
            break;
        }
        new.push(id);
        on_token(id);
        next_input = vec![id];
    }
    Ok(new)
}

/// Logits of the last position, in f32 on the host.
fn last_logits(model: &Transformer, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
    let logits = device::on_its_threads(&model.device(), || {
        let hidden = model.forward_cached(ids, 1, cache);
        let last = hidden.narrow(0, ids.len() - 1, 1);
        model.logits(last).cast(DType::F32)
    });
    logits.try_into_vec_as::<f32>().map_err(|problem| Error::Device(problem.to_string()))
}

/// Picks an id from the logits of the next token; `draw` counts the draws of this generation.
pub fn choose(logits: &[f32], sampling: Sampling, draw: u64) -> u32 {
    if sampling.temperature <= 0.0 {
        return argmax(logits);
    }
    let mut ranked: Vec<(u32, f64)> = (0u32..).zip(logits.iter().map(|&x| f64::from(x))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if sampling.top_k > 0 {
        ranked.truncate(sampling.top_k);
    }
    let top = ranked[0].1;
    for (_, x) in &mut ranked {
        *x = ((*x - top) / sampling.temperature).exp();
    }
    let total: f64 = ranked.iter().map(|(_, p)| p).sum();
    let mut kept = 0.0;
    let n_kept = ranked
        .iter()
        .take_while(|(_, p)| {
            let more = kept < sampling.top_p * total;
            kept += p;
            more
        })
        .count()
        .max(1);
    ranked.truncate(n_kept);
    let total: f64 = ranked.iter().map(|(_, p)| p).sum();
    let mut rest = crate::init::uniform(sampling.seed, draw) * total;
    for &(id, p) in &ranked {
        rest -= p;
        if rest <= 0.0 {
            return id;
        }
    }
    ranked[ranked.len() - 1].0
}

fn argmax(logits: &[f32]) -> u32 {
    let first_best = |best: (u32, f32), (id, x)| if x > best.1 { (id, x) } else { best };
    (0u32..).zip(logits.iter().copied()).fold((0, f32::NEG_INFINITY), first_best).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_the_settings() {
        let logits = [0.0, 3.0, 2.0, -1.0, 3.0];
        let check = |sampling: Sampling, expected: &[u32]| {
            let drawn: std::collections::BTreeSet<u32> =
                (0..400).map(|draw| choose(&logits, sampling, draw)).collect();
            assert_eq!(drawn.into_iter().collect::<Vec<_>>(), expected, "{sampling:?}");
        };
        let warm = Sampling { temperature: 1.0, seed: 5, ..Sampling::GREEDY };
        check(Sampling::GREEDY, &[1]);
        check(Sampling { top_k: 2, ..warm }, &[1, 4]);
        check(Sampling { top_p: 0.5, ..warm }, &[1, 4]);
        check(Sampling { temperature: 0.01, ..warm }, &[1, 4]);
        check(Sampling { temperature: 5.0, ..warm }, &[0, 1, 2, 3, 4]);
    }

    #[test]
    fn shares_follow_the_probabilities() {
        let warm = Sampling { temperature: 1.0, seed: 3, ..Sampling::GREEDY };
        let ones = (0..20_000).filter(|&draw| choose(&[0.0, 1.0], warm, draw) == 1).count();
        let expected = 1.0f64.exp() / (1.0 + 1.0f64.exp());
        assert!((ones as f64 / 20_000.0 - expected).abs() < 0.01, "{ones}");
    }
}
