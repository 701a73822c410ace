//! What a consumer needs of the rooms below: a membership, the log, and two streams of events. The real ones are thin;
//! tests put their own in place.

use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::client::fetch::{Attached, FetchEvent, FetchIn};
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicId, TopicPartition};
use crate::group::{CommitOffset, Committed, GroupEvent, GroupEvents, GroupHandle};
use crate::wire::ErrorCode;

/// The group, as far as commits go.
#[async_trait]
pub(crate) trait Membership: Send + Sync + 'static {
    async fn commit(&self, offsets: Vec<(TopicPartition, CommitOffset)>) -> Result<Vec<(TopicPartition, ErrorCode)>>;
    /// Fails for some partitions, or as a whole.
    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<Option<Committed>>)>>;
    async fn leave(&self);
}

#[async_trait]
impl Membership for GroupHandle {
    async fn commit(&self, offsets: Vec<(TopicPartition, CommitOffset)>) -> Result<Vec<(TopicPartition, ErrorCode)>> {
        self.commit(offsets).await
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<Option<Committed>>)>> {
        self.committed(partitions).await
    }

    async fn leave(&self) {
        self.leave().await;
    }
}

/// Keeps a partition attached until it drops.
pub(crate) trait Attachment: Send + Sync {
    /// Reads no further; what has arrived waits.
    fn pause(&self);
    fn resume(&self);
}

impl Attachment for Attached {
    fn pause(&self) {
        self.pause();
    }

    fn resume(&self) {
        self.resume();
    }
}

pub(crate) type Guard = Box<dyn Attachment>;

/// The partitions' logs.
#[async_trait]
pub(crate) trait Log: Send + Sync + 'static {
    /// Starts reading; what is read comes out of the consumer's [`Feed`]. Of a partition whose records are `delayed` little
    /// is read at a time, for it may wait in memory for long.
    fn attach(&self, tp: &TopicPartition, from: Position, epoch: AssignmentEpoch, delayed: bool) -> Guard;

    /// The id of a topic; zero when the cluster has none.
    fn topic_id(&self, topic: &str) -> TopicId;

    /// CRC-32C of the cluster's id, which tells it from the clusters it is mirrored to.
    fn cluster_tag(&self) -> u32;

    /// Offsets of many partitions at once, `None` where no record is that young. Asked for once: what is not found out
    /// within `patience` fails, and holds up no other.
    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Vec<(TopicPartition, Result<Option<i64>>)>>;

    /// Where the records of `leader_epoch` end in the log as it is now; `None` when it has no such epoch (any more), or
    /// the cluster cannot say. Asked for once, as [`offsets`](Self::offsets).
    async fn epoch_end(&self, tp: &TopicPartition, leader_epoch: i32, patience: Duration) -> Result<Option<i64>>;
}

/// A stream of events; `None` at its end. Receiving is cancel-safe.
pub(crate) trait Feed<T>: Send + 'static {
    fn recv(&mut self) -> impl Future<Output = Option<T>> + Send;
}

impl Feed<FetchEvent> for FetchIn {
    async fn recv(&mut self) -> Option<FetchEvent> {
        self.recv().await
    }
}

impl Feed<GroupEvent> for GroupEvents {
    async fn recv(&mut self) -> Option<GroupEvent> {
        self.recv().await
    }
}
