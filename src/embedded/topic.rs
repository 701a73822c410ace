//! Topics and their partitions: who leads, who follows, the log, and the settings of a topic under Kafka's names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::log::{Log, Rules, Stamp};
use crate::wire::{ErrorCode, Uuid};

/// The settings a topic can have, with a broker's defaults (those of Kafka 4.2).
pub(super) const TOPIC_CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("file.delete.delay.ms", "60000"),
    ("flush.messages", "9223372036854775807"),
    ("flush.ms", "9223372036854775807"),
    ("index.interval.bytes", "4096"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.after.max.ms", "3600000"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("preallocate", "false"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.index.bytes", "10485760"),
    ("segment.jitter.ms", "0"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

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
        let default = || TOPIC_CONFIGS.iter().find(|(n, _)| *n == name).map_or("", |&(_, value)| value);
        self.configs.get(name).map_or_else(default, String::as_str)
    }

    /// A setting that is a number. Values were checked when they were set.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.config(name).parse().unwrap_or(-1)
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.config("cleanup.policy").split(',').any(|policy| policy.trim() == "compact")
    }

    pub(super) fn is_deleted_by_age(&self) -> bool {
        self.config("cleanup.policy").split(',').any(|policy| policy.trim() == "delete")
    }

    /// What matters for writing.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            max_message_bytes: usize::try_from(self.number("max.message.bytes")).unwrap_or_default(),
            log_append_time: self.config("message.timestamp.type") == "LogAppendTime",
            compacted: self.is_compacted(),
        }
    }
}

/// Whether a topic may have this setting, and what is wrong if not.
pub(super) fn check_config(name: &str, value: &str) -> Result<(), String> {
    let Some((_, default)) = TOPIC_CONFIGS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let valid = match name {
        "cleanup.policy" => value.split(',').all(|policy| ["delete", "compact"].contains(&policy.trim())),
        "compression.type" => ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"].contains(&value),
        "message.timestamp.type" => ["CreateTime", "LogAppendTime"].contains(&value),
        "min.cleanable.dirty.ratio" => value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)),
        "min.insync.replicas" => value.parse::<i32>().is_ok_and(|n| n >= 1),
        _ if default.parse::<bool>().is_ok() => value.parse::<bool>().is_ok(),
        _ => value.parse::<i64>().is_ok_and(|n| n >= -1),
    };
    if valid { Ok(()) } else { Err(format!("Invalid value {value} for configuration {name}")) }
}

/// One partition: its log and who looks after it.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// In the order in which they become leaders.
    pub(super) replicas: Vec<i32>,
    /// −1: none of them runs.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
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
            if self.leader_epoch >= 0 && self.replication_paused {
                self.log.truncate_to_high_watermark();
            }
            self.leader_epoch += 1;
            self.log.lead(self.leader_epoch);
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
        if !self.replication_paused {
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
