//! The tokens of a step: ids, loss mask and document starts of a batch of sequences.
//!
//! Made by the loader, cut into micro-batches by the training loop, brought to a device by the
//! model.

use std::ops::Range;

/// Sequences of one length, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenBatch {
    /// Number of rows.
    pub n_sequences: usize,
    /// Inputs per row.
    pub seq_len: usize,
    /// `[n_sequences, seq_len + 1]`: inputs are all but the last of a row, targets all but the
    /// first.
    pub ids: Vec<u32>,
    /// `[n_sequences, seq_len]`: 0 where the input is EOD (a document's first token is no target),
    /// else 1.
    pub loss_mask: Vec<f32>,
    /// `[n_sequences, seq_len]`: index in the row at which the input's own document starts.
    pub document_start: Vec<u32>,
}

impl TokenBatch {
    /// Derives mask and document starts from the ids, as `eod_id` ends documents (and belongs to
    /// the one it ends).
    ///
    /// # Shapes
    /// - `ids`: `[n_sequences, seq_len + 1]`
    ///
    /// # Panics
    /// When `ids` is not a whole number of rows.
    pub fn new(ids: Vec<u32>, seq_len: usize, eod_id: u32) -> Self {
        assert!(
            ids.len().is_multiple_of(seq_len + 1),
            "{} ids, rows of {}",
            ids.len(),
            seq_len + 1
        );
        let n_sequences = ids.len() / (seq_len + 1);
        let mut loss_mask = Vec::with_capacity(n_sequences * seq_len);
        let mut document_start = Vec::with_capacity(n_sequences * seq_len);
        for row in ids.chunks_exact(seq_len + 1) {
            let mut start = 0;
            for (position, &input) in row[..seq_len].iter().enumerate() {
                document_start.push(start);
                loss_mask.push(if input == eod_id { 0.0 } else { 1.0 });
                if input == eod_id {
                    start = position as u32 + 1;
                }
            }
        }
        Self { n_sequences, seq_len, ids, loss_mask, document_start }
    }

    /// A micro-batch: some of the rows.
    ///
    /// # Panics
    /// When there are no such rows, like slicing.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let of = |width: usize| rows.start * width..rows.end * width;
        Self {
            n_sequences: rows.len(),
            seq_len: self.seq_len,
            ids: self.ids[of(self.seq_len + 1)].to_vec(),
            loss_mask: self.loss_mask[of(self.seq_len)].to_vec(),
            document_start: self.document_start[of(self.seq_len)].to_vec(),
        }
    }

    /// Number of targets that count: the sum of the mask.
    pub fn n_targets(&self) -> f64 {
        self.loss_mask.iter().map(|&weight| f64::from(weight)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u32], seq_len: usize, loss_mask: &[f32], document_start: &[u32]) {
        let batch = TokenBatch::new(ids.to_vec(), seq_len, 9);
        assert_eq!(batch.loss_mask, loss_mask);
        assert_eq!(batch.document_start, document_start);
        assert_eq!(batch.n_targets(), f64::from(loss_mask.iter().sum::<f32>()));
    }

    #[test]
    fn eod_ends_a_document_and_predicts_nothing() {
        check(&[1, 2, 9, 3, 4], 4, &[1., 1., 0., 1.], &[0, 0, 0, 3]);
        check(&[9, 9, 3, 9, 4], 4, &[0., 0., 1., 0.], &[0, 1, 2, 2]);
        check(&[1, 2, 3, 4, 9, 6], 2, &[1., 1., 1., 0.], &[0, 0, 0, 0]);
    }

    #[test]
    fn rows_are_cut_out_of_every_field() {
        let batch = TokenBatch::new(vec![1, 9, 3, 4, 5, 6, 9, 8, 7], 2, 9);
        assert_eq!(batch.rows(1..3), TokenBatch::new(vec![4, 5, 6, 9, 8, 7], 2, 9));
        assert_eq!(batch.rows(0..3), batch);
        assert_eq!(batch.rows(1..1).n_targets(), 0.0);
    }
}
