//! Java's `RangeAssignor` without racks: each topic's partitions in consecutive runs, the first members one longer.

use std::collections::BTreeMap;

use super::{Assignments, Subscription, empty_assignments, sorted_members};
use crate::client::types::{TopicName, TopicPartition};

pub(super) fn assign(members: &[Subscription], counts: &BTreeMap<TopicName, i32>) -> Assignments {
    let mut assignments = empty_assignments(members);
    let members = sorted_members(members);
    for (topic, &count) in counts {
        let subscribed: Vec<_> = members.iter().filter(|m| m.topics.contains(topic)).collect();
        if subscribed.is_empty() || count <= 0 {
            continue;
        }
        let each = count / subscribed.len() as i32;
        let longer = count as usize % subscribed.len();
        let mut next = 0;
        for (place, member) in subscribed.into_iter().enumerate() {
            let end = next + each + i32::from(place < longer);
            let run = (next..end).map(|p| TopicPartition::new(topic.clone(), p));
            assignments.entry(member.member_id.clone()).or_default().extend(run);
            next = end;
        }
    }
    assignments
}
