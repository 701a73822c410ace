//! The native way to partitions: one Produce and one Fetch connection per broker, shared by all its partitions.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use super::backend::{Backend, PartitionClient};
use super::cluster::Cluster;
use super::fetch::{Attached, FetchConfig, FetchOut, Fetcher, list_offset};
use super::producer::PartitionQueue;
use super::producer::sink::Router;
use super::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicPartition};
use crate::error::Result;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Native {
    cluster: Cluster,
    sinks: Arc<Router>,
    /// Started when the first partition is attached.
    fetcher: Arc<OnceLock<Fetcher>>,
}

impl Native {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { sinks: Router::new(cluster.clone()), cluster, fetcher: Arc::default() }
    }
}

impl Backend for Native {
    fn partition(&self, tp: &TopicPartition) -> Arc<dyn PartitionClient> {
        Arc::new(NativePartition { native: self.clone(), tp: Arc::new(tp.clone()) })
    }
}

/// One partition, wherever its leader is.
struct NativePartition {
    native: Native,
    tp: Arc<TopicPartition>,
}

#[async_trait]
impl PartitionClient for NativePartition {
    fn submit(&self, queue: &Arc<PartitionQueue>) {
        self.native.sinks.submit(queue);
    }

    fn attach(&self, from: Position, epoch: AssignmentEpoch, out: FetchOut) -> Attached {
        let start = || Fetcher::start(self.native.cluster.clone(), FetchConfig::default());
        self.native.fetcher.get_or_init(start).attach(self.tp.clone(), from, epoch, out)
    }

    async fn list_offset(&self, at: OffsetAt, isolation: Isolation) -> Result<Option<Position>> {
        list_offset(&self.native.cluster, &self.tp, at, isolation).await
    }
}
