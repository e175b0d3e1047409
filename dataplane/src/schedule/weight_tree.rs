//! Finding the next real whose weight reaches a level, in logarithmic time.

/// A binary tree over the weights in list order, each node holding the largest weight below it.
///
/// Node 1 is the root, the children of node `n` are `2n` and `2n + 1`, the leaves are the second
/// half, filled up with weights of 0.
#[derive(Debug)]
pub(super) struct WeightTree {
    nodes: Box<[u32]>,
    length: usize,
}

impl WeightTree {
    pub(super) fn new(weights: impl ExactSizeIterator<Item = u32>) -> Self {
        let length = weights.len();
        let leaves = length.next_power_of_two();
        let mut nodes = vec![0; leaves * 2];
        for (node, weight) in nodes[leaves..].iter_mut().zip(weights) {
            *node = weight;
        }
        for node in (1..leaves).rev() {
            nodes[node] = nodes[node * 2].max(nodes[node * 2 + 1]);
        }
        Self { nodes: nodes.into(), length }
    }

    /// The first place from `start` on whose weight is at least `level` (which is above 0).
    pub(super) fn first_from(&self, start: usize, level: u32) -> Option<usize> {
        self.search(start, level, || ())
    }

    /// `visit` is called for each node that is looked at: at most three for each level of the tree.
    fn search(&self, start: usize, level: u32, mut visit: impl FnMut()) -> Option<usize> {
        debug_assert!(level > 0);
        if start >= self.length {
            return None;
        }
        let leaves = self.nodes.len() / 2;
        let mut node = leaves + start;
        loop {
            visit();
            if self.nodes[node] >= level {
                break;
            }
            // Everything below is too light: on to the subtree to the right, the largest that begins there.
            while node % 2 == 1 {
                visit();
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < leaves {
            visit();
            node *= 2;
            if self.nodes[node] < level {
                node += 1;
            }
        }
        Some(node - leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_is_found_as_by_looking_at_each(
            weights in proptest::collection::vec(0u32..6, 0..70),
            start in 0usize..75,
            level in 1u32..7,
        ) {
            let tree = WeightTree::new(weights.iter().copied());
            let plain = (start..weights.len()).find(|place| weights[*place] >= level);
            prop_assert_eq!(tree.first_from(start, level), plain);
        }

        #[test]
        fn few_nodes_are_visited_of_ten_thousand(start in 0usize..10_000, heavy in 0usize..10_000) {
            let weights: Vec<u32> = (0..10_000).map(|place| 1 + u32::from(place == heavy)).collect();
            let tree = WeightTree::new(weights.into_iter());
            for level in 1..=3 {
                let mut visited = 0;
                tree.search(start, level, || visited += 1);
                // 2^14 leaves: 15 levels.
                prop_assert!(visited <= 45, "{} nodes", visited);
            }
        }
    }
}
