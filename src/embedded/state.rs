//! Everything a cluster knows, in one place behind one lock: brokers, topics, groups, transactions, faults. Requests and
//! the calls of [`EmbeddedCluster`](super::EmbeddedCluster) change it; nothing in here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::faults::Faults;
use super::groups::{Groups, Reply, Token};
use super::session::Sessions;
use super::topic::{Partition, Topic};
use super::transactions::{Coordinator, Ending};
use super::versions::KafkaVersion;
use crate::env::watch;
use crate::wire::messages::{JoinGroupResponse, SyncGroupResponse};
use crate::wire::{ErrorCode, Uuid};

/// Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// What stays the same for a cluster's life.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) version: KafkaVersion,
    pub(super) auto_create_topics: bool,
    pub(super) default_partitions: i32,
    pub(super) initial_rebalance_delay: Duration,
    /// Bytes of all logs together, at most.
    pub(super) max_memory: usize,
}

/// One broker.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) running: bool,
    pub(super) sessions: Sessions,
    /// Its connections end when this changes.
    pub(super) cut: watch::Sender<u64>,
    /// Takes connections at its address; `None` for one in memory.
    pub(super) accepting: Option<JoinHandle<()>>,
}

/// See the module.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) cluster_id: String,
    pub(super) brokers: BTreeMap<i32, Broker>,
    pub(super) topics: BTreeMap<String, Topic>,
    /// The names of `topics`.
    pub(super) names: BTreeMap<Uuid, String>,
    pub(super) groups: Groups,
    /// Group or transactional id → broker, where it was moved by hand.
    pub(super) coordinators: BTreeMap<String, i32>,
    pub(super) transactions: Coordinator,
    pub(super) faults: Faults,
    pub(super) next_connection: u64,
    /// Bytes since memory was last looked after.
    pub(super) appended: usize,
    pub(super) next_token: Token,
    pub(super) waiting: BTreeMap<Token, Waiting>,
    pub(super) store: Option<super::store::Store>,
}

/// Who waits for a group.
pub(super) enum Waiting {
    Join(oneshot::Sender<JoinGroupResponse>),
    Sync(oneshot::Sender<SyncGroupResponse>),
}

/// How a request names a topic.
#[derive(Debug, Clone, Copy)]
pub(super) enum TopicRef<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl State {
    pub(super) fn is_running(&self, broker: i32) -> bool {
        self.brokers.get(&broker).is_some_and(|b| b.running)
    }

    /// Brokers that run, in order.
    pub(super) fn running(&self) -> impl Iterator<Item = (i32, &Broker)> {
        self.brokers.iter().filter(|(_, b)| b.running).map(|(&id, b)| (id, b))
    }

    /// The controller, which does not move unless it dies.
    pub(super) fn controller(&self) -> i32 {
        self.running().next().map_or(-1, |(id, _)| id)
    }

    /// The broker that coordinates this group or transactional id.
    pub(super) fn coordinator(&self, key: &str) -> Option<i32> {
        if let Some(moved) = self.coordinators.get(key).filter(|id| self.is_running(**id)) {
            return Some(*moved);
        }
        // Any rule will do that spreads them and gives the same answer until a broker stops.
        let hash = key.bytes().fold(0usize, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        let all: Vec<i32> = self.brokers.keys().copied().collect();
        (0..all.len()).map(|i| all[(hash + i) % all.len()]).find(|id| self.is_running(*id))
    }

    /// Whether requests about this group (or transactional id) belong to `broker`.
    pub(super) fn coordinates(&self, broker: i32, key: &str) -> Result<(), ErrorCode> {
        if self.coordinator(key) == Some(broker) { Ok(()) } else { Err(ErrorCode::NOT_COORDINATOR) }
    }

    /// The topic, with the name it has.
    pub(super) fn topic(&self, topic: TopicRef<'_>) -> Result<(&String, &Topic), ErrorCode> {
        match topic {
            TopicRef::Name(name) => self.topics.get_key_value(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicRef::Id(id) => {
                let name = self.names.get(&id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
                self.topics.get_key_value(name).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
            }
        }
    }

    pub(super) fn topic_mut(&mut self, topic: TopicRef<'_>) -> Result<&mut Topic, ErrorCode> {
        match topic {
            TopicRef::Name(name) => self.topics.get_mut(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            TopicRef::Id(id) => {
                let name = self.names.get(&id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
                self.topics.get_mut(name).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
            }
        }
    }

    pub(super) fn insert_topic(&mut self, name: String, topic: Topic) {
        self.names.insert(topic.id, name.clone());
        self.topics.insert(name, topic);
    }

    pub(super) fn remove_topic(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        Some(topic)
    }

    /// The partition, if `broker` has a replica of it and the client believes in the right epoch.
    pub(super) fn replicated(
        &mut self,
        broker: i32,
        topic: TopicRef<'_>,
        partition: i32,
        epoch: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let topic = self.topic_mut(topic)?;
        let partition = usize::try_from(partition).ok().and_then(|p| topic.partitions.get_mut(p));
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !partition.replicas.contains(&broker) {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        partition.check_epoch(epoch)?;
        Ok(partition)
    }

    /// The partition, if `broker` leads it under the epoch the client believes in.
    pub(super) fn led(
        &mut self,
        broker: i32,
        topic: TopicRef<'_>,
        partition: i32,
        epoch: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let topic = self.topic_mut(topic)?;
        let partition = usize::try_from(partition).ok().and_then(|p| topic.partitions.get_mut(p));
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        // Only a replica knows the epoch.
        if partition.replicas.contains(&broker) {
            partition.check_epoch(epoch)?;
        }
        if partition.leader != broker {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(partition)
    }

    /// The partition, whoever leads it.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// Elects leaders after brokers have come or gone.
    pub(super) fn elect(&mut self) {
        let running: Vec<i32> = self.running().map(|(id, _)| id).collect();
        let mut changed = false;
        for partition in self.topics.values_mut().flat_map(|t| &mut t.partitions) {
            changed |= partition.elect(|id| running.contains(&id), None);
        }
        if changed {
            // Epochs never go back, and a new leader may lack the end of a log.
            self.starts_changed();
        }
    }

    /// Makes this replica the leader. Says whether that changed anything.
    pub(super) fn move_leader(&mut self, topic: &str, partition: i32, to: i32) -> bool {
        let runs = self.is_running(to);
        let can = |p: &&mut Partition| runs && p.replicas.contains(&to);
        let moved = self.partition_mut(topic, partition).filter(can).is_some_and(|p| p.elect(|id| id == to, Some(to)));
        if moved {
            self.starts_changed();
        }
        moved
    }

    /// A number that no other request that waits has.
    pub(super) fn token(&mut self, waiting: Waiting) -> Token {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiting);
        self.next_token
    }

    /// Hands out what groups have decided. A client that has gone loses nothing: it asks again.
    pub(super) fn deliver_replies(&mut self) {
        if self.groups.take_saved_anew() {
            self.offsets_changed();
        }
        for reply in self.groups.take_replies() {
            match reply {
                Reply::Join(token, response) => {
                    if let Some(Waiting::Join(to)) = self.waiting.remove(&token) {
                        let _gone = to.send(response);
                    }
                }
                Reply::Sync(token, response) => {
                    if let Some(Waiting::Sync(to)) = self.waiting.remove(&token) {
                        let _gone = to.send(response);
                    }
                }
            }
        }
    }

    /// Keeps all logs together below the limit, at the cost of the oldest records of the largest. Counts anew only when
    /// `appended` bytes have become a block.
    pub(super) fn bound_memory(&mut self, appended: usize) {
        self.appended += appended;
        if self.appended < super::log::BLOCK.min(self.settings.max_memory / 16) {
            return;
        }
        self.appended = 0;
        let total: usize = self.topics.values().flat_map(|t| &t.partitions).map(|p| p.log.bytes()).sum();
        let Some(mut over) = total.checked_sub(self.settings.max_memory).filter(|over| *over > 0) else { return };
        // Not at every record, but a good part at once.
        over = over.max(super::log::BLOCK.min(self.settings.max_memory / 8));
        let partitions = self.topics.iter_mut().flat_map(|(name, t)| t.partitions.iter_mut().map(move |p| (name, p)));
        let mut partitions: Vec<_> = partitions.collect();
        partitions.sort_by_key(|(_, p)| std::cmp::Reverse(p.log.bytes()));
        for (name, largest) in partitions {
            let (bytes, from) = (largest.log.bytes(), largest.log.start());
            if over == 0 || bytes == 0 {
                break;
            }
            largest.log.retain(i64::MIN, bytes.saturating_sub(over));
            let freed = bytes - largest.log.bytes();
            if freed > 0 {
                // Else an open transaction, or replication that is paused, keeps it: the next must do.
                over = over.saturating_sub(freed);
                tracing::warn!(
                    target: "dispatcher::embedded", topic = %name, from, to = largest.log.start(),
                    "the embedded cluster holds more than max_memory: its oldest records are deleted"
                );
            }
        }
        self.topics_changed();
    }
}

impl State {
    /// Writes the markers of a transaction and settles the offsets it carries.
    pub(super) fn end_transaction(&mut self, ending: Ending, wall_ms: i64) {
        let Ending { producer_id, epoch, commit, partitions } = ending;
        let store = self.store.clone();
        for (name, index) in partitions {
            let Some(partition) = self.partition_mut(&name, index) else { continue };
            let stamp = partition.stamp(wall_ms);
            partition.log.append_marker((producer_id, epoch), commit, stamp);
            if let (Some(store), Some(marker)) = (&store, partition.log.batches().last()) {
                store.append(&name, index, marker);
            }
            partition.appended();
        }
        self.groups.end_transaction(producer_id, commit);
        self.offsets_changed();
    }

    /// Aborts transactions that ran out of time.
    pub(super) fn expire_transactions(&mut self, now: std::time::Instant, wall_ms: i64) {
        for ending in self.transactions.expire(now) {
            self.end_transaction(ending, wall_ms);
        }
    }

    /// Applies every topic's retention and compaction, as Kafka's background threads do.
    pub(super) fn apply_retention(&mut self, wall_ms: i64) {
        for topic in self.topics.values_mut() {
            let (age, bytes) = (topic.number("retention.ms"), topic.number("retention.bytes"));
            let (deletes, compacts) = (topic.is_deleted_by_age(), topic.is_compacted());
            let tombstones = wall_ms.saturating_sub(topic.number("delete.retention.ms"));
            for partition in &mut topic.partitions {
                let log = &mut partition.log;
                if compacts {
                    log.compact(tombstones);
                }
                if deletes {
                    let oldest = if age < 0 { i64::MIN } else { wall_ms.saturating_sub(age) };
                    log.retain(oldest, usize::try_from(bytes).unwrap_or(usize::MAX));
                }
                log.forget_producers_before(wall_ms.saturating_sub(PRODUCER_EXPIRATION_MS));
                partition.wake();
            }
        }
        self.starts_changed();
    }

    /// Topics, their settings or partitions changed, or a producer id was given out: what is on disk must follow.
    pub(super) fn topics_changed(&self) {
        if let Some(store) = &self.store {
            store.topics(self);
        }
    }

    /// Committed offsets changed.
    pub(super) fn offsets_changed(&self) {
        if let Some(store) = &self.store {
            store.offsets(self);
        }
    }

    /// Logs begin elsewhere, or were rewritten.
    pub(super) fn starts_changed(&mut self) {
        if let Some(store) = self.store.clone() {
            store.logs(self);
        }
    }
}

impl State {
    /// Groups that this broker coordinates.
    pub(super) fn coordinated_by(&self, broker: i32) -> BTreeSet<String> {
        self.all_coordinators().into_iter().filter(|(_, id)| *id == Some(broker)).map(|(group, _)| group).collect()
    }

    /// Every group and its coordinator.
    pub(super) fn all_coordinators(&self) -> BTreeMap<String, Option<i32>> {
        self.groups.names().map(|group| (group.to_owned(), self.coordinator(group))).collect()
    }

    /// Groups whose coordinator is another one than it was.
    pub(super) fn moved_since(&self, before: &BTreeMap<String, Option<i32>>) -> BTreeSet<String> {
        let now = self.all_coordinators();
        now.into_iter().filter(|(group, id)| before.get(group) != Some(id)).map(|(group, _)| group).collect()
    }
}
