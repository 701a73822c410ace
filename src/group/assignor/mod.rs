//! How a group's leader deals partitions out: pure functions that follow Kafka's Java assignors, so that any member of
//! a mixed group may lead. The machine calls [`Assignor::assign`] once per rebalance it leads. `range` and `roundrobin`
//! are bit for bit Java's; of the sticky ones, whose outcome in Java hangs on the order of a hash map, the rules are.
//! Racks are not looked at.

mod range;
mod round_robin;
mod sticky;
mod subscription;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub(crate) use self::subscription::{Claim, decode, encode_all};
use crate::client::types::{TopicName, TopicPartition};

/// A strategy that deals the partitions of a group's topics out to its members.
///
/// Members of one group must share at least one strategy; the group uses the one that most of them prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Each topic by itself: consecutive partitions to each member, the first members get one more. Kafka's `range`.
    Range,
    /// All partitions of all topics in turn. Kafka's `roundrobin`.
    RoundRobin,
    /// As even as can be, and within that every member keeps what it had; but each gives up everything before a
    /// rebalance, as with `Range`. Kafka's `sticky`.
    Sticky,
    /// As [`Sticky`](Self::Sticky), and only the partitions that change their owner stop in a rebalance: one that does
    /// is given up in one round and handed out in the next (KIP-429). Kafka's `cooperative-sticky`.
    CooperativeSticky,
}

impl Assignor {
    /// The name in JoinGroup's protocol list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members may keep their partitions through a rebalance.
    pub(crate) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Whether members with this list keep what they own through a rebalance (KIP-429): only if every assignor on it can,
    /// for the group may choose any of them.
    pub(crate) fn all_cooperative(list: &[Self]) -> bool {
        list.iter().all(|assignor| assignor.is_cooperative())
    }

    /// The version of the subscription sent under this assignor's name. Version 0 has no field after `user_data`:
    /// the Go dispatcher's sarama, as leader, refuses any byte behind it. It knows no cooperative assignor.
    pub(crate) fn subscription_version(self) -> i16 {
        if self.is_cooperative() { 3 } else { 0 }
    }

    /// Deals out all partitions, except that `cooperative-sticky` leaves out those that another member must give up
    /// first. `counts` gives the partitions of each existing topic; topics it lacks are left out.
    /// Every member has an entry in the answer, if only an empty one.
    pub(crate) fn assign(self, members: &[Subscription], counts: &BTreeMap<TopicName, i32>) -> Assignments {
        match self {
            Self::Range => range::assign(members, counts),
            Self::RoundRobin => round_robin::assign(members, counts),
            Self::Sticky => sticky::assign(members, counts),
            Self::CooperativeSticky => sticky::assign_cooperative(members, counts),
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What each member gets, by member id.
pub(crate) type Assignments = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) member_id: Arc<str>,
    /// Set for static members (KIP-345).
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) topics: Vec<TopicName>,
    /// What the member says it owns (`cooperative-sticky`) or owned before this rebalance (`sticky`). Only a claim:
    /// it may be out of date, double, or name what does not exist.
    pub(crate) owned: Vec<TopicPartition>,
    /// The generation in which it got them; -1 unknown.
    pub(crate) generation: i32,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { member_id: "".into(), instance_id: None, topics: Vec::new(), owned: Vec::new(), generation: -1 }
    }
}

/// Java's `MemberInfo` order: static members first, by instance id; then the others by member id.
fn by_member_info(a: &Subscription, b: &Subscription) -> Ordering {
    match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => java_order(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java_order(&a.member_id, &b.member_id),
    }
}

/// `String.compareTo`: by UTF-16 code units, which differs from Rust's order above U+FFFF.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

fn empty_assignments(members: &[Subscription]) -> Assignments {
    members.iter().map(|m| (m.member_id.clone(), Vec::new())).collect()
}

fn sorted_members(members: &[Subscription]) -> Vec<&Subscription> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|a, b| by_member_info(a, b));
    sorted
}

#[cfg(test)]
mod tests;
