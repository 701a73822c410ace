//! The handle of a running cluster: addresses, what happens to brokers and leaders, and a look inside.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::apis;
use super::builder::{EmbeddedBuilder, bind};
use super::faults::Fault;
use super::listen;
use super::observe::RequestEvent;
use super::shared::Shared;
use super::state::{Broker, State};
use crate::env::Network;
use crate::error::{Error, ErrorKind, Result};

/// A Kafka cluster inside this process, for tests and quick starts: no Java, no Docker. It speaks Kafka's protocol, so
/// that any client can use it, and does what it is told, such as losing an answer or moving a leader.
///
/// It ends when the last clone of the handle is dropped; its connections end then too, and its ports are free as soon
/// as its tasks have run once more, which another cluster that is started on them waits for.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> dispatcher::Result<()> {
/// use dispatcher::Dispatcher;
/// use dispatcher::embedded::EmbeddedCluster;
///
/// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 12).start().await?;
/// let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
/// dispatcher.send("orders", "one espresso").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EmbeddedCluster(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    network: Network,
    tcp: bool,
    clockwork: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.clockwork.abort();
        let mut state = self.shared.state();
        for broker in state.brokers.values_mut() {
            broker.running = false;
            broker.cut.send_modify(|n| *n += 1);
        }
        // The directory is free for the next cluster.
        state.store = None;
        // Outside of the lock: whoever waited for a group gives up its place.
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// The leader's node id; `None` while no replica runs.
    pub leader: Option<i32>,
    /// Rises with every new leader.
    pub leader_epoch: i32,
    /// The first offset that is still there.
    pub log_start: i64,
    /// Up to here consumers under `read_uncommitted` may read.
    pub high_watermark: i64,
    /// Up to here consumers under `read_committed` may read.
    pub last_stable: i64,
    /// The offset the next record gets.
    pub log_end: i64,
}

/// A record as it lies in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// Its offset.
    pub offset: i64,
    /// Ms since 1970.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl EmbeddedCluster {
    /// One broker without topics, unless told otherwise.
    pub fn builder() -> EmbeddedBuilder {
        EmbeddedBuilder::default()
    }

    pub(super) fn new(shared: Arc<Shared>, network: Network, tcp: bool) -> Self {
        let clockwork = shared.env.spawn(shared.clone().clockwork());
        Self(Arc::new(Handle { shared, network, tcp, clockwork }))
    }

    /// For tests that speak without a connection.
    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.shared.state())
    }

    /// `host:port` of every broker, running or not, by node id.
    pub fn brokers(&self) -> Vec<String> {
        let address = |b: &Broker| match b.host.contains(':') {
            true => format!("[{}]:{}", b.host, b.port),
            false => format!("{}:{}", b.host, b.port),
        };
        self.with(|s| s.brokers.values().map(address).collect())
    }

    /// The same in one string, as other clients take it.
    pub fn bootstrap(&self) -> String {
        self.brokers().join(",")
    }

    /// In-memory streams to the brokers, for [`Builder::network`](crate::Builder::network). Also there when the cluster
    /// listens on TCP.
    pub fn network(&self) -> Network {
        self.0.network.clone()
    }

    /// Arms a fault. Faults are looked at in the order in which they were armed; a request meets one at most.
    pub fn inject(&self, fault: Fault) {
        self.with(|s| s.faults.arm(fault));
    }

    /// Disarms all faults. Connections that were silenced stay so.
    pub fn clear_faults(&self) {
        self.with(|s| s.faults.clear());
    }

    /// Calls `observer` after every request from now on, on the broker's task: it must not block.
    pub fn observe(&self, observer: impl Fn(&RequestEvent) + Send + Sync + 'static) {
        self.0.shared.observers.add(observer);
    }

    /// The broker stops without a word: its connections end, others lead its partitions and coordinate its groups. Its
    /// part of the logs is not lost. Says whether it ran.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// let leader = cluster.leader("orders", 0).expect("all run");
    /// assert!(cluster.stop_broker(leader));
    /// assert_ne!(cluster.leader("orders", 0), Some(leader));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop_broker(&self, id: i32) -> bool {
        let now = self.0.shared.env.now();
        let stopped = self.with(|state| {
            let groups = state.coordinated_by(id);
            let Some(broker) = state.brokers.get_mut(&id).filter(|b| b.running) else { return false };
            broker.running = false;
            broker.sessions.clear();
            broker.cut.send_modify(|n| *n += 1);
            state.elect();
            state.groups.fail_over(now, |group| groups.contains(group));
            state.deliver_replies();
            true
        });
        self.0.shared.timing_changed();
        stopped
    }

    /// A stopped broker comes back at its address. Leaders stay where they are, but partitions without one get one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown broker; [`ErrorKind::Connection`] if its address is taken by now.
    ///
    /// Cancel-safe: dropped, the broker is still stopped, and can be started again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// cluster.stop_broker(2);
    /// // … what the service does meanwhile …
    /// cluster.start_broker(2).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn start_broker(&self, id: i32) -> Result<()> {
        let found = self.with(|s| s.brokers.get(&id).map(|b| (b.host.clone(), b.port, b.running)));
        let Some((host, port, running)) = found else { return Err(unknown_broker(id)) };
        if running {
            return Ok(());
        }
        self.listen(id, &host, port).await
    }

    async fn listen(&self, id: i32, host: &str, port: u16) -> Result<()> {
        let shared = &self.0.shared;
        if let Some(before) = self.with(|s| s.brokers.get_mut(&id).and_then(|b| b.accepting.take())) {
            // It ends by itself, but may not have done so yet: its port has to be free, and it must not go on.
            before.abort();
            let _aborted = before.await;
        }
        let listener = if self.0.tcp { Some(bind(&shared.env, host, port).await?) } else { None };
        let port = listener.as_ref().and_then(|l| l.port().ok()).unwrap_or(port);
        let now = shared.env.now();
        self.with(|state| {
            // Groups that were moved here before it stopped come back.
            let before = state.all_coordinators();
            if let Some(broker) = state.brokers.get_mut(&id) {
                (broker.port, broker.running) = (port, true);
            }
            state.elect();
            let moved = state.moved_since(&before);
            state.groups.fail_over(now, |group| moved.contains(group));
            state.deliver_replies();
        });
        if let Some(listener) = listener {
            listen::start_accepting(shared, id, listener);
        }
        Ok(())
    }

    /// Every broker that runs moves to another port; old addresses answer no more.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if no port can be had: the broker that wanted it is stopped then.
    ///
    /// Not cancel-safe: dropped, some brokers have moved and others not, and one may be stopped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// let before = cluster.brokers();
    /// cluster.change_addresses().await?;
    /// assert!(cluster.brokers().iter().all(|address| !before.contains(address)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn change_addresses(&self) -> Result<()> {
        let running: Vec<_> = self.with(|s| s.running().map(|(id, b)| (id, b.host.clone(), b.port)).collect());
        for (id, host, port) in running {
            let next = if self.0.tcp { 0 } else { port.wrapping_add(1000).max(1) };
            self.stop_broker(id);
            self.listen(id, &host, next).await?;
        }
        Ok(())
    }

    /// Ends all connections, or those of one broker; new ones are taken at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// cluster.cut_connections(None); // of all brokers
    /// cluster.cut_connections(Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cut_connections(&self, broker: Option<i32>) {
        self.with(|state| {
            for (_, b) in state.brokers.iter_mut().filter(|(id, _)| broker.is_none_or(|only| only == **id)) {
                b.cut.send_modify(|n| *n += 1);
            }
        });
    }

    /// Makes a topic; its replicas are on 3 brokers or as many as run.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it exists or cannot be made so.
    pub fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        let env = &self.0.shared.env;
        self.with(|s| apis::new_topic(env, s, name, partitions, -1, configs)).map_err(|e| refused("create", name, e))
    }

    /// The topic is gone, with its records and what groups have committed. Says whether there was one.
    pub fn delete_topic(&self, name: &str) -> bool {
        self.with(|s| apis::delete(s, name))
    }

    /// The topic has `total` partitions from now on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if there is no such topic or it has as many already.
    pub fn add_partitions(&self, topic: &str, total: i32) -> Result<()> {
        self.with(|s| apis::grow(s, topic, total, None, false)).map_err(|e| refused("grow", topic, e))
    }

    /// Everything below `before` is gone from the log, as after retention. Says whether there is such a partition.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> bool {
        self.with(|state| {
            let Some(p) = state.partition_mut(topic, partition) else { return false };
            p.log.delete_before(before.min(p.log.high_watermark()));
            p.wake();
            state.starts_changed();
            true
        })
    }

    /// Compacts a topic at once, whatever its `cleanup.policy`: of each key only the last record stays, and tombstones go.
    pub fn compact(&self, topic: &str) {
        self.with(|state| {
            for partition in state.topics.get_mut(topic).into_iter().flat_map(|t| &mut t.partitions) {
                partition.log.compact(i64::MAX);
                partition.wake();
            }
            state.starts_changed();
        });
    }

    /// Applies every topic's `retention.ms`, `retention.bytes` and compaction now; by itself that happens every 5
    /// minutes.
    pub fn apply_retention(&self) {
        let wall_ms = self.0.shared.env.wall_ms();
        self.with(|state| state.apply_retention(wall_ms));
    }

    /// Another replica leads the partition from now on. Says whether that changed anything.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// let leader = cluster.leader("orders", 0).expect("all run");
    /// let next = leader % 3 + 1;
    /// assert!(cluster.move_leader("orders", 0, next));
    /// assert_eq!(cluster.leader("orders", 0), Some(next));
    /// # Ok(())
    /// # }
    /// ```
    pub fn move_leader(&self, topic: &str, partition: i32, to: i32) -> bool {
        self.with(|s| s.move_leader(topic, partition, to))
    }

    /// The leader's node id.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.partition(topic, partition)?.leader
    }

    /// Another broker coordinates the group (or transactional id) from now on. What was not finished, such as a
    /// rebalance, is forgotten, as when a coordinator dies. Says whether that broker runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// assert!(cluster.move_coordinator("kitchen:orders", 2));
    /// assert_eq!(cluster.coordinator("kitchen:orders"), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn move_coordinator(&self, group: &str, to: i32) -> bool {
        let now = self.0.shared.env.now();
        let moved = self.with(|state| {
            if !state.is_running(to) {
                return false;
            }
            state.coordinators.insert(group.to_owned(), to);
            state.groups.fail_over(now, |g| g == group);
            state.deliver_replies();
            true
        });
        self.0.shared.timing_changed();
        moved
    }

    /// The node id of the group's (or transactional id's) coordinator.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.with(|s| s.coordinator(group))
    }

    /// Followers of the partition copy nothing: the high watermark stands still, sends that want all replicas wait. A new
    /// leader then lacks what was not copied. Where there is one replica only, nothing changes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> dispatcher::Result<()> {
    /// # use dispatcher::embedded::EmbeddedCluster;
    /// let cluster = EmbeddedCluster::builder().brokers(3).topic("orders", 1).in_memory().start().await?;
    /// cluster.pause_replication("orders", 0);
    /// // … a send that wants all replicas waits, until …
    /// cluster.resume_replication("orders", 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pause_replication(&self, topic: &str, partition: i32) {
        self.with(|s| {
            if let Some(p) = s.partition_mut(topic, partition) {
                p.replication_paused = true;
            }
        });
    }

    /// Followers catch up.
    pub fn resume_replication(&self, topic: &str, partition: i32) {
        self.with(|s| {
            if let Some(p) = s.partition_mut(topic, partition) {
                p.replication_paused = false;
                p.appended();
            }
        });
    }

    /// Where a partition stands; `None` if there is none of that name and number.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<PartitionInfo> {
        self.with(|state| {
            let p = state.partition(topic, partition)?;
            Some(PartitionInfo {
                leader: Some(p.leader).filter(|id| *id >= 0),
                leader_epoch: p.leader_epoch,
                log_start: p.log.start(),
                high_watermark: p.log.high_watermark(),
                last_stable: p.log.last_stable(),
                log_end: p.log.end(),
            })
        })
    }

    /// The data records in a log, those of aborted transactions included. Batches that cannot be read (such as of a
    /// codec that this build does not contain) are left out.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<StoredRecord> {
        let (batches, start) = self.with(|state| {
            let log = state.partition(topic, partition).map(|p| &p.log);
            let batches: Vec<_> = log.into_iter().flat_map(|l| l.batches().cloned()).collect();
            (batches, log.map_or(0, |l| l.start()))
        });
        let opened = batches.iter().filter(|b| !b.header.is_control()).filter_map(|b| b.open().ok());
        let records = opened.flat_map(|batch| {
            let (mut at, mut records) = (Default::default(), Vec::new());
            while let Ok(Some(record)) = batch.next(&mut at) {
                let bytes = |range| batch.bytes_of(range).to_vec();
                let header = |(name, value): (&[u8], Option<&[u8]>)| {
                    (String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec))
                };
                records.push(StoredRecord {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    headers: batch.headers(&record).map(header).collect(),
                    key: record.key.map(bytes),
                    value: record.value.map(bytes),
                });
            }
            records
        });
        records.filter(|r| r.offset >= start).collect()
    }

    /// What the group has committed for a partition: the next offset to handle.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.with(|s| s.groups.committed(group, topic, partition).map(|stored| stored.offset))
    }

    /// The group's state in Kafka's spelling, such as `Stable`; `None` if there is no such group.
    pub fn group_state(&self, group: &str) -> Option<&'static str> {
        self.with(|s| s.groups.state(group))
    }
}

fn unknown_broker(id: i32) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("there is no broker {id} in the embedded cluster"))
}

fn refused(what: &str, topic: &str, why: apis::Refused) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("cannot {what} topic {topic}: {}", why.text))
}

impl fmt::Debug for EmbeddedCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedCluster({})", self.bootstrap())
    }
}
