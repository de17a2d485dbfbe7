//! Scores and text after beginnings that many sequences share: the beginning is computed once.
//!
//! Between [`score`](crate::score), which knows whole sequences, and evaluations, whose questions
//! share shots and whose choices share a question. Rows that continue one beginning are a batch over
//! its keys and values; causal attention makes the padding behind shorter ones invisible.

use burn::tensor::{DType, Int, Tensor, TensorData};
use neo_backends::{device, kernels::linear_cross_entropy};

use crate::{
    Error, Result,
    kv_cache::KvCache,
    score::{TokenScore, check_ids},
    transformer::{Transformer, upload_ids},
};

/// Keys and values of rows of equal length.
pub struct Beginning {
    cache: KvCache,
    n_rows: usize,
}

/// A sequence that continues a row of a beginning.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// The row it continues.
    pub row: usize,
    /// Its input ids.
    pub ids: &'a [u32],
    /// Ids to be scored, each behind the input at its place.
    pub targets: &'a [(usize, u32)],
}

impl Beginning {
    /// The beginning of everything: one row without positions.
    pub fn empty(model: &Transformer) -> Self {
        Self { cache: KvCache::new(model.config.n_layers), n_rows: 1 }
    }

    /// Positions of each row.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether rows have no positions.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// New rows, each of which continues a row of this one by as many ids as the others do.
    ///
    /// # Errors
    /// Rows of different lengths, an id outside the vocabulary, or more positions than the context.
    pub fn extended(&self, model: &Transformer, rows: &[(usize, &[u32])]) -> Result<Self> {
        let seq = rows.first().map_or(0, |(_, ids)| ids.len());
        if rows.iter().any(|(_, ids)| ids.len() != seq) {
            return Err(Error::Setting("rows of a beginning have different lengths".into()));
        }
        let picks: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let ids: Vec<u32> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        self.check(model, &ids, seq)?;
        let mut cache = self.rows(&picks);
        if seq > 0 {
            model.forward_cached(&ids, rows.len(), &mut cache);
        }
        Ok(Self { cache, n_rows: rows.len() })
    }

    /// The cache of picked rows.
    fn rows(&self, picks: &[usize]) -> KvCache {
        let in_order = picks.len() == self.n_rows && picks.iter().enumerate().all(|(i, p)| i == *p);
        if in_order { self.cache.fork() } else { self.cache.select(picks) }
    }

    fn check(&self, model: &Transformer, ids: &[u32], seq: usize) -> Result<()> {
        let (found, most) = (self.len() + seq, model.config.max_seq_len);
        if found > most {
            return Err(Error::Setting(format!(
                "a sequence has {found} tokens, the context {most}"
            )));
        }
        check_ids(ids, model.config.vocab_size)
    }
}

/// Scores the targets of every branch, in one pass over padded rows.
///
/// # Errors
/// An id outside the vocabulary, more positions than the context, or a device that fails.
pub fn score(
    model: &Transformer,
    beginning: &Beginning,
    branches: &[Branch<'_>],
) -> Result<Vec<Vec<TokenScore>>> {
    let seq = branches.iter().map(|branch| branch.ids.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(branches.len() * seq);
    let (mut places, mut targets) = (Vec::new(), Vec::new());
    for (i, branch) in branches.iter().enumerate() {
        ids.extend_from_slice(branch.ids);
        ids.resize((i + 1) * seq, 0);
        places.extend(branch.targets.iter().map(|(place, _)| (i * seq + place) as i64));
        targets.extend(branch.targets.iter().map(|(_, id)| *id));
    }
    if targets.is_empty() {
        return Ok(vec![Vec::new(); branches.len()]);
    }
    beginning.check(model, &ids, seq)?;
    check_ids(&targets, model.config.vocab_size)?;
    let picks: Vec<usize> = branches.iter().map(|branch| branch.row).collect();
    let mut cache = beginning.rows(&picks);
    let device = model.device();
    let hidden = model.forward_cached(&ids, branches.len(), &mut cache);
    let n = places.len();
    let places: Tensor<1, Int> = Tensor::from_data(TensorData::new(places, [n]), &device);
    let hidden = hidden.select(0, places);
    let targets_there = upload_ids(&targets, &device);
    let (log_probs, best) =
        linear_cross_entropy::log_probs(&hidden, &model.parameters.head, &targets_there);
    let failed = |problem: String| Error::Device(problem);
    let log_probs = log_probs.try_into_vec_as::<f32>().map_err(|e| failed(e.to_string()))?;
    let best = best.try_into_vec_as::<i64>().map_err(|e| failed(e.to_string()))?;
    let scores = log_probs.into_iter().zip(best).zip(&targets);
    let mut scores = scores
        .map(|((log_prob, best), &id)| TokenScore { log_prob, greedy: best == i64::from(id) });
    Ok(branches.iter().map(|b| scores.by_ref().take(b.targets.len()).collect()).collect())
}

/// Continues a row of a beginning greedily, or as `choose` decides from the logits.
///
/// `choose` gets the logits of the next token and how many were made; it ends the text by `None`.
///
/// # Errors
/// No ids at all, an id outside the vocabulary, more positions than the context, or a device that
/// fails.
pub fn continue_text(
    model: &Transformer,
    beginning: &Beginning,
    row: usize,
    ids: &[u32],
    choose: &mut dyn FnMut(&[f32], usize) -> Option<u32>,
) -> Result<()> {
    if ids.is_empty() {
        return Err(Error::Setting("a text is continued after at least one token".into()));
    }
    beginning.check(model, ids, ids.len())?;
    let mut cache = beginning.rows(&[row]);
    let mut next = ids.to_vec();
    let mut n_made = 0;
    while cache.len() + next.len() <= model.config.max_seq_len {
        let logits = device::on_its_threads(&model.device(), || {
            let hidden = model.forward_cached(&next, 1, &mut cache);
            let last = hidden.narrow(0, next.len() - 1, 1);
            model.logits(last).cast(DType::F32)
        });
        let logits = logits
            .try_into_vec_as::<f32>()
            .map_err(|problem| Error::Device(problem.to_string()))?;
        let Some(id) = choose(&logits, n_made) else { break };
        n_made += 1;
        next = vec![id];
    }
    Ok(())
}
