//! Taking away and ending: revocation drains and commits before the partition goes, a stop does so for everything and
//! leaves the group, a loss drops at once. Every wait here has a limit.

use std::time::{Duration, Instant};

use super::consumer::{Driver, Owned, Reason};
use super::handle::Ended;
use super::seam::{Feed, Log, Membership};
use crate::client::fetch::FetchEvent;
use crate::client::types::TopicPartition;
use crate::env::watch;
use crate::group::{GroupEvent, RevokeDone};
use crate::{Error, ErrorKind, Result};

/// What a last commit and a leave may take beyond the time for handlers.
const FAREWELL: Duration = Duration::from_secs(15);
/// Kept of a revocation's time for the last commit.
const COMMIT_RESERVE: Duration = Duration::from_millis(500);

/// What was handed out and will be again.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Records whose handlers had not ended when their partitions went.
    left: u64,
    /// Why finished ones may not be committed.
    uncommitted: Option<Error>,
}

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Stops hand-out of these, waits for their running handlers, commits, lets go. Says what comes again for it.
    pub(super) async fn revoke(&mut self, partitions: &[TopicPartition], deadline: Instant, done: RevokeDone) -> Again {
        tracing::debug!(target: "dispatcher::worker", ?partitions, "revoked");
        self.close(partitions);
        let reserve = COMMIT_RESERVE.min(deadline.saturating_duration_since(self.env.now()) / 2);
        let limit = (self.env.now() + self.config.drain_timeout).min(deadline - reserve);
        let left = self.drain(partitions, limit).await;
        let uncommitted = self.last_commit(partitions, deadline).await;
        if let Some(error) = &uncommitted {
            self.warn(error.clone());
        }
        self.forget(partitions);
        done.finish();
        Again { left, uncommitted }
    }

    /// Another member may have these already.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            tracing::warn!(target: "dispatcher::worker", ?partitions, "lost: what was handled since the last commit comes again");
        }
        self.forget(partitions);
    }

    /// Hands out and fetches nothing more of these; their handlers are told.
    fn close(&mut self, partitions: &[TopicPartition]) {
        for tp in partitions {
            if let Some(Owned::Running(running)) = self.owned.get_mut(tp) {
                running.guard = None;
                self.shared.with(|s| s.close(running.id));
                running.assignment.cancel.raise();
            } else {
                self.owned.remove(tp);
            }
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for tp in partitions {
            if let Some(Owned::Running(running)) = self.owned.remove(tp) {
                self.discard(running);
            }
        }
    }

    /// Waits until no handler of these runs, until `limit` at most. Returns how many still do.
    async fn drain(&mut self, partitions: &[TopicPartition], limit: Instant) -> u64 {
        let ids: Vec<_> = partitions
            .iter()
            .filter_map(|tp| match self.owned.get(tp) {
                Some(Owned::Running(running)) => Some(running.id),
                _ => None,
            })
            .collect();
        loop {
            let running = self.shared.with(|s| ids.iter().map(|id| u64::from(s.in_flight_of(*id))).sum::<u64>());
            if running == 0 || self.shared.lanes() == 0 || mutant!(DrainWithoutWaiting) {
                return running;
            }
            tokio::select! { biased;
                () = self.shared.signal.notified() => {}
                sent = super::commit::answer(&mut self.committing) => self.committed(sent),
                () = self.env.sleep_until(limit) => {
                    let text = format!("{running} handlers still ran when their partitions were taken away");
                    let error = Error::new(ErrorKind::Timeout, format!("{text}: their records are handled again"));
                    self.warn(error);
                    return running;
                }
            }
        }
    }

    /// Commits what is new in these, after the commit under way. Returns why that may not have happened.
    async fn last_commit(&mut self, partitions: &[TopicPartition], limit: Instant) -> Option<Error> {
        let env = self.env.clone();
        let commits = async {
            if self.committing.is_some() {
                let sent = super::commit::answer(&mut self.committing).await;
                self.committed(sent);
            }
            match self.commit_of(Some(partitions)) {
                Some(commit) => {
                    let sent = commit.await;
                    self.note(sent).map(|(error, _)| error)
                }
                None => None,
            }
        };
        tokio::pin!(commits);
        let failed = tokio::select! { biased;
            failed = &mut commits => failed?,
            () = env.sleep_until(limit) => Error::new(ErrorKind::Timeout, "OffsetCommit was not answered in time"),
        };
        let text = "the last commit failed: what was handled since the one before may come again";
        let kind = failed.kind();
        Some(failed.wrap(kind, text))
    }

    /// Ends the consumer for `reason`; within `stop_timeout` and a little for the last commit and the leave.
    pub(super) async fn finish(mut self, reason: Reason, stop_asked: &mut watch::Receiver<bool>) -> Result<Ended> {
        let failed = match reason {
            Reason::Dropped => {
                self.shared.close();
                // Handlers are dropped with their lanes, and the last handle of the membership leaves the group.
                self.pool = None;
                return Ok(Ended::default());
            }
            Reason::Done => None,
            Reason::HandlerFailed => Some(self.shared.first_failure()),
            Reason::Failed(error) => Some(error),
        };
        self.shared.halt();
        let all: Vec<_> = self.owned.keys().cloned().collect();
        self.close(&all);
        let limit = self.env.now() + self.config.stop_timeout;
        let mut again = self.drain_all(limit, stop_asked).await;
        // Handlers of partitions that were taken away meanwhile are counted already, whether they have ended or not.
        let ours = |owned: &Owned| match owned {
            Owned::Running(running) => u64::from(self.shared.with(|s| s.in_flight_of(running.id))),
            Owned::Starting(_) => 0,
        };
        again.left += self.owned.values().map(ours).sum::<u64>();
        again.left = again.left.max(self.shared.with(|s| s.in_flight()));
        let all: Vec<_> = self.owned.keys().cloned().collect();
        let uncommitted = again.uncommitted.or(self.last_commit(&all, self.env.now() + FAREWELL).await);
        self.leave().await;
        self.shared.close();
        self.pool = None;
        // What ended it says more than what went wrong then.
        if let (Some(error), true) = (&uncommitted, failed.is_some()) {
            self.warn(error.clone());
        }
        match failed.or(uncommitted) {
            Some(error) => Err(error),
            None => Ok(Ended { left: again.left }),
        }
    }

    /// Waits for all running handlers, while the group goes on. Says what comes again of partitions that go meanwhile.
    async fn drain_all(&mut self, limit: Instant, stop_asked: &mut watch::Receiver<bool>) -> Again {
        let (mut dropped, mut gone, mut again) = (false, false, Again::default());
        while self.shared.with(|s| s.in_flight()) > 0 && self.shared.lanes() > 0 {
            tokio::select! { biased;
                () = self.shared.signal.notified() => {}
                changed = stop_asked.changed(), if !dropped => if changed.is_err() {
                    dropped = true;
                },
                event = self.events.recv(), if !gone => match event {
                    Some(GroupEvent::Revoke { partitions, deadline, done }) => {
                        let more = self.revoke(&partitions, deadline.min(limit), done).await;
                        again.left += more.left;
                        again.uncommitted = again.uncommitted.or(more.uncommitted);
                    }
                    Some(GroupEvent::Lost { partitions }) => {
                        if partitions.iter().any(|tp| self.owned.contains_key(tp)) {
                            let text = "partitions were lost while the subscription stopped: what was handled since \
                                        the last commit may come again";
                            again.uncommitted.get_or_insert_with(|| Error::new(ErrorKind::Group, text));
                        }
                        self.lose(&partitions);
                    }
                    // What is assigned now goes with the leave.
                    Some(GroupEvent::Assigned { .. }) => {}
                    Some(GroupEvent::Warning(error)) => self.warn(error),
                    Some(GroupEvent::Failed(_)) | None => gone = true,
                },
                sent = super::commit::answer(&mut self.committing) => self.committed(sent),
                () = self.env.sleep_until(limit) => return again,
            }
        }
        again
    }

    /// Leaves the group, answering its last revocation.
    async fn leave(&mut self) {
        let (membership, env) = (self.membership.clone(), self.env.clone());
        let limit = env.now() + self.config.stop_timeout + FAREWELL;
        let leave = async move { membership.leave().await };
        tokio::pin!(leave);
        loop {
            tokio::select! { biased;
                () = &mut leave => return,
                Some(event) = self.events.recv() => match event {
                    GroupEvent::Revoke { partitions, done, .. } => {
                        // Drained and committed as far as it goes.
                        self.forget(&partitions);
                        done.finish();
                    }
                    GroupEvent::Lost { partitions } => self.forget(&partitions),
                    GroupEvent::Warning(error) => self.warn(error),
                    GroupEvent::Assigned { .. } | GroupEvent::Failed(_) => {}
                },
                () = env.sleep_until(limit) => return,
            }
        }
    }
}
