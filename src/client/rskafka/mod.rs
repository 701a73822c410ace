//! The seam over rskafka's partition clients (feature `rskafka`): the shape in which each partition has a client of its
//! own, with a TCP connection of its own, beside the native one in which a broker's partitions share connections. A
//! producer's queue gets a [`writer`], an attached partition a [`reader`]; `open` gives both their clients, limits how
//! many there are and how long anything may take. Membership, commits and metadata stay on this crate's own protocol.
//!
//! What this library loses by it is told in one table, `backend/tests/differences.rs`, which README repeats.

mod admin;
mod judge;
mod look;
mod open;
mod reader;
mod records;
mod settings;
mod waiting;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(crate) use self::admin::RskafkaAdmin;
use self::open::Opener;
use self::reader::Readers;
pub(crate) use self::settings::{Codecs, check, check_isolation};
use self::writer::Writer;
use super::backend::{Backend, PartitionClient};
use super::cluster::Cluster;
use super::fetch::{Attached, FetchConfig, FetchOut};
use super::producer::PartitionQueue;
use super::types::{AssignmentEpoch, Position, TopicPartition};
use crate::error::Result;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rskafka(Arc<Common>);

/// What all partitions share.
struct Common {
    cluster: Cluster,
    opener: Opener,
    readers: Readers,
    codecs: Codecs,
    ids: AtomicU64,
}

impl Rskafka {
    /// Nothing is connected before it is needed.
    pub(crate) fn new(cluster: Cluster, fetching: FetchConfig, codecs: Codecs) -> Result<Self> {
        check(cluster.config(), fetching.max_decompressed)?;
        let opener = Opener::new(&cluster)?;
        let readers = Readers::new(fetching);
        Ok(Self(Arc::new(Common { cluster, opener, readers, codecs, ids: AtomicU64::new(0) })))
    }

    /// Topics and offsets by rskafka as far as it can ask for them, the rest natively.
    pub(crate) fn admin(&self) -> RskafkaAdmin {
        RskafkaAdmin::new(self.0.clone())
    }
}

impl Backend for Rskafka {
    fn partition(&self, tp: &TopicPartition) -> Arc<dyn PartitionClient> {
        let tp = Arc::new(tp.clone());
        Arc::new(RskafkaPartition { writer: Writer::new(self.0.clone(), tp.clone()), common: self.0.clone(), tp })
    }
}

/// One partition, wherever its leader is.
struct RskafkaPartition {
    common: Arc<Common>,
    tp: Arc<TopicPartition>,
    writer: Writer,
}

impl PartitionClient for RskafkaPartition {
    fn submit(&self, queue: &Arc<PartitionQueue>) {
        self.writer.submit(queue);
    }

    fn attach(&self, from: Position, epoch: AssignmentEpoch, out: FetchOut) -> Attached {
        reader::start(&self.common, self.tp.clone(), from, epoch, out)
    }
}
