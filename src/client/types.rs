//! Small values that the rooms from `client` upwards share.

use std::fmt;
use std::sync::Arc;

pub use crate::wire::Uuid as TopicId;

/// A topic's name; cloned by reference count.
pub(crate) type TopicName = Arc<str>;

/// One partition of one topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

/// `orders-3`, as Kafka writes it.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in a partition's log. The epoch and the topic id say *which* log (KIP-320, KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// Leader epoch of the record before `offset`; −1 unknown.
    pub(crate) leader_epoch: i32,
    /// The topic's id when the position was taken; zero unknown.
    pub(crate) topic_id: TopicId,
}

/// Where to start or to look up an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetAt {
    /// The log's start.
    Earliest,
    /// The log's end: the last stable offset under read_committed, else the high watermark.
    Latest,
    /// The first record at or after this time, in ms since 1970.
    Timestamp(i64),
}

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Isolation {
    /// Only those of committed transactions, and only up to the last stable offset. The default.
    #[default]
    ReadCommitted,
    /// All, of open and aborted transactions too.
    ReadUncommitted,
}

/// Counts assignments within one subscription. What carries an older epoch than the partition's present one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct AssignmentEpoch(pub(crate) u64);
