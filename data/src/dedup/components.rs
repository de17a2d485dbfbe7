//! Connected components of a graph of documents by union-find.
//!
//! The root of a component is its document of least rank, so the survivor does not depend on the order in
//! which the edges come.

/// Documents joined by edges.
#[derive(Clone, Debug)]
pub struct Components<'a> {
    ranks: &'a [u32],
    parents: Vec<u32>,
}

impl<'a> Components<'a> {
    /// Every document on its own; `ranks` has one entry a document, all different.
    pub fn new(ranks: &'a [u32]) -> Self {
        Self { ranks, parents: (0..ranks.len() as u32).collect() }
    }

    /// Joins the components of two documents.
    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let (root, other) = match self.rank(a) <= self.rank(b) {
            true => (a, b),
            false => (b, a),
        };
        self.parents[other as usize] = root;
    }

    /// The document of least rank in the component of a document.
    pub fn root(&mut self, mut document: u32) -> u32 {
        // Halving the path keeps trees flat: every second node is hung on its grandparent.
        loop {
            let parent = self.parents[document as usize];
            if parent == document {
                return document;
            }
            let grandparent = self.parents[parent as usize];
            self.parents[document as usize] = grandparent;
            document = grandparent;
        }
    }

    fn rank(&self, document: u32) -> u32 {
        self.ranks[document as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roots(ranks: &[u32], edges: &[(u32, u32)]) -> Vec<u32> {
        let mut components = Components::new(ranks);
        for &(a, b) in edges {
            components.join(a, b);
        }
        (0..ranks.len() as u32).map(|document| components.root(document)).collect()
    }

    #[test]
    fn roots_have_the_least_rank() {
        assert_eq!(roots(&[3, 1, 0, 2, 4], &[(0, 1), (3, 0)]), [1, 1, 2, 1, 4]);
        assert_eq!(roots(&[0, 1], &[(1, 1)]), [0, 1]);
    }

    proptest! {
        #[test]
        fn equals_a_search_through_the_graph_in_any_order(
            edges in proptest::collection::vec((0u32..30, 0u32..30), 0..40),
            ranks in Just((0u32..30).collect::<Vec<u32>>()).prop_shuffle(),
        ) {
            let found = roots(&ranks, &edges);
            let mut turned = edges.clone();
            turned.reverse();
            prop_assert_eq!(&roots(&ranks, &turned), &found);
            for start in 0..30 {
                let mut reached = vec![start];
                let mut next = 0;
                while let Some(&at) = reached.get(next) {
                    for &(a, b) in &edges {
                        for (from, to) in [(a, b), (b, a)] {
                            if from == at && !reached.contains(&to) {
                                reached.push(to);
                            }
                        }
                    }
                    next += 1;
                }
                let least = reached.into_iter().min_by_key(|&d| ranks[d as usize]).unwrap();
                prop_assert_eq!(found[start as usize], least);
            }
        }
    }
}
