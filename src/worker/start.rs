//! Where a newly assigned partition starts: at the group's committed offset if it can be believed, else by the start
//! policy. Metadata beside it says which records above are finished already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{ConsumerConfig, StartAt};
use super::failure::{Failure, Failures};
use super::metadata::{Finished, LogId};
use super::seam::{Log, Membership};
use super::tracker::Inherited;
use crate::client::types::{AssignmentEpoch, Isolation, OffsetAt, Position, TopicPartition};
use crate::group::Committed;
use crate::{Error, ErrorKind, Result};

/// A partition and the assignment it starts for.
#[derive(Debug, Clone)]
pub(crate) struct Starting {
    pub(crate) tp: TopicPartition,
    pub(crate) epoch: AssignmentEpoch,
    /// Its topic was created anew: what the group has committed belongs to another log.
    pub(crate) recreated: bool,
    /// How often that was not found out.
    pub(crate) tries: u32,
    /// From when on it is told that it is not.
    pub(crate) tell_at: Instant,
}

/// The longest that one leader is waited for.
const MAX_PATIENCE: Duration = Duration::from_secs(30);

impl Starting {
    /// How long a leader that does not answer holds up those that do: a second at first, for there may be many others
    /// whose leaders do, and longer each time, for it may be no faster than that.
    fn patience(&self) -> Duration {
        Duration::from_secs(1 << self.tries.min(5)).min(MAX_PATIENCE)
    }
}

/// Where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) position: Position,
    /// Finished above `position`.
    pub(crate) inherited: Inherited,
    /// Where `until_end` ends.
    pub(crate) until: Option<i64>,
    /// `position` is what the group has committed.
    pub(crate) committed: bool,
    /// `position` must be committed at once, for a later owner would find another: one that skips what comes now, or one
    /// that was not believed, until the log has grown past it.
    pub(crate) pinned: bool,
}

/// Finds out for all of `starting` at once. Fails for some, or as a whole; the caller decides whether to ask again.
pub(crate) async fn positions<M: Membership, L: Log>(
    membership: Arc<M>,
    log: Arc<L>,
    config: ConsumerConfig,
    failures: Failures,
    starting: Vec<Starting>,
) -> Result<Vec<(Starting, Result<Start>)>> {
    let mut failed = BTreeMap::new();
    let tps: Vec<_> = starting.iter().map(|s| s.tp.clone()).collect();
    // Before anything is asked for: an offset of a topic that is made again meanwhile must not become one of the new.
    let logs: BTreeMap<_, _> = tps.iter().map(|tp| (tp.topic.clone(), log_of(&*log, tp))).collect();
    let log_id = |tp: &TopicPartition| logs.get(&tp.topic).copied().unwrap_or_default();
    let known: Vec<_> = starting.iter().filter(|s| !s.recreated).map(|s| s.tp.clone()).collect();
    let mut committed: BTreeMap<TopicPartition, Committed> = BTreeMap::new();
    let patience = starting.iter().map(Starting::patience).max().unwrap_or(MAX_PATIENCE);
    if !known.is_empty() {
        for (tp, found) in membership.committed(&known).await? {
            match found {
                Ok(found) => committed.extend(found.filter(|c| c.offset >= 0).map(|c| (tp, c))),
                Err(error) => drop(failed.insert(tp, error)),
            }
        }
    }
    let tps: Vec<_> = tps.into_iter().filter(|tp| !failed.contains_key(tp)).collect();
    let mut disbelieved = BTreeSet::new();
    let with: Vec<_> = tps.iter().filter(|tp| committed.contains_key(tp)).cloned().collect();
    let ends = offsets(&*log, &with, OffsetAt::Latest, Isolation::ReadUncommitted, patience, &mut failed).await?;
    for tp in &with {
        if !ends.contains_key(tp) {
            // Without it nobody knows whether the offset can be believed.
            failed.entry(tp.clone()).or_insert_with(|| missing(tp));
        }
        if let (Some(c), Some(end)) = (committed.get(tp), ends.get(tp))
            && let Some(why) = disbelief(c, *end, log_id(tp))
        {
            let text = format!("the committed offset {} of {tp} {why}: starting at the log's beginning", c.offset);
            tracing::warn!(target: "dispatcher::worker", "{text}");
            failures.push(Failure { record: None, error: Error::new(ErrorKind::Protocol, text) });
            committed.remove(tp);
            disbelieved.insert(tp.clone());
        }
    }
    // What was committed once is never skipped: the policy speaks only for partitions new to the group.
    // Nor does it speak for retry topics, whose messages were handed out before.
    let is_retry = |tp: &TopicPartition| config.retry_of(&tp.topic).is_some();
    let (known, with): (BTreeSet<_>, BTreeSet<_>) = (known.iter().collect(), with.iter().collect());
    let is_new = |tp: &TopicPartition| known.contains(tp) && !with.contains(tp) && !is_retry(tp);
    // Nor are the first messages of partitions that were added since.
    let was_there = |tp: &TopicPartition| config.partitions.get(&tp.topic).is_none_or(|count| tp.partition < *count);
    let (mut earliest, mut young, mut latest) = (Vec::new(), Vec::new(), Vec::new());
    for tp in tps.iter().filter(|tp| !committed.contains_key(tp)) {
        let list = match config.start_at {
            StartAt::Newest if is_new(tp) && was_there(tp) => &mut latest,
            StartAt::TimestampMs(_) if is_new(tp) => &mut young,
            _ => &mut earliest,
        };
        list.push(tp.clone());
    }
    let mut fresh = match config.start_at {
        StartAt::TimestampMs(ms) => {
            offsets(&*log, &young, OffsetAt::Timestamp(ms), config.isolation, patience, &mut failed).await?
        }
        _ => BTreeMap::new(),
    };
    latest.extend(young.into_iter().filter(|tp| !fresh.contains_key(tp) && !failed.contains_key(tp)));
    fresh.extend(offsets(&*log, &latest, OffsetAt::Latest, config.isolation, patience, &mut failed).await?);
    fresh.extend(offsets(&*log, &earliest, OffsetAt::Earliest, config.isolation, patience, &mut failed).await?);
    let untils = if config.until_end {
        offsets(&*log, &tps, OffsetAt::Latest, config.isolation, patience, &mut failed).await?
    } else {
        BTreeMap::new()
    };
    let mut found = Vec::with_capacity(starting.len());
    for partition in starting {
        let tp = &partition.tp;
        if let Some(error) = failed.remove(tp) {
            found.push((partition, Err(error)));
            continue;
        }
        let topic_id = log_id(tp).topic;
        let position = match (committed.get(tp), fresh.get(tp)) {
            (Some(c), _) => Position { offset: c.offset, leader_epoch: c.leader_epoch, topic_id },
            (None, Some(offset)) => Position { offset: *offset, leader_epoch: -1, topic_id },
            (None, None) => {
                let error = missing(tp);
                found.push((partition, Err(error)));
                continue;
            }
        };
        let inherited = match committed.get(tp) {
            Some(c) => match inherited(&*log, tp, log_id(tp), c, ends.get(tp).copied(), patience).await {
                Ok(inherited) => inherited,
                Err(error) => {
                    found.push((partition, Err(error)));
                    continue;
                }
            },
            None => Inherited::default(),
        };
        let until = untils.get(tp).copied();
        if config.until_end && until.is_none() {
            let error = missing(tp);
            found.push((partition, Err(error)));
            continue;
        }
        let committed = committed.contains_key(tp);
        let pinned =
            !committed && (config.start_at != StartAt::Oldest || partition.recreated || disbelieved.contains(tp));
        found.push((partition, Ok(Start { position, inherited, until, committed, pinned })));
    }
    Ok(found)
}

fn missing(tp: &TopicPartition) -> Error {
    Error::new(ErrorKind::Protocol, format!("the broker left {tp} out of its answer to ListOffsets: try again"))
}

/// What is found out, and into `failed` why the rest is not.
async fn offsets<L: Log>(
    log: &L,
    tps: &[TopicPartition],
    at: OffsetAt,
    isolation: Isolation,
    patience: Duration,
    failed: &mut BTreeMap<TopicPartition, Error>,
) -> Result<BTreeMap<TopicPartition, i64>> {
    if tps.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut offsets = BTreeMap::new();
    for (tp, found) in log.offsets(tps, at, isolation, patience).await? {
        match found {
            Ok(Some(offset)) => drop(offsets.insert(tp, offset)),
            Ok(None) => {}
            Err(error) => drop(failed.insert(tp, error)),
        }
    }
    Ok(offsets)
}

/// Why a committed offset cannot be meant for this log.
fn disbelief(committed: &Committed, end: i64, log: LogId) -> Option<String> {
    if committed.offset > end {
        return Some(format!("lies beyond the log's end {end}"));
    }
    // On another cluster the topic has another id of course, and the offset was translated.
    let written_for = Finished::log_of(&committed.metadata, committed.offset).filter(|w| w.cluster == log.cluster)?;
    (written_for.topic != log.topic && !log.topic.is_zero())
        .then(|| format!("was committed for the topic's former id {}", written_for.topic))
}

fn log_of<L: Log>(log: &L, tp: &TopicPartition) -> LogId {
    LogId { cluster: log.cluster_tag(), topic: log.topic_id(&tp.topic) }
}

/// The finished records that the commit's metadata names, if its log still holds them. An error when that cannot be
/// found out now: without them they would be handled again.
async fn inherited<L: Log>(
    log: &L,
    tp: &TopicPartition,
    id: LogId,
    committed: &Committed,
    log_end: Option<i64>,
    patience: Duration,
) -> Result<Inherited> {
    let Some(finished) = Finished::decode(&committed.metadata, id, committed.offset) else {
        return Ok(Inherited::default());
    };
    let end = match finished.leader_epoch {
        // Not known to who read it: whether the log was cut off and grew again is not to be found out.
        ..0 => log_end,
        epoch => log.epoch_end(tp, epoch, patience).await?,
    };
    match end {
        Some(end) if end >= finished.end() => {
            Ok(Inherited { runs: finished.runs, leader_epoch: finished.leader_epoch })
        }
        _ => {
            tracing::debug!(target: "dispatcher::worker", %tp, "the log changed since the commit: metadata ignored");
            Ok(Inherited::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_believed_for_its_log_and_for_the_mirror_of_its_log() {
        let log = |cluster, id| LogId { cluster, topic: crate::wire::Uuid([id; 16]) };
        let committed = |log| {
            let metadata = Finished { log, base: 5, leader_epoch: -1, runs: Vec::new() }.encode();
            Committed { offset: 5, leader_epoch: -1, metadata }
        };
        assert_eq!(disbelief(&committed(log(1, 1)), 9, log(1, 1)), None);
        assert!(disbelief(&committed(log(1, 2)), 9, log(1, 1)).is_some_and(|why| why.contains("former")));
        assert_eq!(disbelief(&committed(log(2, 2)), 9, log(1, 1)), None, "mirrored");
        assert!(disbelief(&committed(log(1, 1)), 4, log(1, 1)).is_some_and(|why| why.contains("end")));
        let plain = Committed { metadata: "of another client".into(), ..committed(log(1, 1)) };
        assert_eq!(disbelief(&plain, 9, log(1, 1)), None);
    }
}
