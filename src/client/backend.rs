//! The seam between what knows partitions (producer, fetcher, and the rooms above) and what reaches them. Native
//! clients share one connection per broker and use; another client library can stand behind the same trait. It is
//! called once per batch, never per record.

use std::sync::Arc;

use async_trait::async_trait;

use super::producer::PartitionQueue;
use super::types::TopicPartition;

/// What is asked of one partition.
#[async_trait]
pub(crate) trait PartitionClient: Send + Sync + 'static {
    /// The queue has, or will have, something to send. The client takes batches out with
    /// [`PartitionQueue::take`] when it can send them, and settles each exactly once. Returns at once.
    fn submit(&self, queue: &Arc<PartitionQueue>);
}

/// One way to reach partitions: the native one, or another client library.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The client of one partition, known or not.
    fn partition(&self, tp: &TopicPartition) -> Arc<dyn PartitionClient>;
}
