//! Who has which partitions, as a group's coordinator says and as a member's own events do.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher::{Dispatcher, Events, GroupMember, SubscriptionEvent};
use futures_util::FutureExt as _;

/// Each member's partitions.
pub async fn owners(dispatcher: &Dispatcher, topic: &str, group: &str) -> BTreeMap<String, BTreeSet<i32>> {
    let status = dispatcher.consume_status_exact(topic, group).await.unwrap();
    let partitions = |m: &GroupMember| m.partitions().iter().map(|(_, partition)| *partition).collect();
    status.members().iter().map(|m| (m.member_id().to_owned(), partitions(m))).collect()
}

/// Each instance's partitions.
pub async fn by_instance(dispatcher: &Dispatcher, group: &str) -> BTreeMap<String, Vec<(String, i32)>> {
    let described = dispatcher.describe_group(group).await.unwrap();
    assert_eq!(described.state(), "Stable");
    let of = |m: &GroupMember| (m.instance_id().unwrap().to_owned(), m.partitions().to_vec());
    described.members().iter().map(of).collect()
}

/// What has happened to a member's partitions since the last call.
pub fn moves(events: &mut Events) -> Vec<&'static str> {
    let mut moves = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        moves.extend(match event {
            SubscriptionEvent::Assigned { .. } => Some("assigned"),
            SubscriptionEvent::Revoked { .. } => Some("revoked"),
            SubscriptionEvent::Lost { .. } => Some("lost"),
            _ => None,
        });
    }
    moves
}
