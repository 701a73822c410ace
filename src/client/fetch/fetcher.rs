//! Finds each attached partition its source: the task of its leader. Owns the partitions that have none at the moment,
//! because the leader is unknown, moved, or the offset is out of range; follows the metadata; and says so when a topic
//! was created again. One task per client, asleep unless something of this happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::budget::Budget;
use super::config::FetchConfig;
use super::delivery::{Attached, FetchFault, FetchOut, Link, LinkState};
use super::lookup;
use super::reading::{LogFacts, Reading, Trouble, repair};
use super::source::{Common, Order, Returned, Source, SourceKey};
use crate::client::Cluster;
use crate::client::retry::Backoff;
use crate::client::topology::Topology;
use crate::client::types::{AssignmentEpoch, Position, TopicName, TopicPartition};
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::records::Limits;

/// Of a partition that is read sparingly, at most so many bytes an answer, or one batch.
const SPARING: i32 = 64 << 10;

/// What the handles tell the fetcher's task.
#[derive(Debug)]
pub(crate) enum Command {
    Attach(Arc<Link>, Position),
    /// Something about this link changed: paused, resumed, detached, or memory came free.
    Nudge(Arc<Link>),
}

/// A handle; clones share the task, the budget and the fetch sessions. They go with the last handle and attachment.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    commands: mpsc::UnboundedSender<Command>,
    ids: Arc<AtomicU64>,
    #[cfg(test)]
    budget: Budget,
}

impl Fetcher {
    /// Starts the task. Nothing is connected before a partition is attached.
    pub(crate) fn start(cluster: Cluster, config: FetchConfig) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let budget = Budget::new(config.budget);
        let env = cluster.env().clone();
        let driver = Driver::new(cluster, Arc::new(config), budget.clone(), receiver);
        // It ends when the last sender of commands is gone.
        let _detached = env.spawn(driver.run());
        Self {
            commands,
            ids: Arc::default(),
            #[cfg(test)]
            budget,
        }
    }

    /// Delivers what lies at `from` and behind it into `out` until the guard drops. Returns at once.
    pub(crate) fn attach(
        &self,
        tp: Arc<TopicPartition>,
        from: Position,
        epoch: AssignmentEpoch,
        out: FetchOut,
    ) -> Attached {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let link = Link::new(id, tp, epoch, out, self.commands.downgrade());
        // The task outlives every handle.
        let _ = self.commands.send(Command::Attach(link.clone(), from));
        Attached::new(link, self.commands.clone())
    }

    #[cfg(test)]
    /// Bytes of the budget that are neither reserved nor held.
    pub(crate) fn free_bytes(&self) -> i64 {
        self.budget.free()
    }
}

/// Where a partition is.
#[derive(Debug)]
enum Place {
    At(SourceKey, Arc<Link>),
    /// Waits for a leader.
    Here(Reading),
    /// Waits for an answer about its log.
    Asking(Reading),
}

struct Running {
    orders: mpsc::UnboundedSender<Order>,
    partitions: BTreeSet<Arc<TopicPartition>>,
}

/// What a question of this task came to.
enum Answer {
    /// About the log of a partition that had lost its place.
    Log(u64, Result<LogFacts>),
    /// Metadata of this topic were asked for; if they came they are in the topology.
    Topic(TopicName),
}

struct Driver {
    env: Env,
    common: Common,
    commands: mpsc::UnboundedReceiver<Command>,
    returned: mpsc::UnboundedReceiver<Returned>,
    /// Answers to what was asked in tasks of their own.
    answers: mpsc::UnboundedReceiver<Answer>,
    answer_to: mpsc::UnboundedSender<Answer>,
    /// Topics whose metadata are being asked for.
    asked: BTreeSet<TopicName>,
    changes: watch::Receiver<Arc<Topology>>,
    places: BTreeMap<u64, Place>,
    sources: BTreeMap<SourceKey, Running>,
    /// When partitions that wait here are looked at again though no metadata came.
    retries: BTreeSet<(Instant, u64)>,
}

impl Driver {
    fn new(
        cluster: Cluster,
        config: Arc<FetchConfig>,
        budget: Budget,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        let (answer_to, answers) = mpsc::unbounded_channel();
        let changes = cluster.changes();
        let env = cluster.env().clone();
        let limits = Limits { max_decompressed: config.max_decompressed, buffers: cluster.buffers().clone() };
        let common = Common { cluster, config, limits, budget, sources: Arc::default(), returned: back };
        Self {
            env,
            common,
            commands,
            returned,
            answers,
            answer_to,
            asked: BTreeSet::new(),
            changes,
            places: BTreeMap::new(),
            sources: BTreeMap::new(),
            retries: BTreeSet::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let retry = self.retries.first().map(|&(at, _)| at);
            let env = self.env.clone();
            let alarm = async {
                match retry {
                    Some(at) => env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Attach(link, from)) => self.attach(link, from),
                    Some(Command::Nudge(link)) => self.nudge(&link),
                    // The sources end because their orders do.
                    None => return,
                },
                Some(returned) = self.returned.recv() => self.take_back(returned),
                Some(answer) = self.answers.recv() => match answer {
                    Answer::Log(id, facts) => self.answered(id, facts),
                    Answer::Topic(topic) => {
                        self.asked.remove(&topic);
                        self.place_all(|reading| reading.link.tp().topic == topic);
                    }
                },
                Ok(()) = self.changes.changed() => self.follow(),
                () = alarm => self.retry(),
            }
        }
    }

    fn attach(&mut self, link: Arc<Link>, position: Position) {
        let max_bytes = self.common.config.partition_max_bytes;
        let reading = Reading {
            max_bytes: if link.is_sparing() { max_bytes.min(SPARING) } else { max_bytes },
            link,
            position,
            leader_epoch: -1,
            backoff: Backoff::new(self.common.cluster.config().retry_backoff),
            not_before: None,
            slot: None,
            refused: false,
        };
        self.place(reading);
    }

    fn nudge(&mut self, link: &Arc<Link>) {
        let gone = link.state() == LinkState::Detached;
        match self.places.get(&link.id()) {
            Some(Place::At(key, _)) => {
                let key = *key;
                let Some(source) = self.sources.get_mut(&key) else { return };
                let _ = source.orders.send(Order::Nudge(link.clone()));
                if gone {
                    self.take_from(key, link.tp());
                }
            }
            Some(_) => link.take_nudge(),
            None => return,
        }
        if gone {
            self.places.remove(&link.id());
        }
    }

    fn take_back(&mut self, Returned { mut reading, trouble }: Returned) {
        let id = reading.link.id();
        let Some(Place::At(key, _)) = self.places.remove(&id) else { return };
        self.take_from(key, reading.link.tp());
        reading.slot = None;
        match trouble {
            Trouble::Moved { stale: false } => self.place(reading),
            Trouble::Moved { stale: true } => {
                // The broker knows better than our metadata, unless the answer itself named the new leader.
                let leader = self.leader(&reading);
                if leader.is_some_and(|(broker, epoch)| broker != key.broker && epoch > reading.leader_epoch) {
                    self.place(reading);
                } else {
                    self.common.cluster.refresh();
                    self.wait(reading);
                }
            }
            Trouble::OutOfRange => self.ask(reading),
        }
    }

    /// The source reads this partition no more. One beside the first, which has connections of its own, ends with its last.
    fn take_from(&mut self, key: SourceKey, tp: &TopicPartition) {
        let Some(source) = self.sources.get_mut(&key) else { return };
        source.partitions.remove(tp);
        if key.nth > 0 && source.partitions.is_empty() {
            self.sources.remove(&key);
        }
    }

    fn leader(&self, reading: &Reading) -> Option<(i32, i32)> {
        let topology = self.common.cluster.topology();
        topology.partition(reading.link.tp()).map(|p| (p.leader, p.leader_epoch)).filter(|&(leader, _)| leader >= 0)
    }

    /// Sends the partition to its leader's source, or keeps it until there is one.
    fn place(&mut self, mut reading: Reading) {
        let link = reading.link.clone();
        if link.state() == LinkState::Detached {
            self.places.remove(&link.id());
            return;
        }
        let tp = link.tp();
        let topology = self.common.cluster.topology();
        let Some(topic) = topology.topic(&tp.topic) else {
            self.ask_for_topic(&tp.topic);
            return self.wait(reading);
        };
        if reading.position.topic_id.is_zero() {
            reading.position.topic_id = topic.id;
        } else if !topic.id.is_zero() && topic.id != reading.position.topic_id {
            return self.recreated(&reading);
        }
        match topic.partition(tp.partition) {
            Some(partition) if partition.leader >= 0 => {
                reading.leader_epoch = partition.leader_epoch;
                reading.not_before = None;
                let key = self.source_for(partition.leader, &link);
                let _ = self.sources[&key].orders.send(Order::Insert(reading));
                self.places.insert(link.id(), Place::At(key, link));
            }
            _ => {
                self.common.cluster.refresh();
                self.wait(reading);
            }
        }
    }

    fn recreated(&mut self, reading: &Reading) {
        let (tp, at) = (reading.link.tp(), reading.position.offset);
        self.places.remove(&reading.link.id());
        let message =
            format!("topic {} was deleted and created again: {tp} at offset {at} is no longer what was read", tp.topic);
        tracing::warn!(target: "dispatcher::client::fetch", %tp, "{message}");
        reading.link.report(FetchFault::Recreated, Error::new(ErrorKind::UnknownTopic, message));
    }

    fn ask_for_topic(&mut self, topic: &TopicName) {
        if !self.asked.insert(topic.clone()) {
            return;
        }
        let (cluster, topic, done) = (self.common.cluster.clone(), topic.clone(), self.answer_to.clone());
        let _detached = self.env.spawn(async move {
            if let Err(error) = cluster.topic(&topic).await {
                tracing::warn!(target: "dispatcher::client::fetch", %topic, %error, "no metadata of an attached topic");
            }
            let _ = done.send(Answer::Topic(topic));
        });
    }

    /// Keeps it until new metadata come, or for its backoff.
    fn wait(&mut self, mut reading: Reading) {
        let at = self.env.now() + self.env.random(|rng| reading.backoff.next(rng));
        let id = reading.link.id();
        self.retries.insert((at, id));
        self.places.insert(id, Place::Here(reading));
    }

    fn retry(&mut self) {
        let now = self.env.now();
        let mut stale = false;
        while let Some(&(at, id)) = self.retries.first()
            && at <= now
        {
            self.retries.pop_first();
            if let Some(Place::Here(_)) = self.places.get(&id)
                && let Some(Place::Here(reading)) = self.places.remove(&id)
            {
                stale = true;
                self.place(reading);
            }
        }
        if stale {
            self.common.cluster.refresh();
        }
    }

    fn place_all(&mut self, which: impl Fn(&Reading) -> bool) {
        let here = |(&id, place): (&u64, &Place)| matches!(place, Place::Here(r) if which(r)).then_some(id);
        let ids: Vec<u64> = self.places.iter().filter_map(here).collect();
        self.retries.retain(|(_, id)| ids.binary_search(id).is_err());
        for id in ids {
            if let Some(Place::Here(reading)) = self.places.remove(&id) {
                self.place(reading);
            }
        }
    }

    /// New metadata: partitions follow their leaders.
    fn follow(&mut self) {
        let topology = self.changes.borrow_and_update().clone();
        for (&id, place) in &mut self.places {
            let Place::At(key, link) = place else { continue };
            let tp = link.tp();
            let (Some(source), Some(now)) = (self.sources.get(key), topology.partition(tp)) else { continue };
            let order = if now.leader >= 0 && now.leader != key.broker {
                Order::Release(id)
            } else {
                Order::LeaderEpoch(id, topology.topic(&tp.topic).map(|t| t.id), now.leader_epoch)
            };
            let _ = source.orders.send(order);
        }
        self.place_all(|_| true);
        let unused =
            |key: &SourceKey, source: &Running| source.partitions.is_empty() && topology.broker(key.broker).is_none();
        self.sources.retain(|key, source| !unused(key, source));
    }

    /// The first session on that broker which does not read this partition already.
    fn source_for(&mut self, broker: i32, link: &Arc<Link>) -> SourceKey {
        let mut key = SourceKey { broker, isolation: link.options().isolation, nth: 0 };
        while self.sources.get(&key).is_some_and(|s| s.partitions.contains(link.tp())) {
            key.nth += 1;
        }
        let (common, env) = (&self.common, &self.env);
        let source = self.sources.entry(key).or_insert_with(|| {
            let (orders, receiver) = mpsc::unbounded_channel();
            // It ends when its orders do.
            let _detached = env.spawn(Source::new(key, common.clone(), receiver).run());
            Running { orders, partitions: BTreeSet::new() }
        });
        source.partitions.insert(link.tp().clone());
        key
    }

    /// Asks the leader what its log holds.
    fn ask(&mut self, reading: Reading) {
        let (id, tp, position) = (reading.link.id(), reading.link.tp().clone(), reading.position);
        let (cluster, done) = (self.common.cluster.clone(), self.answer_to.clone());
        let _detached = self.env.spawn(async move {
            let facts = lookup::log_facts(&cluster, &tp, position).await;
            let _ = done.send(Answer::Log(id, facts));
        });
        self.places.insert(id, Place::Asking(reading));
    }

    fn answered(&mut self, id: u64, facts: Result<LogFacts>) {
        if !matches!(self.places.get(&id), Some(Place::Asking(_))) {
            return;
        }
        let Some(Place::Asking(mut reading)) = self.places.remove(&id) else { return };
        match facts {
            Ok(facts) => {
                let (position, told) = repair(reading.position, facts);
                reading.position = position;
                match told {
                    Some(what) => {
                        reading.tell(what);
                        reading.backoff.reset();
                        self.place(reading);
                    }
                    // The broker refused an offset that is in its log: not at once again.
                    None => self.wait(reading),
                }
            }
            Err(error) => {
                let tp = reading.link.tp();
                tracing::warn!(target: "dispatcher::client::fetch", %tp, %error, "cannot find where to go on, trying again");
                self.wait(reading);
            }
        }
    }
}

#[cfg(test)]
mod tests;
