//! Finds chains of moves from a member to others, and rings of moves that bring more home than they take away. Changes
//! nothing; what it looks at is charged to the budget.

use std::collections::{BTreeMap, VecDeque};

use super::graph::{Budget, Chain, Deal, Node};

/// What chains reach from a member.
pub(super) struct Reach {
    members: usize,
    from: Vec<Option<Option<usize>>>,
    /// The member with the least, and among such the one at the least cost.
    pub(super) least: usize,
}

impl Reach {
    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.members).filter(|&m| self.from[m].is_some())
    }

    pub(super) fn chain_to(&self, member: usize) -> Chain {
        let mut nodes: Vec<_> = std::iter::successors(Some(member), |&node| self.from[node].flatten())
            .map(|n| if n < self.members { Node::Member(n) } else { Node::Topic(n - self.members) })
            .collect();
        nodes.reverse();
        Chain(nodes)
    }
}

impl Deal<'_> {
    /// Searches from one member, passing over those `settled`, cheapest moves first. Stops at a member with the least
    /// of all.
    pub(super) fn reach(&self, start: usize, settled: &[bool], budget: &mut Budget) -> Reach {
        let members = self.members();
        let mut from = vec![None; members + self.problem.topics.len()];
        let floor = (0..members).filter(|&m| !settled[m]).map(|m| self.loads[m]).min().unwrap_or_default();
        budget.spend(from.len());
        from[start] = Some(None);
        let mut least = start;
        // The moves that cost something wait at the back of the queue.
        let (mut cost, mut seen) = (vec![usize::MAX; from.len()], vec![false; from.len()]);
        cost[start] = 0;
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            if node < members {
                for (&topic, held) in &self.held[node] {
                    budget.spend(1);
                    let (next, free) = (members + topic, !held.guests.is_empty());
                    let cost_here = cost[node] + usize::from(!free);
                    if cost_here < cost[next] {
                        (cost[next], from[next]) = (cost_here, Some(Some(node)));
                        if free { queue.push_front(next) } else { queue.push_back(next) }
                    }
                }
                continue;
            }
            for &member in &self.problem.topics[node - members].subscribers {
                budget.spend(1);
                if settled[member] || from[member].is_some() {
                    continue;
                }
                (cost[member], from[member]) = (cost[node], Some(Some(node)));
                if self.loads[member] < self.loads[least] {
                    least = member;
                    if self.loads[member] == floor {
                        return Reach { members, from, least };
                    }
                }
                queue.push_front(member);
            }
        }
        Reach { members, from, least }
    }

    /// A ring of moves, balance kept, with a cost below 0. `None`: there is none, or the budget is spent.
    pub(super) fn gaining_ring(&self, budget: &mut Budget) -> Option<Chain> {
        let (members, topics) = (self.members(), self.problem.topics.len());
        let levels = members + topics;
        let mut with_load: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        (0..members).for_each(|m| with_load.entry(self.loads[m]).or_default().push(m));
        let nodes = levels + self.loads.iter().max()? + 1;
        let mut search = Search { cost: vec![0; nodes], from: vec![None; nodes], due: vec![true; nodes], again: false };
        // Bellman and Ford's search, from everywhere at once: a ring among the `from`s is one with a cost below 0.
        for _ in 0..=nodes {
            search.again = false;
            budget.spend(nodes);
            for node in 0..nodes {
                if !std::mem::take(&mut search.due[node]) {
                    continue;
                }
                if node < members {
                    for (&topic, held) in &self.held[node] {
                        budget.spend(1);
                        search.edge(node, members + topic, i32::from(held.guests.is_empty()));
                        for owner in held.guests.iter().filter_map(|&p| self.problem.owners[p]) {
                            budget.spend(1);
                            search.edge(node, owner, -1);
                        }
                    }
                    search.edge(node, levels + self.loads[node], 0);
                } else {
                    let next = match node.checked_sub(levels) {
                        Some(load) => with_load.get(&(load + 1)),
                        None => Some(&self.problem.topics[node - members].subscribers),
                    };
                    for &member in next.into_iter().flatten() {
                        budget.spend(1);
                        search.edge(node, member, 0);
                    }
                }
            }
            if budget.is_spent() || !search.again {
                return None;
            }
            if let Some(ring) = search.ring(members) {
                let node = |n| match n {
                    n if n < members => Node::Member(n),
                    n if n < levels => Node::Topic(n - members),
                    n => Node::Level(n - levels),
                };
                return Some(Chain(ring.into_iter().map(node).collect()));
            }
        }
        None
    }
}

struct Search {
    cost: Vec<i32>,
    from: Vec<Option<usize>>,
    due: Vec<bool>,
    again: bool,
}

impl Search {
    fn edge(&mut self, from: usize, to: usize, cost: i32) {
        if self.cost[from] + cost < self.cost[to] {
            self.cost[to] = self.cost[from] + cost;
            self.from[to] = Some(from);
            self.due[to] = true;
            self.again = true;
        }
    }

    /// A ring among the `from`s, in the order of the moves, from a member around to the same one.
    fn ring(&self, members: usize) -> Option<Vec<usize>> {
        let mut seen_from = vec![usize::MAX; self.from.len()];
        for start in 0..self.from.len() {
            let mut node = start;
            while seen_from[node] == usize::MAX {
                seen_from[node] = start;
                match self.from[node] {
                    Some(before) => node = before,
                    None => break,
                }
            }
            // Came back to a node of this walk, and not because the walk ended there.
            if seen_from[node] == start && self.from[node].is_some() {
                return self.walk(node, members);
            }
        }
        None
    }

    fn walk(&self, mut start: usize, members: usize) -> Option<Vec<usize>> {
        // Every ring has a member.
        while start >= members {
            start = self.from[start]?;
        }
        let mut ring = vec![start];
        let mut node = self.from[start]?;
        while node != start {
            ring.push(node);
            node = self.from[node]?;
        }
        ring.push(start);
        ring.reverse();
        Some(ring)
    }
}
