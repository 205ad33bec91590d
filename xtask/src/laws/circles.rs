//! Circles among things that use each other. Called by `judge`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who uses whom.
pub(super) type Graph<T> = BTreeMap<T, BTreeSet<T>>;

/// For each node that is in a circle, its shortest; each circle once, beginning with its first node.
pub(super) fn circles<T: Clone + Ord>(graph: &Graph<T>) -> Vec<Vec<T>> {
    let circles: BTreeSet<_> = graph.keys().filter_map(|node| circle_through(graph, node)).map(from_first).collect();
    circles.into_iter().collect()
}

/// The same circle, beginning with its first node.
fn from_first<T: Ord>(mut circle: Vec<T>) -> Vec<T> {
    let first = circle.iter().enumerate().min_by_key(|(_, node)| *node).map_or(0, |(at, _)| at);
    circle.rotate_left(first);
    circle
}

/// The shortest way from a node back to it, with the node at its start only.
fn circle_through<T: Clone + Ord>(graph: &Graph<T>, start: &T) -> Option<Vec<T>> {
    let mut ways = VecDeque::from([vec![start.clone()]]);
    let mut visited = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in way.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            if next == start {
                return Some(way);
            }
            if visited.insert(next.clone()) {
                ways.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Graph, circles};

    fn graph(arrows: &[(&'static str, &'static str)]) -> Graph<&'static str> {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry(*from).or_default().insert(*to);
        }
        graph
    }

    #[test]
    fn a_graph_without_circles_has_none() {
        assert!(circles(&graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])).is_empty());
    }

    #[test]
    fn each_circle_is_shown_once() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("x", "y"), ("y", "x"), ("x", "a")];
        assert_eq!(circles(&graph(&arrows)), [vec!["a", "b", "c"], vec!["b", "c"], vec!["x", "y"]]);
    }
}
