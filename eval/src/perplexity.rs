//! Bits per byte and loss of a network on held-out documents.
//!
//! A document is cut into windows of the recipe's sequence length that do not overlap; windows of
//! similar length share a pass, longest first.

use std::ops::Range;

use neo_model::{Transformer, score::score};

use crate::{HeldOut, Result, held_out::HeldOutDocument};

/// Input tokens of one pass, about.
const PASS_TOKENS: usize = 4096;

/// Measures `documents` in windows of `seq_len` tokens.
///
/// # Errors
/// Ids outside the model's vocabulary, windows longer than its context, or a device that fails.
pub fn held_out(
    model: &Transformer,
    documents: &[HeldOutDocument],
    seq_len: usize,
) -> Result<HeldOut> {
    let mut windows: Vec<(usize, Range<usize>)> = documents
        .iter()
        .enumerate()
        .flat_map(|(idx, document)| windows(document.ids.len(), seq_len).map(move |w| (idx, w)))
        .collect();
    windows.sort_by_key(|(idx, window)| (usize::MAX - window.len(), *idx, window.start));
    let mut sums = HeldOut::default();
    let mut rest = &windows[..];
    while let Some((_, longest)) = rest.first() {
        let n = (PASS_TOKENS / longest.len()).clamp(1, rest.len());
        let (now, later) = rest.split_at(n);
        measure(model, documents, now, &mut sums)?;
        rest = later;
    }
    for document in documents {
        sums.documents += 1;
        sums.utf8_bytes += document.utf8_bytes;
    }
    Ok(sums)
}

/// Ranges of ids of each window: the first id is context only, the last target is the range's last.
fn windows(n_ids: usize, seq_len: usize) -> impl Iterator<Item = Range<usize>> {
    let n_targets = n_ids.saturating_sub(1);
    (0..n_targets).step_by(seq_len).map(move |start| start..(start + seq_len).min(n_targets) + 1)
}

fn measure(
    model: &Transformer,
    documents: &[HeldOutDocument],
    windows: &[(usize, Range<usize>)],
    sums: &mut HeldOut,
) -> Result<()> {
    let rows: Vec<&[u32]> =
        windows.iter().map(|(idx, window)| &documents[*idx].ids[window.clone()]).collect();
    for ((idx, window), scores) in windows.iter().zip(score(model, &rows)?) {
        let ends_document = window.end == documents[*idx].ids.len();
        for (i, token) in scores.iter().enumerate() {
            let nats = -f64::from(token.log_prob);
            if ends_document && i + 1 == scores.len() {
                sums.eod_nats += nats;
            } else {
                sums.nats += nats;
                sums.tokens += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_target_once() {
        let check = |n_ids: usize, seq_len: usize, expected: &[(usize, usize)]| {
            let found: Vec<_> = windows(n_ids, seq_len).map(|w| (w.start, w.end)).collect();
            assert_eq!(found, expected);
        };
        check(2, 4, &[(0, 2)]);
        check(5, 4, &[(0, 5)]);
        check(6, 4, &[(0, 5), (4, 6)]);
        check(9, 4, &[(0, 5), (4, 9)]);
        check(1, 4, &[]);
    }
}
