//! Circles among things that use each other. Called by `judge`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who uses whom.
pub(super) type Graph<T> = BTreeMap<T, BTreeSet<T>>;

/// One circle, as short as there is, for each group of nodes that reach each other; it begins with the group's first.
pub(super) fn circles<T: Clone + Ord>(graph: &Graph<T>) -> Vec<Vec<T>> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for node in graph.keys() {
        if seen.contains(node) {
            continue;
        }
        if let Some(circle) = circle_through(graph, node) {
            let reached = reached_from(graph, node);
            seen.extend(reached.into_iter().filter(|other| reached_from(graph, other).contains(node)));
            circles.push(circle);
        }
    }
    circles
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

fn reached_from<T: Clone + Ord>(graph: &Graph<T>, start: &T) -> BTreeSet<T> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start.clone()];
    while let Some(node) = open.pop() {
        for next in graph.get(&node).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
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
    fn each_lump_is_shown_by_its_shortest_circle() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("x", "y"), ("y", "x"), ("x", "a")];
        assert_eq!(circles(&graph(&arrows)), [vec!["a", "b", "c"], vec!["x", "y"]]);
    }
}
