//! Java's `RoundRobinAssignor`: all partitions, ordered by topic and number, dealt in turn to the members in order,
//! passing over members that are not subscribed to the topic.

use std::collections::BTreeMap;

use super::{Assignments, Subscription, empty_assignments, java_order, sorted_members};
use crate::client::types::{TopicName, TopicPartition};

pub(super) fn assign(members: &[Subscription], counts: &BTreeMap<TopicName, i32>) -> Assignments {
    let mut assignments = empty_assignments(members);
    let members = sorted_members(members);
    let mut topics: Vec<_> = counts.iter().filter(|(t, _)| members.iter().any(|m| m.topics.contains(t))).collect();
    topics.sort_by(|a, b| java_order(a.0, b.0));
    let mut turn = members.iter().cycle().peekable();
    for (topic, &count) in topics {
        for partition in 0..count {
            // Ends: at least one member is subscribed to every topic left in the list.
            while turn.next_if(|m| !m.topics.contains(topic)).is_some() {}
            if let Some(member) = turn.next() {
                let partition = TopicPartition::new(topic.clone(), partition);
                assignments.entry(member.member_id.clone()).or_default().push(partition);
            }
        }
    }
    assignments
}
