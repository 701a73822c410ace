//! The native way to partitions: one Produce and one Fetch connection per broker, shared by all its partitions.

use std::sync::{Arc, OnceLock};

use super::backend::{Backend, PartitionClient};
use super::cluster::Cluster;
use super::fetch::{Attached, FetchConfig, FetchOut, Fetcher};
use super::producer::PartitionQueue;
use super::producer::sink::Router;
use super::types::{AssignmentEpoch, Position, TopicPartition};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Native {
    cluster: Cluster,
    sinks: Arc<Router>,
    fetching: Arc<FetchConfig>,
    /// Started when the first partition is attached.
    fetcher: Arc<OnceLock<Fetcher>>,
}

impl Native {
    pub(crate) fn new(cluster: Cluster, fetching: FetchConfig) -> Self {
        let sinks = Router::new(cluster.clone());
        Self { cluster, sinks, fetching: Arc::new(fetching), fetcher: Arc::default() }
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

impl PartitionClient for NativePartition {
    fn submit(&self, queue: &Arc<PartitionQueue>) {
        self.native.sinks.submit(queue);
    }

    fn attach(&self, from: Position, epoch: AssignmentEpoch, out: FetchOut) -> Attached {
        let start = || Fetcher::start(self.native.cluster.clone(), (*self.native.fetching).clone());
        self.native.fetcher.get_or_init(start).attach(self.tp.clone(), from, epoch, out)
    }
}
