//! Log-probabilities of given tokens: the one definition behind bits per byte and `neo score`.

use crate::{
    Error, Result,
    transformer::{InputIds, Transformer, upload_ids},
};
use neo_backends::kernels::linear_cross_entropy;

/// Log-probability of one token given all before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// In nats.
    pub log_prob: f32,
    /// Whether the token was the most probable one.
    pub greedy: bool,
}

/// Scores every token of each sequence but its first, in one pass over padded rows.
///
/// # Errors
/// An id that is not below the vocabulary size, or a sequence longer than the context.
pub fn score(model: &Transformer, sequences: &[&[u32]]) -> Result<Vec<Vec<TokenScore>>> {
    check(model, sequences)?;
    let n_inputs = |ids: &[u32]| ids.len().saturating_sub(1);
    let seq = sequences.iter().map(|ids| n_inputs(ids)).max().unwrap_or(0);
    if seq == 0 {
        return Ok(vec![Vec::new(); sequences.len()]);
    }
    let padded = |offset: usize| -> Vec<u32> {
        let row = |ids: &&[u32]| {
            let mut row: Vec<u32> = ids.iter().copied().skip(offset).take(n_inputs(ids)).collect();
            row.resize(seq, 0);
            row
        };
        sequences.iter().flat_map(row).collect()
    };
    // Padding stands behind the last token, where causal attention never looks.
    let input = model.upload(InputIds::rows(&padded(0), sequences.len(), seq));
    let targets = upload_ids(&padded(1), &model.device());
    let hidden = model.forward(&input);
    let (log_probs, best) =
        linear_cross_entropy::log_probs(&hidden, &model.parameters.head, &targets);
    let device = |problem: String| Error::Device(problem);
    let log_probs = log_probs.try_into_vec_as::<f32>().map_err(|e| device(e.to_string()))?;
    let best = best.try_into_vec_as::<i64>().map_err(|e| device(e.to_string()))?;
    let rows = log_probs.chunks_exact(seq).zip(best.chunks_exact(seq)).zip(sequences);
    Ok(rows
        .map(|((log_probs, best), ids)| {
            let targets = ids.iter().skip(1);
            log_probs
                .iter()
                .zip(best)
                .zip(targets)
                .map(|((&log_prob, &best), &id)| TokenScore {
                    log_prob,
                    greedy: best == i64::from(id),
                })
                .collect()
        })
        .collect())
}

fn check(model: &Transformer, sequences: &[&[u32]]) -> Result<()> {
    let config = &model.config;
    for (idx, ids) in sequences.iter().enumerate() {
        if ids.len() > config.max_seq_len + 1 {
            let (found, most) = (ids.len(), config.max_seq_len + 1);
            return Err(Error::Setting(format!(
                "sequence {idx} has {found} tokens, more than the context allows: {most}"
            )));
        }
        check_ids(ids, config.vocab_size)?;
    }
    Ok(())
}

/// Checks that every id has a row in the embedding.
pub(crate) fn check_ids(ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(id) => Err(Error::Setting(format!(
            "token id {id} is outside the model's vocabulary of {vocab_size} rows"
        ))),
        None => Ok(()),
    }
}
