//! The moves open to a plan, as a graph: a member leads to the topics of which it has a partition, a topic to its
//! subscribers. A move costs 1 if it takes a partition from its owner, and -1 if it brings one back. `search` finds
//! chains and rings of moves in it, and `general` decides which are made.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;

/// Work left.
pub(super) struct Budget(pub(super) usize);

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    pub(super) fn spend(&mut self, edges: usize) {
        self.0 = self.0.saturating_sub(edges);
    }
}

/// A plan in the making.
pub(super) struct Deal<'a> {
    pub(super) problem: &'a Problem<'a>,
    holders: Vec<usize>,
    topic_of: Vec<usize>,
    pub(super) loads: Vec<usize>,
    /// By member and topic; no empty entries.
    pub(super) held: Vec<BTreeMap<usize, Held>>,
    away: usize,
}

/// Of one member and topic.
#[derive(Default)]
pub(super) struct Held {
    pub(super) own: BTreeSet<usize>,
    /// Those of another owner, or of none.
    pub(super) guests: BTreeSet<usize>,
}

/// A place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Member(usize),
    Topic(usize),
    /// Between the members with this load and those with one more: one of the latter may give to one of the former
    /// without making the plan less even.
    Level(usize),
}

/// Nodes in the order of the moves: from a member directly to another is the way home of one of the other's partitions.
pub(super) struct Chain(pub(super) Vec<Node>);

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
}
