//! Partitions that are taken away while the others go on. Each revocation is a state that the driver's loop moves on:
//! its handlers drain, what they finished is committed, then the partitions are let go and the group is answered. Each
//! step has a limit, and none of them holds up anything else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::consumer::{Driver, Owned};
use super::events::{SubscriptionEvent, named};
use super::scheduler::PartId;
use super::seam::{Feed, Log, Membership};
use crate::client::fetch::FetchEvent;
use crate::client::types::TopicPartition;
use crate::group::{GroupEvent, RevokeDone};
use crate::{Error, ErrorKind};

/// Kept of a revocation's time for the last commit.
const COMMIT_RESERVE: Duration = Duration::from_millis(500);

/// A revocation that is not answered yet.
#[derive(Debug)]
pub(super) struct Revocation {
    /// What it is about, as it was assigned then; `None`: had not started.
    pub(super) partitions: BTreeMap<TopicPartition, Option<PartId>>,
    /// When handlers are waited for no longer.
    pub(super) limit: Instant,
    /// When it is answered, whatever became of the commit.
    deadline: Instant,
    done: RevokeDone,
    step: Step,
    /// Handlers that still ran when the last commit was made.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Draining,
    /// Handlers have ended or were waited for long enough; the commit under way comes first.
    Drained,
    /// The commit under way is the last one of these partitions.
    Committing,
}

/// What was handed out and will be again.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Records whose handlers had not ended when their partitions went.
    pub(super) left: u64,
    /// Why finished ones may not be committed.
    pub(super) uncommitted: Option<Error>,
}

impl Revocation {
    fn has(&self, tp: &TopicPartition, id: PartId) -> bool {
        self.partitions.get(tp) == Some(&Some(id))
    }
}

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Stops hand-out of these; [`advance`](Self::advance) does the rest.
    pub(super) fn revoke(&mut self, partitions: &[TopicPartition], deadline: Instant, done: RevokeDone) {
        tracing::debug!(target: "dispatcher::worker", ?partitions, "revoked");
        let as_owned = |tp: &TopicPartition| match self.owned.get(tp)? {
            Owned::Starting(_) => Some((tp.clone(), None)),
            Owned::Running(running) => Some((tp.clone(), Some(running.id))),
        };
        let owned = partitions.iter().filter_map(as_owned).collect();
        let now = self.env.now();
        let reserve = COMMIT_RESERVE.min(deadline.saturating_duration_since(now) / 2);
        let limit = (now + self.config.drain_timeout).min(deadline - reserve);
        self.close(partitions, limit);
        self.revoking.push(Revocation { partitions: owned, limit, deadline, done, step: Step::Draining, left: 0 });
    }

    /// Moves revocations on as far as they go now.
    pub(super) fn advance(&mut self) {
        if self.revoking.is_empty() {
            return;
        }
        let now = self.env.now();
        let mut under_way = std::mem::take(&mut self.revoking);
        for revocation in under_way.iter_mut().filter(|r| r.step == Step::Draining) {
            let running = self.running_of(revocation);
            let waited = running == 0 || self.shared.lanes() == 0 || mutant!(DrainWithoutWaiting);
            if !waited && now < revocation.limit {
                continue;
            }
            if !waited {
                let tended = self.tended_of(revocation);
                let what = match running - tended {
                    0 => format!("receipts or error records of {tended} records were not acknowledged"),
                    handlers => format!("{handlers} handlers still ran"),
                };
                let text = format!("{what} when their partitions were taken away: their records are handled again");
                self.warn(Error::new(ErrorKind::Timeout, text));
            }
            revocation.step = Step::Drained;
        }
        if self.committing.is_none() {
            let drained = |tp: &TopicPartition, id| under_way.iter().any(|r| r.step == Step::Drained && r.has(tp, id));
            self.committing = self.commit_of(drained);
            for revocation in under_way.iter_mut().filter(|r| r.step == Step::Drained) {
                revocation.left = self.running_of(revocation);
                if self.committing.is_some() {
                    revocation.step = Step::Committing;
                }
            }
        }
        let idle = self.committing.is_none();
        for revocation in under_way {
            match revocation.step {
                Step::Drained if idle => self.settle(revocation, None),
                Step::Drained | Step::Committing if now >= revocation.deadline => {
                    let news = self.commit_of(|tp, id| revocation.has(tp, id)).is_some();
                    let late = || Error::new(ErrorKind::Timeout, "OffsetCommit was not answered in time");
                    self.settle(revocation, news.then(late));
                }
                _ => self.revoking.push(revocation),
            }
        }
    }

    /// When to [`advance`](Self::advance) though nothing happens.
    pub(super) fn revocation_due(&self) -> Option<Instant> {
        let due = |r: &Revocation| if r.step == Step::Draining { r.limit } else { r.deadline };
        self.revoking.iter().map(due).min()
    }

    /// Whether the commit under way is the last one of revocations.
    pub(super) fn awaits_commit(&self) -> bool {
        self.revoking.iter().any(|r| r.step == Step::Committing)
    }

    /// The last commit of revocations was answered. `again`: it is to be made anew.
    pub(super) fn last_committed(&mut self, refused: Option<Error>, again: bool) {
        for mut revocation in std::mem::take(&mut self.revoking) {
            match revocation.step {
                Step::Committing if again => {
                    revocation.step = Step::Drained;
                    self.revoking.push(revocation);
                }
                Step::Committing => self.settle(revocation, refused.clone()),
                Step::Draining | Step::Drained => self.revoking.push(revocation),
            }
        }
    }

    fn running_of(&self, revocation: &Revocation) -> u64 {
        let ids = revocation.partitions.values().filter_map(|id| *id);
        self.shared.with(|s| ids.map(|id| u64::from(s.in_flight_of(id))).sum())
    }

    /// Those of them whose handlers have ended.
    fn tended_of(&self, revocation: &Revocation) -> u64 {
        let ids = revocation.partitions.values().filter_map(|id| *id);
        self.shared.with(|s| ids.map(|id| u64::from(s.tended_of(id))).sum())
    }

    /// Lets the partitions go and answers. What has been assigned anew meanwhile stays.
    fn settle(&mut self, revocation: Revocation, failed: Option<Error>) {
        // Of what was lost meanwhile it has been told.
        let uncommitted = failed.filter(|_| !revocation.partitions.is_empty()).map(uncommitted);
        if let Some(error) = &uncommitted {
            self.warn(error.clone());
        }
        for (tp, id) in &revocation.partitions {
            if matches!(self.owned.get(tp), Some(Owned::Running(running)) if Some(running.id) == *id)
                && let Some(Owned::Running(running)) = self.owned.remove(tp)
            {
                self.discard(running);
            }
        }
        if !revocation.partitions.is_empty() {
            let partitions = named(revocation.partitions.keys());
            self.shared.events.push(SubscriptionEvent::Revoked { partitions });
        }
        self.again.left += revocation.left;
        self.again.uncommitted = self.again.uncommitted.take().or(uncommitted);
        revocation.done.finish();
    }

    /// Answers every revocation at once, with what has been reached.
    pub(super) fn settle_all(&mut self) {
        for revocation in std::mem::take(&mut self.revoking) {
            self.settle(revocation, None);
        }
    }
}

/// What becomes of a last commit that failed.
pub(super) fn uncommitted(failed: Error) -> Error {
    let kind = failed.kind();
    failed.wrap(kind, "the last commit failed: what was handled since the one before may come again")
}
