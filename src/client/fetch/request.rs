//! From a session's plan to a Fetch request, and which version it may have.

use super::session::Plan;
use crate::client::types::Isolation;
use crate::error::Result;
use crate::net::Connection;
use crate::wire::StrBytes;
use crate::wire::messages::FetchRequest;
use crate::wire::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};

/// From here on topics go by id (KIP-516).
const BY_ID: i16 = 13;
/// From here on the broker checks `last_fetched_epoch` (KIP-595).
const LAST_FETCHED_EPOCH: i16 = 12;

/// What does not follow from the plan.
pub(super) struct Terms {
    pub(super) isolation: Isolation,
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
}

pub(super) fn version(connection: &Connection, by_id: bool) -> Result<i16> {
    connection.version::<FetchRequest>((!by_id).then_some(BY_ID - 1))
}

pub(super) fn build(plan: Plan, version: i16, terms: &Terms) -> FetchRequest {
    let name = |name: &str| if version < BY_ID { StrBytes::from(name) } else { StrBytes::default() };
    let topics = plan.topics.into_iter().map(|topic| FetchTopic {
        topic: name(&topic.name),
        topic_id: topic.id,
        partitions: topic
            .partitions
            .into_iter()
            .map(|(partition, want)| FetchPartition {
                partition,
                current_leader_epoch: want.current_leader_epoch,
                fetch_offset: want.offset,
                last_fetched_epoch: if version < LAST_FETCHED_EPOCH { -1 } else { want.last_fetched_epoch },
                partition_max_bytes: want.max_bytes,
                ..Default::default()
            })
            .collect(),
    });
    let forgotten = plan.forgotten.into_iter().map(|topic| ForgottenTopic {
        topic: name(&topic.name),
        topic_id: topic.id,
        partitions: topic.partitions,
    });
    FetchRequest {
        max_wait_ms: terms.max_wait_ms,
        min_bytes: terms.min_bytes,
        max_bytes: terms.max_bytes,
        isolation_level: i8::from(terms.isolation == Isolation::ReadCommitted),
        session_id: plan.session_id,
        session_epoch: plan.session_epoch,
        topics: topics.collect(),
        forgotten_topics_data: forgotten.collect(),
        // Brokers from 3.5 (version 15) have no such field: a consumer is what has no replica state.
        replica_id: -1,
        ..Default::default()
    }
}
