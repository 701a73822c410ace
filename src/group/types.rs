//! What crosses the room's border: settings, events for the worker, and the values of commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::Assignor;
use crate::client::types::{Isolation, TopicName, TopicPartition};
use crate::error::{Error, ErrorKind, Result};

/// Settings of one member of one group.
#[derive(Debug, Clone)]
pub(crate) struct GroupConfig {
    pub(crate) group_id: Arc<str>,
    /// Set makes a static member (KIP-345): a restart within the session time-out causes no rebalance.
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) topics: Vec<TopicName>,
    /// In order of preference.
    pub(crate) assignors: Vec<Assignor>,
    /// Without a heartbeat for this long the coordinator counts the member as gone.
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    /// How long the coordinator waits for all members to join again.
    pub(crate) rebalance_timeout: Duration,
    /// What running handlers get when a rebalance takes their partitions; below `rebalance_timeout`.
    pub(crate) drain_timeout: Duration,
    /// What they get when the member leaves.
    pub(crate) stop_timeout: Duration,
    /// Limit of one commit or offset look-up, retries included.
    pub(crate) request_timeout: Duration,
    /// Under read_committed, committed offsets of open transactions are waited for.
    pub(crate) isolation: Isolation,
}

impl GroupConfig {
    /// See [`Assignor::all_cooperative`].
    pub(crate) fn is_cooperative(&self) -> bool {
        Assignor::all_cooperative(&self.assignors)
    }

    /// The defaults for a dynamic member.
    pub(crate) fn new(group_id: impl Into<Arc<str>>, topics: impl IntoIterator<Item = TopicName>) -> Self {
        Self {
            group_id: group_id.into(),
            instance_id: None,
            topics: topics.into_iter().collect(),
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            isolation: Isolation::default(),
        }
    }

    /// Refuses what the coordinator would refuse, or what cannot keep its promises, before anything is sent.
    pub(crate) fn validate(&self) -> Result<()> {
        let argument = |text: String| Err(Error::new(ErrorKind::InvalidArgument, text));
        let config = |text: &'static str| Err(Error::new(ErrorKind::InvalidConfig, text));
        if self.group_id.is_empty() || self.group_id.len() > i16::MAX as usize {
            return argument("the group id is empty or longer than 32,767 bytes: give another one".into());
        }
        if let Some(id) = &self.instance_id
            && !is_legal_name(id)
        {
            return argument(format!("group instance id {id:?}: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'"));
        }
        if self.topics.is_empty() {
            return argument(format!("group {} has no topic to subscribe to: name at least one", self.group_id));
        }
        if let Some(topic) = self.topics.iter().find(|t| !is_legal_name(t)) {
            return argument(format!("topic name {topic:?}: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'"));
        }
        if self.assignors.is_empty() {
            return config("the list of assignors is empty: name at least one, such as range");
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval * 2 > self.session_timeout {
            return config(
                "the heartbeat interval is 0 or more than half the session time-out: use about a tenth of it",
            );
        }
        // A rebalance is heard of with a heartbeat; after the drain comes a last commit, then the next JoinGroup.
        let commit = Duration::from_secs(1).min(self.drain_timeout / 4);
        if self.drain_timeout.saturating_add(self.heartbeat_interval).saturating_add(commit) > self.rebalance_timeout {
            return config(
                "the drain time-out, a heartbeat interval and up to 1 s for a last commit must fit into the rebalance \
                 time-out: shorten the drain time-out",
            );
        }
        if self.session_timeout.max(self.rebalance_timeout) > Duration::from_millis(i32::MAX as u64) {
            return config("a time-out is longer than 24 days: shorten it");
        }
        Ok(())
    }
}

/// Kafka's rule for topic names, which it applies to instance ids as well.
fn is_legal_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.chars().all(legal)
}

/// Which membership a commit speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) id: i32,
    pub(crate) member_id: Arc<str>,
}

/// What the worker must know. Events come in order; a partition is never assigned anew before `Revoke` was answered
/// or `Lost` was taken.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// These are ours from now on.
    Assigned { partitions: Vec<TopicPartition>, generation: Generation },
    /// Drain these until `deadline` and commit, then answer `done`. Shortly after `deadline` they are `Lost` instead.
    Revoke { partitions: Vec<TopicPartition>, deadline: Instant, done: RevokeDone },
    /// Another member may have these already: stop, commit nothing.
    Lost { partitions: Vec<TopicPartition> },
    /// The membership has ended for good. What was owned was `Lost` before.
    Failed(Error),
    /// Something a user should know; the membership goes on.
    Warning(Error),
}

/// Answers a `Revoke`. Dropping it counts as an answer too, so that a worker that died holds up no rebalance.
#[derive(Debug)]
pub(crate) struct RevokeDone(pub(super) oneshot::Sender<()>);

impl RevokeDone {
    /// An answer and where it arrives, for tests of the worker.
    #[cfg(test)]
    pub(crate) fn pair() -> (Self, oneshot::Receiver<()>) {
        let (answer, answered) = oneshot::channel();
        (Self(answer), answered)
    }

    /// The partitions are drained and their last commit was answered.
    pub(crate) fn finish(self) {
        let _ = self.0.send(());
    }
}

/// The receiving end of a membership's events.
#[derive(Debug)]
pub(crate) struct GroupEvents(pub(super) mpsc::Receiver<GroupEvent>);

impl GroupEvents {
    /// The next event; `None` when the membership has ended. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<GroupEvent> {
        self.0.recv().await
    }
}

/// One partition's part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitOffset {
    /// The next offset to handle.
    pub(crate) offset: i64,
    /// Leader epoch of the record before it; −1 unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}
