//! Committing: builds what an OffsetCommit says from the trackers' progress, and learns from its answer. One commit
//! is under way at a time, so that none overtakes another; the last ones of a revocation and of a stop wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use super::consumer::{Driver, Owned};
use super::metadata::{Finished, LogId, MAX_RUNS};
use super::scheduler::{PartId, Scheduler};
use super::seam::{Feed, Log, Membership};
use super::tracker::Progress;
use crate::client::fetch::{FetchEvent, FetchedBatch};
use crate::client::types::TopicPartition;
use crate::group::{CommitOffset, GroupEvent};
use crate::wire::ErrorCode;
use crate::{Error, Result};

/// What was last committed for a partition, to see whether there is anything new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) offset: i64,
    /// `None`: unknown, and only of interest once it is to say more than which log it is.
    pub(super) metadata: Option<String>,
}

/// A commit that was sent: what it says, and its answer.
pub(super) type Sent = (Vec<(TopicPartition, PartId, Point)>, Result<Vec<(TopicPartition, ErrorCode)>>);

/// One under way.
pub(super) type Committing = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// Whether a refusal comes with any rebalance.
fn is_passing(code: ErrorCode) -> bool {
    [ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID].contains(&code)
}

/// Waits for the commit under way; for ever without one. Cancel-safe.
pub(super) async fn answer(committing: &mut Option<Committing>) -> Sent {
    match committing {
        Some(commit) => {
            let sent = commit.await;
            *committing = None;
            sent
        }
        None => std::future::pending().await,
    }
}

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// A timer fired. If it was the policy's: commit what is new, look for handlers that stand still.
    pub(super) fn tick(&mut self) {
        let now = self.env.now();
        if self.policy.due().is_none_or(|due| due > now) {
            return;
        }
        let active = self.shared.take_activity();
        if self.committing.is_none() {
            self.committing = self.commit_of(|_, _| true);
        }
        self.look_for_stalls();
        if self.watching {
            self.look_who_caught_up();
        }
        let busy = active || self.committing.is_some() || self.shared.with(|s| s.in_flight() > 0);
        if busy {
            self.shared.arm();
        }
        self.policy.looked(now, busy);
        if crate::telemetry::meter::ON {
            self.owned.keys().for_each(|tp| self.measure(tp));
        }
    }

    /// Commits positions that must be at once, beside the policy's timer.
    pub(super) fn pin(&mut self) {
        if self.committing.is_none() && !self.pinned.is_empty() {
            let pinned: BTreeSet<_> = self.pinned.drain(..).collect();
            self.committing = self.commit_of(|_, id| pinned.contains(&id));
        }
    }

    /// A commit of what is new in the partitions that `only` says; `None` when nothing is.
    pub(super) fn commit_of(&self, only: impl Fn(&TopicPartition, PartId) -> bool) -> Option<Committing> {
        let mut points = Vec::new();
        let mut offsets = Vec::new();
        for (tp, owned) in &self.owned {
            let Owned::Running(running) = owned else { continue };
            if !only(tp, running.id) {
                continue;
            }
            let Some(progress) = self.shared.with(|s| s.progress(running.id, MAX_RUNS)) else { continue };
            let log = running.log;
            let now = self.log.topic_id(&tp.topic);
            if now != log.topic && !now.is_zero() && !log.topic.is_zero() {
                // Made again meanwhile: these offsets mean nothing in the new log, and would skip its records.
                continue;
            }
            let has_runs = !progress.runs.is_empty();
            let log = if self.metadata_fits { log } else { LogId::default() };
            // Only the record that holds back the commits may be said to wait.
            let is_alone = |s: &Scheduler<FetchedBatch>| s.in_flight_of(running.id) == 0 && s.held(running.id) == 0;
            let waits = running.waits.filter(|_| !has_runs && self.shared.with(|s| is_alone(s)));
            let commit = Self::commit_offset(log, progress, waits);
            let point = Point { offset: commit.offset, metadata: Some(commit.metadata.clone()) };
            let news = match &running.committed {
                None => true,
                Some(last) if last.offset != point.offset => true,
                // That it waits no more is seen from the time.
                Some(_) if !has_runs && waits.is_none() => false,
                Some(last) => *last != point,
            };
            if news {
                points.push((tp.clone(), running.id, point));
                offsets.push((tp.clone(), commit));
            }
        }
        if offsets.is_empty() {
            return None;
        }
        let membership = self.membership.clone();
        Some(Box::pin(async move { (points, membership.commit(offsets).await) }))
    }

    fn commit_offset(log: LogId, progress: Progress, waits: Option<i64>) -> CommitOffset {
        let Progress { offset, leader_epoch, runs, runs_epoch } = progress;
        let finished = Finished { log, base: offset, leader_epoch: runs_epoch, runs };
        let metadata = waits.map_or_else(|| finished.encode(), |until| finished.encode_waiting(until));
        CommitOffset { offset, leader_epoch, metadata }
    }

    /// Notes what the group has now. What failed stays new and is committed again at the next look.
    pub(super) fn committed(&mut self, sent: Sent) {
        let fitted = self.metadata_fits;
        let refused = self.note(sent);
        if self.awaits_commit() {
            let again = fitted && !self.metadata_fits;
            return self.last_committed(refused.map(|(error, _)| error), again);
        }
        if let Some((error, passing)) = refused
            && !passing
        {
            self.warn(error);
        }
    }

    /// Notes what the group has now; returns what it refused, and whether that comes with any rebalance.
    pub(super) fn note(&mut self, (points, answer): Sent) -> Option<(Error, bool)> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Some((error, false)),
        };
        let codes: BTreeMap<_, _> = answer.into_iter().collect();
        let mut refused: Option<(Error, bool)> = None;
        for (tp, id, point) in points {
            match codes.get(&tp).copied() {
                Some(ErrorCode::NONE) => {
                    if let Some(Owned::Running(running)) = self.owned.get_mut(&tp)
                        && running.id == id
                    {
                        running.committed = Some(point);
                    }
                }
                Some(ErrorCode::OFFSET_METADATA_TOO_LARGE) if self.metadata_fits => {
                    tracing::warn!(target: "dispatcher::worker", %tp, "the brokers take no metadata of commits: what was \
                        finished out of order may come again after a stop; raise offset.metadata.max.bytes to 4096");
                    self.metadata_fits = false;
                    self.policy.touch(self.env.now());
                }
                // Passing: the group tells by itself, and the offsets are committed again after it.
                Some(code) => {
                    tracing::debug!(target: "dispatcher::worker", %tp, code = code.name(), "a commit was refused");
                    if refused.as_ref().is_none_or(|(_, passing)| *passing) {
                        let error = Error::from_code(code, format_args!("OffsetCommit of {tp}"));
                        refused = Some((error, is_passing(code)));
                    }
                }
                None => {}
            }
        }
        refused
    }
}
