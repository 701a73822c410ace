//! What a consumer does, with its defaults.

use std::time::Duration;

use super::failure::OnFailure;
use crate::client::types::Isolation;

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

/// Settings of one consumer.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerConfig {
    /// Handlers in flight at once, ≥ 1. Default 1.
    pub(crate) concurrency: usize,
    /// Default: by key when `concurrency` > 1, else by partition.
    pub(crate) order: Option<Order>,
    pub(crate) on_failure: OnFailure,
    /// Start at the log's end where the group has no committed offset; default: at its beginning.
    pub(crate) skip_existing: bool,
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
            skip_existing: false,
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
    /// The order in force.
    pub(crate) fn effective_order(&self) -> Order {
        self.order.unwrap_or(if self.concurrency > 1 { Order::Key } else { Order::Partition })
    }
}
