//! The producer: records are encoded into their partition's open batch when they are appended; whoever reaches the
//! partition's leader takes batches out, writes them and settles them. A batch's records share one completion.

mod budget;
pub(crate) mod config;
pub(crate) mod delivery;
mod identity;
mod parcel;
pub(crate) mod queue;
pub(crate) mod sequencer;
mod shared;
pub(crate) mod sink;
mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

pub(crate) use config::ProducerConfig;
#[cfg(test)]
pub(crate) use delivery::Fate;
pub(crate) use delivery::{Ack, Completion, Delivery};
pub(crate) use queue::{PartitionQueue, RecordParts};
use shared::Shared;
use topic::Topic;
pub(crate) use topic::{Choice, ProducerTopic};

use crate::client::backend::Backend;
use crate::client::cluster::Cluster;
use crate::client::topology::{TopicMeta, Topology};
use crate::client::types::{TopicId, TopicName, TopicPartition};
use crate::env::lock;
use crate::error::{Error, ErrorKind, Result};

/// Writes records to a cluster. Clones share queues and memory. Dropping the last handle (topic handles count) fails
/// what was not yet sent as `NotWritten`; [`close`](Self::close) writes it first.
#[derive(Clone)]
pub(crate) struct Producer {
    core: Arc<Core>,
    open: Arc<Open>,
}

/// What handles and the watching task share.
struct Core {
    cluster: Cluster,
    backend: Arc<dyn Backend>,
    shared: Arc<Shared>,
    topics: Mutex<BTreeMap<TopicName, Arc<Topic>>>,
}

/// Closes the producer when the last handle is gone.
struct Open(Arc<Core>);

impl Producer {
    /// A producer on `cluster` that reaches partitions through `backend`.
    pub(crate) fn new(cluster: Cluster, backend: Arc<dyn Backend>, config: ProducerConfig) -> Result<Self> {
        config.check()?;
        let shared = Shared::new(cluster.env().clone(), config, cluster.config().retry_backoff);
        let core = Core { cluster, backend, shared: Arc::new(shared), topics: Mutex::default() };
        let core = Arc::new(core);
        // Ends when the core is gone or the cluster is closed.
        let _detached = core.cluster.env().spawn(watch(Arc::downgrade(&core), core.cluster.changes()));
        let open = Arc::new(Open(core.clone()));
        Ok(Self { core, open })
    }

    /// A handle to a topic, which must exist. Waits for metadata the first time. Cancel-safe.
    pub(crate) async fn topic(&self, name: &str) -> Result<ProducerTopic> {
        let known = lock(&self.core.topics).get(name).cloned();
        let topic = match (known, self.core.cluster.topology().topic(name)) {
            (_, Some(meta)) => self.core.topic(meta),
            (Some(topic), None) => topic,
            (None, None) => self.core.topic(&*self.core.cluster.topic(name).await?),
        };
        if self.core.shared.is_closed() {
            return Err(closed());
        }
        Ok(ProducerTopic { core: self.core.clone(), topic, _open: self.open.clone() })
    }

    /// Waits until everything appended before the call is acknowledged or has failed; what lingers is sent at once.
    /// It ends within `delivery_timeout`. Cancel-safe.
    pub(crate) async fn flush(&self) {
        let mut unsettled = Vec::new();
        for queue in self.core.queues() {
            unsettled.extend(queue.flush());
        }
        for completion in unsettled {
            completion.settled().await;
        }
    }

    /// Flushes for at most `timeout`, then takes nothing more in and fails what was not sent as `NotWritten`.
    /// What is under way then still ends by itself.
    pub(crate) async fn close(&self, timeout: Duration) {
        let env = self.core.shared.env.clone();
        let _in_time = env.timeout(timeout, self.flush()).await;
        self.core.close();
    }

    /// Bytes of records that wait or are under way.
    pub(crate) fn buffered(&self) -> usize {
        self.core.shared.budget.used()
    }
}

impl Core {
    fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        lock(&self.topics).values().flat_map(|topic| topic.queues().cloned()).collect()
    }

    /// The topic as `meta` has it. Queues are kept; what waits in those of partitions that are gone fails.
    fn topic(&self, meta: &TopicMeta) -> Arc<Topic> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let (name, id) = (&meta.name, meta.id);
        let mut topics = lock(&self.topics);
        let old = topics.get(name).cloned();
        let before = old.as_ref().map_or(0, |topic| topic.partitions.len());
        // The partitions of one topic never become fewer: such an answer is an old one. Without ids it is a new topic,
        // for the old one would have kept its partitions in the metadata.
        let is_other = old.as_ref().is_none_or(|topic| topic.id != id || id == TopicId::ZERO);
        let count = if is_other { meta.partitions.len() } else { meta.partitions.len().max(before) };
        if let Some(old) = &old
            && (old.id, before) == (id, count)
        {
            return old.clone();
        }
        let mut queues: Vec<_> = old.iter().flat_map(|topic| topic.queues().cloned()).collect();
        let first_id = IDS.fetch_add(count.saturating_sub(queues.len()) as u64, Ordering::Relaxed);
        queues.extend((queues.len()..count).zip(first_id..).map(|(number, id)| {
            let tp = TopicPartition::new(name.clone(), number as i32);
            let client = self.backend.partition(&tp);
            PartitionQueue::new(id, tp, self.shared.clone(), client)
        }));
        let spare = queues.split_off(count);
        let topic = Arc::new(Topic::new(name.clone(), id, queues.into(), spare.into()));
        if let Some(old) = &old {
            let _only_here_and_locked = old.successor.set(topic.clone());
        }
        topics.insert(name.clone(), topic.clone());
        // Locked still, so that of two changes the later one counts.
        if !self.shared.is_closed() {
            topic.partitions.iter().skip(before).for_each(|queue| queue.reopen());
        }
        for queue in topic.spare.iter().take(before.saturating_sub(count)) {
            let text = format!("topic {name} was made again and has {count} partitions now: send it again");
            queue.shut(Error::new(ErrorKind::NotWritten, text));
        }
        topic
    }

    /// Takes in what the cluster has become: topics may have more partitions, or be new ones with fewer.
    fn follow(&self, topology: &Topology) {
        let names: Vec<TopicName> = lock(&self.topics).keys().cloned().collect();
        for meta in names.iter().filter_map(|name| topology.topic(name)) {
            self.topic(meta);
        }
    }

    fn close(&self) {
        self.shared.close();
        self.queues().iter().for_each(|queue| queue.shut(closed()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Follows the cluster for as long as the producer lives.
async fn watch(core: Weak<Core>, mut changes: crate::env::watch::Receiver<Arc<Topology>>) {
    while changes.changed().await.is_ok() {
        let topology = changes.borrow_and_update().clone();
        let Some(core) = core.upgrade() else { return };
        core.follow(&topology);
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed: keep a handle until everything is sent, or call close()")
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer({} bytes buffered)", self.buffered())
    }
}

#[cfg(test)]
mod tests;
