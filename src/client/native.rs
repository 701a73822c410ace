//! The native way to partitions: one Produce and one Fetch connection per broker, shared by all its partitions.

use std::sync::Arc;

use async_trait::async_trait;

use super::backend::{Backend, PartitionClient};
use super::cluster::Cluster;
use super::producer::PartitionQueue;
use super::producer::sink::Router;
use super::types::TopicPartition;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Native {
    sinks: Arc<Router>,
}

impl Native {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { sinks: Router::new(cluster) }
    }
}

impl Backend for Native {
    fn partition(&self, _tp: &TopicPartition) -> Arc<dyn PartitionClient> {
        Arc::new(NativePartition { native: self.clone() })
    }
}

/// One partition, wherever its leader is.
struct NativePartition {
    native: Native,
}

#[async_trait]
impl PartitionClient for NativePartition {
    fn submit(&self, queue: &Arc<PartitionQueue>) {
        self.native.sinks.submit(queue);
    }
}
