//! What a consumer does, with its defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::forward::RetryTopic;
use super::retry::OnFailure;
use crate::client::types::{Isolation, TopicName};

/// Which records wait for each other within one member of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// None do: handlers run as soon as there is room.
    None,
    /// Those of one partition with the same key; records without a key do not wait for each other.
    Key,
    /// All of one partition.
    Partition,
}

/// Where a subscription begins in a partition of which its group has committed nothing. All but [`Oldest`](Self::Oldest)
/// is committed at once, so that a later owner begins at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// With the oldest message that is still there.
    #[default]
    Oldest,
    /// With messages that are sent from now on. A partition that was added to its topic after the subscription began is
    /// read from its beginning. A member that began after that cannot tell: it starts at the end of such a partition,
    /// unless another member has committed something of it before.
    Newest,
    /// With the first message of this time (ms since 1970) or later; after the last one if there is none.
    TimestampMs(i64),
    /// With the first message that is at most this old when the subscription begins; after the last one if there is none.
    Ago(Duration),
}

impl StartAt {
    /// With times counted from 1970 on.
    pub(crate) fn fixed(self, now_ms: i64) -> Self {
        match self {
            Self::Ago(ago) => {
                let ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Self::TimestampMs(now_ms.saturating_sub(ms).max(0))
            }
            other => other,
        }
    }
}

/// Settings of one consumer.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerConfig {
    /// Handlers in flight at once, ≥ 1. Default 1.
    pub(crate) concurrency: usize,
    /// Default: by key when `concurrency` > 1, else by partition.
    pub(crate) order: Option<Order>,
    pub(crate) on_failure: OnFailure,
    pub(crate) start_at: StartAt,
    /// What is subscribed to, in the order of their handlers.
    pub(crate) topics: Vec<TopicName>,
    /// What is read besides, for messages that failed.
    pub(crate) retries: Vec<RetryTopic>,
    /// How many partitions each topic had when the subscription began. Empty: unknown.
    pub(crate) partitions: BTreeMap<TopicName, i32>,
    /// Must be what the fetcher reads with.
    pub(crate) isolation: Isolation,
    /// At most so many records are handed out; then the consumer stops by itself.
    pub(crate) count: Option<u64>,
    /// Stop when all that was there at each partition's assignment is handled.
    pub(crate) until_end: bool,
    /// Default 1 s.
    pub(crate) commit_interval: Duration,
    /// How long a revocation waits for running handlers. Default 10 s.
    pub(crate) drain_timeout: Duration,
    /// How long `stop` waits for running handlers. Default 30 s.
    pub(crate) stop_timeout: Duration,
    /// When a handler that has not ended is reported. Default 60 s.
    pub(crate) stall_after: Duration,
    /// When a handler is ended and counts as failed. Default: never.
    pub(crate) handler_timeout: Option<Duration>,
    /// Unfinished or held records at which a partition pauses. Default 10,000.
    pub(crate) max_held: u32,
    /// Tasks that run handlers. Default: the runtime's workers, `concurrency` at most.
    pub(crate) lanes: Option<usize>,
    /// Run each handler as a task of its own, for handlers that block their thread. Default: no.
    pub(crate) spawn_each: bool,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            concurrency: 1,
            order: None,
            on_failure: OnFailure::default(),
            start_at: StartAt::default(),
            topics: Vec::new(),
            retries: Vec::new(),
            partitions: BTreeMap::new(),
            isolation: Isolation::default(),
            count: None,
            until_end: false,
            commit_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(30),
            stall_after: Duration::from_secs(60),
            handler_timeout: None,
            max_held: 10_000,
            lanes: None,
            spawn_each: false,
        }
    }
}

impl ConsumerConfig {
    /// The retry topic of this name, if it is one of this subscription's.
    pub(crate) fn retry_of(&self, topic: &TopicName) -> Option<&RetryTopic> {
        self.retries.iter().find(|retry| retry.topic == *topic)
    }

    /// The order in force.
    pub(crate) fn effective_order(&self) -> Order {
        self.order.unwrap_or(if self.concurrency > 1 { Order::Key } else { Order::Partition })
    }
}
