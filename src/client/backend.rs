//! The seam between what knows partitions (producer, fetcher, and the rooms above) and what reaches them. Native
//! clients share one connection per broker and use; another client library can stand behind the same trait. It is
//! called once per batch, never per record.

use std::sync::Arc;

use super::fetch::{Attached, FetchOut};
use super::producer::PartitionQueue;
use super::types::{AssignmentEpoch, Position, TopicPartition};

/// What is asked of one partition. Offsets are looked up for many partitions at once, by
/// [`ClusterAdmin::list_offsets`](super::admin::ClusterAdmin::list_offsets).
pub(crate) trait PartitionClient: Send + Sync + 'static {
    /// The queue has, or will have, something to send. The client takes batches out with
    /// [`PartitionQueue::take`] when it can send them, and settles each exactly once. Returns at once.
    fn submit(&self, queue: &Arc<PartitionQueue>);

    /// Delivers what lies at `from` and behind it into `out`, under `epoch`, until the guard drops; the guard pauses and
    /// resumes. Returns at once.
    fn attach(&self, from: Position, epoch: AssignmentEpoch, out: FetchOut) -> Attached;
}

/// One way to reach partitions: the native one, or another client library.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The client of one partition, known or not.
    fn partition(&self, tp: &TopicPartition) -> Arc<dyn PartitionClient>;
}

#[cfg(test)]
mod tests;
