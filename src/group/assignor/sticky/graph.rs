//! The moves open to a plan, as a graph: a member leads to the topics of which it has a partition, a topic to its
//! subscribers. A move costs 1 if it takes a partition from its owner, and -1 if it brings one back. Used by `general`,
//! which looks for chains and rings in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::problem::Problem;

/// Work left.
pub(super) struct Budget(pub(super) usize);

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, edges: usize) {
        self.0 = self.0.saturating_sub(edges);
    }
}

/// A plan in the making.
pub(super) struct Deal<'a> {
    problem: &'a Problem<'a>,
    holders: Vec<usize>,
    topic_of: Vec<usize>,
    loads: Vec<usize>,
    /// By member and topic; no empty entries.
    held: Vec<BTreeMap<usize, Held>>,
    away: usize,
}

/// Of one member and topic.
#[derive(Default)]
struct Held {
    own: BTreeSet<usize>,
    /// Those of another owner, or of none.
    guests: BTreeSet<usize>,
}

/// A place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Member(usize),
    Topic(usize),
    /// Between the members with this load and those with one more: one of the latter may give to one of the former
    /// without making the plan less even.
    Level(usize),
}

/// Nodes in the order of the moves: from a member directly to another is the way home of one of the other's partitions.
pub(super) struct Chain(Vec<Node>);

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

impl<'a> Deal<'a> {
    /// Everybody has what it owns.
    pub(super) fn new(problem: &'a Problem<'a>) -> Self {
        let members = problem.members.len();
        let topic_of = problem.topics.iter().enumerate().flat_map(|(t, topic)| std::iter::repeat_n(t, topic.count));
        let mut deal = Self {
            problem,
            holders: vec![usize::MAX; problem.owners.len()],
            topic_of: topic_of.collect(),
            loads: vec![0; members],
            held: (0..members).map(|_| BTreeMap::new()).collect(),
            away: 0,
        };
        for (p, owner) in problem.owners.iter().enumerate() {
            if let Some(owner) = *owner {
                deal.put(p, owner);
            }
        }
        deal
    }

    pub(super) fn members(&self) -> usize {
        self.loads.len()
    }

    pub(super) fn load(&self, member: usize) -> usize {
        self.loads[member]
    }

    pub(super) fn anything_away(&self) -> bool {
        self.away > 0
    }

    pub(super) fn into_plan(self) -> Vec<usize> {
        self.holders
    }

    pub(super) fn put(&mut self, p: usize, member: usize) {
        let held = self.held[member].entry(self.topic_of[p]).or_default();
        let owner = self.problem.owners[p];
        if owner == Some(member) {
            held.own.insert(p)
        } else {
            held.guests.insert(p)
        };
        self.away += usize::from(owner.is_some_and(|o| o != member));
        self.holders[p] = member;
        self.loads[member] += 1;
    }

    fn take(&mut self, p: usize) {
        let member = self.holders[p];
        if let Some(held) = self.held[member].get_mut(&self.topic_of[p]) {
            held.own.remove(&p);
            held.guests.remove(&p);
            if held.own.is_empty() && held.guests.is_empty() {
                self.held[member].remove(&self.topic_of[p]);
            }
        }
        self.away -= usize::from(self.problem.owners[p].is_some_and(|o| o != member));
        self.loads[member] -= 1;
    }

    /// Performs the moves of a chain or a ring, which names its first node again at the end.
    pub(super) fn shift(&mut self, chain: &Chain) {
        let moves = chain.0.windows(3).filter_map(|nodes| match *nodes {
            [Node::Member(from), Node::Topic(topic), Node::Member(to)] => {
                Some((self.pick(self.held[from].get(&topic)?, to)?, to))
            }
            _ => None,
        });
        let homeward = chain.0.windows(2).filter_map(|nodes| match *nodes {
            [Node::Member(from), Node::Member(to)] => Some((self.guest_of(from, to)?, to)),
            _ => None,
        });
        // All are chosen first: no move may take what another one of the same chain has brought.
        let moves: Vec<_> = moves.chain(homeward).collect();
        for (p, to) in moves {
            self.take(p);
            self.put(p, to);
        }
    }

    /// The partition whose move to `to` costs least.
    fn pick(&self, held: &Held, to: usize) -> Option<usize> {
        let homeward = held.guests.iter().find(|&&p| self.problem.owners[p] == Some(to));
        homeward.or(held.guests.last()).or(held.own.last()).copied()
    }

    fn guest_of(&self, member: usize, owner: usize) -> Option<usize> {
        let mut guests = self.held[member].values().flat_map(|held| &held.guests);
        guests.find(|&&p| self.problem.owners[p] == Some(owner)).copied()
    }

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
