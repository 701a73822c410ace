//! Taking away and ending: revocation drains and commits before the partition goes, a stop does so for everything and
//! leaves the group, a loss drops at once. Every wait here has a limit.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::consumer::{Driver, Owned, Reason};
use super::handle::Ended;
use super::seam::{Feed, Log, Membership};
use crate::client::fetch::FetchEvent;
use crate::client::types::TopicPartition;
use crate::group::{GroupEvent, RevokeDone};
use crate::{Error, ErrorKind, Result};

/// What a last commit and a leave may take beyond the time for handlers.
const FAREWELL: Duration = Duration::from_secs(15);
/// Kept of a revocation's time for the last commit.
const COMMIT_RESERVE: Duration = Duration::from_millis(500);

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Stops hand-out of these, waits for their running handlers, commits, lets go.
    pub(super) async fn revoke(&mut self, partitions: &[TopicPartition], deadline: Instant, done: RevokeDone) {
        tracing::debug!(target: "dispatcher::worker", ?partitions, "revoked");
        self.close(partitions);
        let reserve = COMMIT_RESERVE.min(deadline.saturating_duration_since(self.env.now()) / 2);
        let limit = (self.env.now() + self.config.drain_timeout).min(deadline - reserve);
        self.drain(partitions, limit).await;
        if let Some(error) = self.last_commit(partitions, deadline).await {
            self.warn(error);
        }
        self.forget(partitions);
        done.finish();
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

    /// Waits until no handler of these runs, until `limit` at most.
    async fn drain(&mut self, partitions: &[TopicPartition], limit: Instant) {
        let ids: Vec<_> = partitions
            .iter()
            .filter_map(|tp| match self.owned.get(tp) {
                Some(Owned::Running(running)) => Some(running.id),
                _ => None,
            })
            .collect();
        loop {
            let running = self.shared.with(|s| ids.iter().map(|id| u64::from(s.in_flight_of(*id))).sum::<u64>());
            if running == 0 || self.shared.lanes() == 0 {
                return;
            }
            tokio::select! { biased;
                () = self.shared.signal.notified() => {}
                sent = super::commit::answer(&mut self.committing) => self.committed(sent),
                () = self.env.sleep_until(limit) => {
                    let text = format!("{running} handlers still ran when their partitions were taken away");
                    let error = Error::new(ErrorKind::Timeout, format!("{text}: their records are handled again"));
                    self.warn(error);
                    return;
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
        self.drain_all(limit, stop_asked).await;
        let left = self.shared.with(|s| s.in_flight());
        let all: Vec<_> = self.owned.keys().cloned().collect();
        let uncommitted = self.last_commit(&all, self.env.now() + FAREWELL).await;
        self.leave().await;
        self.shared.close();
        self.pool = None;
        // What ended it says more than what went wrong then.
        if let (Some(error), true) = (&uncommitted, failed.is_some()) {
            self.warn(error.clone());
        }
        match failed.or(uncommitted) {
            Some(error) => Err(error),
            None => Ok(Ended { left }),
        }
    }

    /// Waits for all running handlers, while the group goes on.
    async fn drain_all(&mut self, limit: Instant, stop_asked: &mut watch::Receiver<bool>) {
        let (mut dropped, mut gone) = (false, false);
        while self.shared.with(|s| s.in_flight()) > 0 && self.shared.lanes() > 0 {
            tokio::select! { biased;
                () = self.shared.signal.notified() => {}
                changed = stop_asked.changed(), if !dropped => if changed.is_err() {
                    dropped = true;
                },
                event = self.events.recv(), if !gone => match event {
                    Some(GroupEvent::Revoke { partitions, deadline, done }) => {
                        self.revoke(&partitions, deadline.min(limit), done).await;
                    }
                    Some(GroupEvent::Lost { partitions }) => self.lose(&partitions),
                    // What is assigned now goes with the leave.
                    Some(GroupEvent::Assigned { .. }) => {}
                    Some(GroupEvent::Warning(error)) => self.warn(error),
                    Some(GroupEvent::Failed(_)) | None => gone = true,
                },
                sent = super::commit::answer(&mut self.committing) => self.committed(sent),
                () = self.env.sleep_until(limit) => return,
            }
        }
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
