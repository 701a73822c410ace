//! Metadata: what is wanted, one request at a time to get it, and the task that does so. Requests ask only for topics
//! somebody uses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::core::{Core, first_success};
use super::pool::Use;
use super::{name_of, none_answered};
use crate::client::retry::Backoff;
use crate::client::topology::{Answer, AnsweredPartition, AnsweredTopic, BrokerMeta, Merge, NewLeader, Topology};
use crate::client::types::{TopicName, TopicPartition};
use crate::env::lock;
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::messages::metadata::RequestTopic;
use crate::wire::messages::{MetadataRequest, MetadataResponse};
use crate::wire::{ErrorCode, StrBytes};

/// The state; [`run`] is the task.
pub(super) struct Metadata {
    merge: Mutex<Merge>,
    published: watch::Sender<Arc<Topology>>,
    wanted: Mutex<Wanted>,
    wake: Notify,
    finished: watch::Sender<Round>,
}

#[derive(Default)]
struct Wanted {
    topics: BTreeSet<TopicName>,
    /// Those of `topics` never asked for yet.
    fresh: BTreeSet<TopicName>,
    /// Somebody wants all of it anew.
    all: bool,
    /// Rounds begun.
    begun: u64,
}

/// The end of one request.
#[derive(Clone, Default)]
struct Round {
    number: u64,
    error: Option<Error>,
}

/// What one request asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    topics: Vec<TopicName>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            merge: Mutex::default(),
            published: watch::Sender::new(Arc::default()),
            wanted: Mutex::default(),
            wake: Notify::new(),
            finished: watch::Sender::new(Round::default()),
        }
    }
}

impl Metadata {
    pub(super) fn topology(&self) -> Arc<Topology> {
        self.published.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Arc<Topology>> {
        self.published.subscribe()
    }

    pub(super) fn refresh(&self) {
        lock(&self.wanted).all = true;
        self.wake.notify_one();
    }

    pub(super) async fn refresh_now(&self) -> Result<Arc<Topology>> {
        let round = {
            let mut wanted = lock(&self.wanted);
            wanted.all = true;
            wanted.begun + 1
        };
        self.finish_of(round).await
    }

    /// Wants the topic from now on, and waits for the next answer about it.
    pub(super) async fn ask_for(&self, name: &str) -> Result<Arc<Topology>> {
        let round = {
            let (mut wanted, name) = (lock(&self.wanted), name_of(name));
            wanted.topics.insert(name.clone());
            wanted.fresh.insert(name);
            wanted.begun + 1
        };
        self.finish_of(round).await
    }

    async fn finish_of(&self, round: u64) -> Result<Arc<Topology>> {
        self.wake.notify_one();
        let mut finished = self.finished.subscribe();
        let error = match finished.wait_for(|f| f.number >= round).await {
            Ok(finished) => finished.error.clone(),
            Err(_) => Some(Error::new(ErrorKind::Closed, "the cluster was closed")),
        };
        error.map_or_else(|| Ok(self.topology()), Err)
    }

    /// As [`refresh`](Self::refresh), and wants these topics as well from now on.
    pub(super) fn want<'a>(&self, names: impl Iterator<Item = &'a TopicName>) {
        lock(&self.wanted).topics.extend(names.cloned());
        self.refresh();
    }

    /// Wants the topic no longer, unless somebody else has found it, or asks for it, meanwhile.
    pub(super) fn give_up_topic(&self, name: &str) {
        let mut wanted = lock(&self.wanted);
        let mut merge = lock(&self.merge);
        if merge.topology().topic(name).is_none() && !wanted.fresh.contains(name) {
            wanted.topics.remove(name);
            merge.forget(name);
            self.publish(&merge);
        }
    }

    pub(super) fn forget_topic(&self, name: &str) {
        let mut wanted = lock(&self.wanted);
        // Who asks for it just now gets an answer.
        if !wanted.fresh.contains(name) {
            wanted.topics.remove(name);
        }
        let mut merge = lock(&self.merge);
        merge.forget(name);
        self.publish(&merge);
    }

    pub(super) fn learn_leaders(&self, leaders: &[NewLeader], endpoints: &[BrokerMeta]) {
        let mut merge = lock(&self.merge);
        let mut changed = false;
        for NewLeader { tp, leader, leader_epoch } in leaders {
            let endpoint = endpoints.iter().find(|broker| broker.id == *leader).cloned();
            changed |= merge.leader(tp, *leader, *leader_epoch, endpoint);
        }
        if changed {
            self.publish(&merge);
        }
    }

    /// Takes in a broker's address from elsewhere, if it is not known.
    pub(super) fn learn_broker(&self, broker: BrokerMeta) {
        let mut merge = lock(&self.merge);
        if merge.topology().broker(broker.id).is_none() {
            merge.leader(&TopicPartition::new("", -1), -1, -1, Some(broker));
            self.publish(&merge);
        }
    }

    /// An answer of another cluster is not taken in: addresses may have been reused.
    pub(super) fn check_cluster(&self, answer: &Answer, peer: &str) -> Result<()> {
        let topology = self.topology();
        match (&topology.cluster_id, &answer.cluster_id) {
            (Some(known), Some(other)) if known != other => {
                let message =
                    format!("{peer} belongs to cluster {other}, not to {known}: correct the broker addresses");
                tracing::warn!(target: "dispatcher::client", "{message}");
                Err(Error::new(ErrorKind::Protocol, message))
            }
            _ => Ok(()),
        }
    }

    /// Merges and publishes. Brokers known before are forgotten first if `anew`.
    pub(super) fn take_in(&self, mut answer: Answer, anew: bool) {
        // Answers about topics nobody wants any more come too late. Held until they are taken in, lest one be forgotten between.
        let wanted = lock(&self.wanted);
        answer.topics.retain(|t| wanted.topics.contains(&t.name));
        let mut merge = lock(&self.merge);
        if anew {
            merge.forget_brokers();
        }
        merge.answer(answer);
        self.publish(&merge);
    }

    fn publish(&self, merge: &Merge) {
        self.published.send_if_modified(|published| {
            let changed = **published != *merge.topology();
            if changed {
                *published = Arc::new(merge.topology().clone());
            }
            changed
        });
    }

    /// Starts a round: what to ask for, and its number. `None`: nobody wants anything.
    fn begin(&self, periodic: bool) -> Option<(u64, Asked)> {
        let mut wanted = lock(&self.wanted);
        let fresh = std::mem::take(&mut wanted.fresh);
        let all = std::mem::take(&mut wanted.all) || periodic;
        if !all && fresh.is_empty() {
            return None;
        }
        wanted.begun += 1;
        let topics = if all { &wanted.topics } else { &fresh };
        Some((wanted.begun, Asked { topics: topics.iter().cloned().collect() }))
    }

    fn has_fresh(&self) -> bool {
        !lock(&self.wanted).fresh.is_empty()
    }
}

/// The task: one request at a time; at once for a topic never asked for, with pauses that grow while nothing improves
/// for everything else.
pub(super) async fn run(core: Arc<Core>) {
    let (env, metadata) = (&core.env, &core.metadata);
    let mut backoff = Backoff::new(core.config.retry_backoff);
    let mut last_success = env.now();
    let mut pause_until = env.now();
    let mut reachable = true;
    loop {
        let incomplete = !metadata.topology().is_complete();
        let due = if incomplete { pause_until } else { last_success + core.config.metadata_max_age };
        let periodic = tokio::select! {
            biased;
            () = metadata.wake.notified() => false,
            () = env.sleep_until(due.max(pause_until)) => true,
        };
        while !periodic && !metadata.has_fresh() && env.now() < pause_until {
            tokio::select! {
                biased;
                () = metadata.wake.notified() => {}
                () = env.sleep_until(pause_until) => {}
            }
        }
        let Some((number, asked)) = metadata.begin(periodic) else { continue };
        if env.now() > pause_until + core.config.retry_backoff.max {
            backoff.reset();
        }
        let before = metadata.topology();
        let outcome = round(&core, &asked, last_success).await;
        match &outcome {
            Ok(()) => {
                last_success = env.now();
                let now = metadata.topology();
                if now.is_complete() && !Arc::ptr_eq(&before, &now) {
                    backoff.reset();
                }
            }
            Err(error) if reachable => tracing::warn!(target: "dispatcher::client", %error, "cluster out of reach"),
            Err(error) => tracing::debug!(target: "dispatcher::client", %error, "cluster still out of reach"),
        }
        if !reachable && outcome.is_ok() {
            tracing::info!(target: "dispatcher::client", "cluster reached again");
        }
        reachable = outcome.is_ok();
        pause_until = env.now() + env.random(|rng| backoff.next(rng));
        metadata.finished.send_replace(Round { number, error: outcome.err() });
    }
}

/// One request, to whichever broker answers; to the seeds after a long time without one, or when told so.
async fn round(core: &Core, asked: &Asked, last_success: Instant) -> Result<()> {
    let limit = core.config.request_timeout;
    if core.metadata.topology().brokers().next().is_none() {
        return core.ask_seeds(asked).await;
    }
    let attempts = core.candidates().into_iter().map(|id| async move {
        let connection = core.connection(id, Use::Control).await?;
        let answer = ask(&connection, asked, limit).await?;
        core.metadata.check_cluster(&answer, connection.peer())?;
        Ok(answer)
    });
    let errors = match first_success(&core.env, attempts).await {
        Ok(answer) => {
            core.metadata.take_in(answer, false);
            core.pool.keep_only(&core.metadata.topology());
            return Ok(());
        }
        Err(errors) => errors,
    };
    let told = errors.iter().any(|e| e.code() == Some(ErrorCode::REBOOTSTRAP_REQUIRED));
    if told || core.env.now() >= last_success + core.config.rebootstrap_after {
        tracing::warn!(target: "dispatcher::client", "no known broker can be reached: asking the seed brokers again");
        return core.ask_seeds(asked).await;
    }
    Err(none_answered("no broker answered a metadata request", errors))
}

/// Asks one broker.
pub(super) async fn ask(connection: &Connection, asked: &Asked, limit: Duration) -> Result<Answer> {
    let topics = asked.topics.iter().map(|name| RequestTopic { name: Some(name.clone().into()), ..Default::default() });
    let request =
        MetadataRequest { topics: Some(topics.collect()), allow_auto_topic_creation: false, ..Default::default() };
    let response = connection.ask(&request, limit).await?;
    if response.error_code != ErrorCode::NONE {
        return Err(Error::from_code(response.error_code, format_args!("Metadata from {}", connection.peer())));
    }
    Ok(plain(response))
}

fn plain(response: MetadataResponse) -> Answer {
    let text = |s: StrBytes| -> Arc<str> { Arc::from(&*s) };
    let brokers = response.brokers.into_iter().filter_map(|b| {
        Some(BrokerMeta {
            id: b.node_id,
            host: text(b.host),
            port: u16::try_from(b.port).ok()?,
            rack: b.rack.map(text),
        })
    });
    let topics = response.topics.into_iter().map(|t| AnsweredTopic {
        name: text(t.name.unwrap_or_default()),
        id: t.topic_id,
        error: t.error_code,
        partitions: t
            .partitions
            .into_iter()
            .map(|p| AnsweredPartition {
                number: p.partition_index,
                error: p.error_code,
                leader: p.leader_id,
                leader_epoch: p.leader_epoch,
            })
            .collect(),
    });
    Answer {
        cluster_id: response.cluster_id.map(text),
        controller: response.controller_id,
        brokers: brokers.collect(),
        topics: topics.collect(),
    }
}
