//! What the sticky assignors start from: members, topics and partitions as numbers, and whose claims are good. Nothing
//! in it depends on the order in which the coordinator lists the members.

use std::collections::BTreeMap;

use super::super::{Assignments, Subscription, empty_assignments, java_order};
use crate::client::types::{TopicName, TopicPartition};

pub(super) struct Problem<'a> {
    given: &'a [Subscription],
    /// By member id; a member's number is its place.
    pub(super) members: Vec<&'a Subscription>,
    /// By name; only those that exist and that somebody subscribes to.
    pub(super) topics: Vec<Topic>,
    /// Of each partition, all topics' in one row.
    claims: Vec<Claims>,
    /// The one member whose claim holds and that may keep the partition.
    pub(super) owners: Vec<Option<usize>>,
}

pub(super) struct Topic {
    name: TopicName,
    /// The number of its partition 0; the others follow.
    pub(super) first: usize,
    pub(super) count: usize,
    /// In order.
    pub(super) subscribers: Vec<usize>,
}

/// Who claims a partition, in the newest generation in which anybody does. Older claims count only where there is no
/// newer one: a member that missed a rebalance may still own what nobody got since.
#[derive(Clone, Copy)]
enum Claims {
    Nobody,
    One { member: usize, generation: i32 },
    Several { generation: i32 },
}

impl Claims {
    fn add(&mut self, member: usize, generation: i32) {
        let of_new = Self::One { member, generation };
        *self = match *self {
            Self::Nobody => of_new,
            Self::One { member: same, .. } if same == member => return,
            Self::One { generation: old, .. } | Self::Several { generation: old } if generation > old => of_new,
            Self::One { generation: old, .. } if generation == old => Self::Several { generation },
            _ => return,
        }
    }
}

impl<'a> Problem<'a> {
    pub(super) fn new(given: &'a [Subscription], counts: &BTreeMap<TopicName, i32>) -> Self {
        let mut members: Vec<_> = given.iter().collect();
        members.sort_by(|a, b| java_order(&a.member_id, &b.member_id));
        let mut subscribers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, member) in members.iter().enumerate() {
            for topic in &member.topics {
                let of_topic = subscribers.entry(topic).or_default();
                if of_topic.last() != Some(&number) {
                    of_topic.push(number);
                }
            }
        }
        let mut topics: Vec<_> = counts
            .iter()
            .filter_map(|(name, &count)| {
                let count = usize::try_from(count).ok().filter(|&count| count > 0)?;
                Some(Topic { name: name.clone(), first: 0, count, subscribers: subscribers.remove(&**name)? })
            })
            .collect();
        topics.sort_by(|a, b| java_order(&a.name, &b.name));
        let mut total = 0;
        for topic in &mut topics {
            topic.first = total;
            total += topic.count;
        }
        let (claims, owners) = (vec![Claims::Nobody; total], vec![None; total]);
        let mut problem = Self { given, members, topics, claims, owners };
        problem.judge_claims();
        problem
    }

    fn judge_claims(&mut self) {
        let by_name: BTreeMap<&str, &Topic> = self.topics.iter().map(|t| (&*t.name, t)).collect();
        for (number, member) in self.members.iter().enumerate() {
            for tp in &member.owned {
                if let Some(topic) = by_name.get(&*tp.topic)
                    && let Ok(partition) = usize::try_from(tp.partition)
                    && partition < topic.count
                {
                    self.claims[topic.first + partition].add(number, member.generation);
                }
            }
        }
        for topic in &self.topics {
            for p in topic.first..topic.first + topic.count {
                self.owners[p] = match self.claims[p] {
                    Claims::One { member, .. } if topic.subscribers.binary_search(&member).is_ok() => Some(member),
                    _ => None,
                };
            }
        }
    }

    /// Whether `member` may get the partition now, because nobody else holds it. Of two that claim it in one generation
    /// either may hold it: then nobody gets it, and both give it up.
    pub(super) fn is_free_for(&self, p: usize, member: usize) -> bool {
        match self.claims[p] {
            Claims::Nobody => true,
            Claims::One { member: holder, .. } => holder == member,
            Claims::Several { .. } => false,
        }
    }

    /// The answer, from the member of each partition in turn.
    pub(super) fn assignments(&self, plan: impl IntoIterator<Item = Option<usize>>) -> Assignments {
        let mut assignments = empty_assignments(self.given);
        let partitions = self.topics.iter().flat_map(|topic| (0..topic.count).map(move |p| (topic, p)));
        for ((topic, partition), member) in partitions.zip(plan) {
            if let Some(member) = member {
                let partition = TopicPartition::new(topic.name.clone(), partition as i32);
                assignments.entry(self.members[member].member_id.clone()).or_default().push(partition);
            }
        }
        assignments
    }
}
