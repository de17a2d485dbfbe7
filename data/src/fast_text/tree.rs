//! The Huffman tree of hierarchical softmax: frequent labels near the root.

use super::floored_log;

/// An inner node has two children; a leaf is a label.
#[derive(Debug)]
pub(super) struct Tree {
    /// Children of the inner nodes. Nodes below `n_labels` are leaves; the last node is the root.
    children: Vec<(usize, usize)>,
    n_labels: usize,
}

impl Tree {
    /// Builds the tree as fastText does, from label counts in falling order.
    pub(super) fn new(counts: &[i64]) -> Self {
        const NOT_YET: i64 = 1_000_000_000_000_000;
        let n_labels = counts.len();
        let n_nodes = (2 * n_labels).saturating_sub(1);
        let mut weights = counts.to_vec();
        weights.resize(n_nodes, NOT_YET);
        let (mut leaves, mut node) = (n_labels, n_labels);
        let mut children = Vec::new();
        for idx in n_labels..n_nodes {
            let mut lightest = || {
                if leaves > 0 && weights[leaves - 1] < weights[node] {
                    leaves -= 1;
                    leaves
                } else {
                    node += 1;
                    node - 1
                }
            };
            let pair = (lightest(), lightest());
            weights[idx] = weights[pair.0].saturating_add(weights[pair.1]);
            children.push(pair);
        }
        Self { children, n_labels }
    }

    /// The label with the greatest probability, which is the product of the turns on its way; `score` tells the
    /// score of an inner node, counted from 0.
    pub(super) fn most_probable(&self, score: impl Fn(usize) -> f32) -> Option<(usize, f32)> {
        let mut best: Option<(usize, f32)> = None;
        let mut open = vec![((self.n_labels + self.children.len()).checked_sub(1)?, 0.0_f32)];
        // fastText leaves branches whose probability is below its floor.
        let floor = floored_log(0.0);
        while let Some((node, log)) = open.pop() {
            if log < floor || best.is_some_and(|(_, best)| log < best) {
                continue;
            }
            let Some(inner) = node.checked_sub(self.n_labels) else {
                // Of equal leaves the later one stays, as the heap of fastText has it.
                best = Some((node, log));
                continue;
            };
            let right_turn = (1.0 / (1.0 + f64::from((-score(inner)).exp()))) as f32;
            let (left, right) = self.children[inner];
            open.push((right, log + floored_log(right_turn)));
            open.push((left, log + floored_log(1.0 - right_turn)));
        }
        best.map(|(label, log)| (label, log.exp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_labels_are_near_the_root() {
        let tree = Tree::new(&[8, 4, 2, 1]);
        assert_eq!(tree.children, [(3, 2), (4, 1), (5, 0)]);
        assert_eq!(Tree::new(&[5]).most_probable(|_| 0.0), Some((0, 1.0)));
        assert_eq!(Tree::new(&[]).most_probable(|_| 0.0), None);
    }

    #[test]
    fn the_best_way_is_found() {
        let tree = Tree::new(&[8, 4, 2, 1]);
        // Root: left (0.73); below it left (0.73); below that right.
        let (label, probability) = tree.most_probable(|node| [1.0, -1.0, -1.0][node]).unwrap();
        assert_eq!(label, 2);
        assert!((probability - 0.7311_f32.powi(3)).abs() < 1e-4, "{probability}");
    }
}
