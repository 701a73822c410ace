//! Topics and their partitions: who leads, who follows, the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::log::{Log, Rules, Stamp};
use super::topic_configs::{items, setting_named};
use crate::wire::{ErrorCode, Uuid};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Partition>,
    /// What was set on the topic itself.
    pub(super) configs: BTreeMap<String, String>,
    pub(super) replicas: i16,
}

impl Topic {
    /// A setting: the topic's own or the default.
    pub(super) fn config(&self, name: &str) -> &str {
        let default = || setting_named(name).map_or("", |setting| setting.default);
        self.configs.get(name).map_or_else(default, String::as_str)
    }

    /// A setting that is a number. Values were checked when they were set.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.config(name).trim().parse().unwrap_or(-1)
    }

    pub(super) fn is_compacted(&self) -> bool {
        items(self.config("cleanup.policy")).any(|policy| policy == "compact")
    }

    pub(super) fn is_deleted_by_age(&self) -> bool {
        items(self.config("cleanup.policy")).any(|policy| policy == "delete")
    }

    /// What matters for writing.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            max_message_bytes: usize::try_from(self.number("max.message.bytes")).unwrap_or_default(),
            log_append_time: self.config("message.timestamp.type").trim() == "LogAppendTime",
            compacted: self.is_compacted(),
            timestamps: (self.number("message.timestamp.before.max.ms"), self.number("message.timestamp.after.max.ms")),
        }
    }
}

/// One partition: its log and who looks after it.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// In the order in which they become leaders.
    pub(super) replicas: Vec<i32>,
    /// −1: none of them runs.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// Who led last, as long as nobody has led since.
    last_leader: i32,
    pub(super) log: Log,
    /// Followers do not copy: the high watermark stands still.
    pub(super) replication_paused: bool,
    waiters: Vec<Arc<Waiter>>,
}

/// Someone who waits for partitions to change: a fetch for data, a produce for replicas. Gone when dropped.
#[derive(Debug, Default)]
pub(super) struct Waiting(Arc<Waiter>);

#[derive(Debug, Default)]
struct Waiter {
    changed: Notify,
    gone: AtomicBool,
}

impl Waiting {
    /// Cancel-safe.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

impl Partition {
    pub(super) fn new(replicas: Vec<i32>) -> Self {
        Self { leader: -1, leader_epoch: -1, replicas, ..Self::default() }
    }

    /// Chooses the first replica that runs; a new leader begins a new epoch. Says whether anything changed.
    pub(super) fn elect(&mut self, runs: impl Fn(i32) -> bool, preferred: Option<i32>) -> bool {
        let fits = |id: &i32| runs(*id) && self.replicas.contains(id);
        let stays = Some(self.leader).filter(fits);
        let leader = preferred.filter(fits).or(stays).or_else(|| self.replicas.iter().copied().find(|id| runs(*id)));
        let leader = leader.unwrap_or(-1);
        if leader == self.leader {
            return false;
        }
        if leader >= 0 {
            if self.leader_epoch >= 0 && self.replication_paused && leader != self.last_leader {
                self.log.truncate_to_high_watermark();
            }
            self.leader_epoch += 1;
            self.log.lead(self.leader_epoch);
            self.last_leader = leader;
        }
        self.leader = leader;
        self.wake();
        true
    }

    /// The stamp of what is written now.
    pub(super) fn stamp(&self, now_ms: i64) -> Stamp {
        Stamp { leader_epoch: self.leader_epoch, now_ms }
    }

    /// Something was appended: followers copy it at once, unless they are paused.
    pub(super) fn appended(&mut self) {
        if !self.replication_paused || self.replicas.len() < 2 {
            self.log.replicate();
        }
        self.wake();
    }

    /// Judges the leader epoch that a client believes in; −1 says nothing (KIP-320).
    pub(super) fn check_epoch(&self, theirs: i32) -> Result<(), ErrorCode> {
        match theirs {
            ..0 => Ok(()),
            n if n < self.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            n if n > self.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// `waiter` is woken once at the next change.
    pub(super) fn wait(&mut self, waiting: &Waiting) {
        // Of one who was woken by another partition something is left here.
        if self.waiters.len() >= 16 {
            self.waiters.retain(|w| !w.gone.load(Ordering::Relaxed));
        }
        if !self.waiters.iter().any(|w| Arc::ptr_eq(w, &waiting.0)) {
            self.waiters.push(waiting.0.clone());
        }
    }

    /// Wakes all who wait.
    pub(super) fn wake(&mut self) {
        self.waiters.drain(..).for_each(|waiter| waiter.changed.notify_one());
    }
}

/// Kafka's rule for topic names.
pub(super) fn is_legal_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.chars().all(legal)
}
