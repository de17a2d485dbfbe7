//! Where every parameter lies in the flat arrays of weights, gradients and moments.
//!
//! Matrices come first and norms last, so that the optimizer knows by an index what decays. The
//! query, key and value projections lie behind one another, gate and up too: each group is the
//! weight of one product. The arrays are the same in f32 and in the copy that is multiplied.

use std::ops::Range;

use super::shape::Decoder;

/// Numbers to whose multiple each group of matrices is moved.
const ALIGNMENT: usize = 128;
/// Parameters of a block.
pub(crate) const PER_BLOCK: usize = 9;

/// Ranges of all parameters.
#[derive(Clone, Debug)]
pub struct ParameterTable {
    /// In the order embedding; per block: attention norm, query, key, value, output, feed-forward
    /// norm, gate, up, down; final norm, head.
    ranges: Vec<Range<usize>>,
    /// Numbers that decay: the matrices.
    pub(crate) decayed: usize,
    /// Numbers of the whole array.
    pub(crate) total: usize,
}

/// First numbers of a block's parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlaces {
    pub(crate) attention_norm: usize,
    pub(crate) qkv: usize,
    pub(crate) output: usize,
    pub(crate) feed_forward_norm: usize,
    pub(crate) gate_up: usize,
    pub(crate) down: usize,
}

impl ParameterTable {
    /// Lays the parameters of a network out.
    pub fn new(decoder: &Decoder) -> Self {
        let d = decoder.d_model;
        let (query, key) = (decoder.query_width() * d, decoder.key_width() * d);
        let feed_forward = decoder.d_ff * d;
        let mut next = 0;
        let mut group = |sizes: &[usize]| -> Vec<Range<usize>> {
            next = usize::next_multiple_of(next, ALIGNMENT);
            let place = |&size: &usize| {
                let range = next..next + size;
                next += size;
                range
            };
            sizes.iter().map(place).collect()
        };
        let embedding = group(&[decoder.vocab * d]);
        let matrices: Vec<[Vec<Range<usize>>; 4]> = (0..decoder.n_layers)
            .map(|_| {
                let groups: [&[usize]; 4] =
                    [&[query, key, key], &[query], &[feed_forward, feed_forward], &[feed_forward]];
                groups.map(&mut group)
            })
            .collect();
        let head = group(&[decoder.vocab * d]);
        let decayed = head[0].end.next_multiple_of(ALIGNMENT);
        let mut ranges = embedding;
        for [qkv, output, gate_up, down] in matrices {
            ranges.extend(group(&[d]));
            ranges.extend([qkv, output].concat());
            ranges.extend(group(&[d]));
            ranges.extend([gate_up, down].concat());
        }
        ranges.extend(group(&[d]));
        ranges.extend(head);
        Self { ranges, decayed, total: next.next_multiple_of(ALIGNMENT) }
    }

    /// Parameters.
    #[expect(clippy::len_without_is_empty, reason = "a network has parameters")]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Where the parameter of this index lies, in numbers.
    pub fn range(&self, index: usize) -> Range<usize> {
        self.ranges[index].clone()
    }

    pub(crate) fn embedding(&self) -> usize {
        self.ranges[0].start
    }

    pub(crate) fn block(&self, layer: usize) -> BlockPlaces {
        let first = 1 + layer * PER_BLOCK;
        let at = |index: usize| self.ranges[first + index].start;
        BlockPlaces {
            attention_norm: at(0),
            qkv: at(1),
            output: at(4),
            feed_forward_norm: at(5),
            gate_up: at(6),
            down: at(8),
        }
    }

    pub(crate) fn norm(&self) -> usize {
        self.ranges[self.ranges.len() - 2].start
    }

    pub(crate) fn head(&self) -> usize {
        self.ranges[self.ranges.len() - 1].start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_overlap_and_groups_are_whole() {
        let decoder = Decoder {
            vocab: 24,
            d_model: 8,
            n_layers: 2,
            n_heads: 3,
            n_kv_heads: 1,
            head_dim: 4,
            d_ff: 16,
            norm_eps: 1e-5,
            rope_base: 1e4,
        };
        let table = ParameterTable::new(&decoder);
        assert_eq!(table.len(), 3 + 2 * PER_BLOCK);
        let mut ranges: Vec<_> = (0..table.len()).map(|index| table.range(index)).collect();
        let (query, key, value) = (table.range(2), table.range(3), table.range(4));
        assert_eq!((query.end, key.end), (key.start, value.start));
        assert_eq!(table.range(7).end, table.range(8).start);
        assert_eq!(table.block(1).gate_up, table.range(1 + PER_BLOCK + 6).start);
        let norms = [1, 6, 10, 15, 19].map(|index| table.range(index));
        assert!(norms.iter().all(|norm| norm.start >= table.decayed && norm.len() == 8));
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(ranges.last().is_some_and(|last| last.end <= table.total));
    }
}
