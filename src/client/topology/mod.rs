//! What is known of the cluster: brokers, topics, leaders. An immutable value behind an `Arc`, replaced by [`merge`].

mod merge;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use merge::{Answer, AnsweredPartition, AnsweredTopic, Merge};

use crate::client::types::{TopicId, TopicName, TopicPartition};
use crate::wire::ErrorCode;

/// One merged view of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) cluster_id: Option<Arc<str>>,
    /// The controller as brokers name it (under KRaft any broker that forwards); −1 unknown.
    pub(crate) controller: i32,
    pub(super) brokers: BTreeMap<i32, Arc<BrokerMeta>>,
    pub(super) topics: BTreeMap<TopicName, Arc<TopicMeta>>,
    pub(super) ids: BTreeMap<TopicId, TopicName>,
    /// Topics asked for that the last answer refused, and why.
    pub(super) refused: BTreeMap<TopicName, ErrorCode>,
}

/// A leader that a Produce or Fetch answer named (KIP-951).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewLeader {
    pub(crate) tp: Arc<TopicPartition>,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
}

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerMeta {
    pub(crate) id: i32,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) rack: Option<Arc<str>>,
}

/// One topic; partitions are indexed by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicMeta {
    pub(crate) name: TopicName,
    /// Zero if the broker is too old to tell.
    pub(crate) id: TopicId,
    pub(crate) partitions: Box<[PartitionMeta]>,
}

/// One partition's leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMeta {
    /// −1: none at present.
    pub(crate) leader: i32,
    /// −1: unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) error: ErrorCode,
}

impl Topology {
    pub(crate) fn topic(&self, name: &str) -> Option<&Arc<TopicMeta>> {
        self.topics.get(name)
    }

    #[cfg(test)]
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicMeta>> {
        self.topics.get(self.ids.get(&id)?)
    }

    pub(crate) fn partition(&self, tp: &TopicPartition) -> Option<&PartitionMeta> {
        self.topics.get(&tp.topic)?.partition(tp.partition)
    }

    pub(crate) fn broker(&self, id: i32) -> Option<&Arc<BrokerMeta>> {
        self.brokers.get(&id)
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerMeta>> {
        self.brokers.values()
    }

    /// Why the last answer did not contain `name`, if it was asked for.
    pub(crate) fn refusal(&self, name: &str) -> Option<ErrorCode> {
        self.refused.get(name).copied()
    }

    /// Whether every known topic is confirmed, with a leader for each partition.
    pub(crate) fn is_complete(&self) -> bool {
        let doubted = |(name, code): (&TopicName, &ErrorCode)| is_absent(*code) && self.topics.contains_key(name);
        !self.refused.iter().any(doubted) && self.topics.values().all(|t| t.partitions.iter().all(|p| p.leader >= 0))
    }
}

/// Whether a broker says by it that there is no such topic.
fn is_absent(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID)
}

impl TopicMeta {
    pub(crate) fn partition(&self, number: i32) -> Option<&PartitionMeta> {
        self.partitions.get(usize::try_from(number).ok()?)
    }
}

impl PartitionMeta {
    pub(super) fn unknown() -> Self {
        Self { leader: -1, leader_epoch: -1, error: ErrorCode::LEADER_NOT_AVAILABLE }
    }
}
