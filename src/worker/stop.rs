//! Ending: a stop drains and commits everything and leaves the group, a loss drops at once. Revocations go on meanwhile.
//! Every wait here has a limit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::consumer::{Driver, Owned, Reason};
use super::events::{SubscriptionEvent, named};
use super::handle::Ended;
use super::revoke::{Again, uncommitted};
use super::seam::{Feed, Log, Membership};
use crate::client::fetch::FetchEvent;
use crate::client::types::TopicPartition;
use crate::group::GroupEvent;
use crate::{Error, ErrorKind, Result};

/// What a last commit and a leave may take beyond the time for handlers.
const FAREWELL: Duration = Duration::from_secs(15);

impl<M, L, F, G> Driver<M, L, F, G>
where
    M: Membership,
    L: Log,
    F: Feed<FetchEvent>,
    G: Feed<GroupEvent>,
{
    /// Another member may have these already.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            tracing::warn!(target: "dispatcher::worker", ?partitions, "lost: what was handled since the last commit comes again");
        }
        // One that had not started is known to its revocation only.
        let revoked = |tp: &TopicPartition| self.revoking.iter().any(|r| r.partitions.contains_key(tp));
        let ours: Vec<_> = partitions.iter().filter(|tp| self.owned.contains_key(*tp) || revoked(tp)).collect();
        if !ours.is_empty() {
            self.shared.events.push(SubscriptionEvent::Lost { partitions: named(ours) });
        }
        let lost: BTreeSet<_> = partitions.iter().collect();
        for revocation in &mut self.revoking {
            revocation.partitions.retain(|tp, _| !lost.contains(tp));
        }
        self.forget(partitions);
    }

    /// Hands out and fetches nothing more of these; their handlers are told, and waited for until `limit`.
    pub(super) fn close(&mut self, partitions: &[TopicPartition], limit: Instant) {
        for tp in partitions {
            if let Some(Owned::Running(running)) = self.owned.get_mut(tp) {
                running.guard = None;
                self.shared.with(|s| s.close(running.id));
                running.assignment.end(limit);
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

    /// Ends the consumer for `reason`; within `stop_timeout` and a little for the last commit and the leave.
    pub(super) async fn finish(mut self, reason: Reason) -> Result<Ended> {
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
        self.shared.with(|s| s.take_abandoned());
        let all: Vec<_> = self.owned.keys().cloned().collect();
        let limit = self.env.now() + self.config.stop_timeout;
        self.close(&all, limit);
        let unstarted: Vec<_> = all.into_iter().filter(|tp| !self.owned.contains_key(tp)).collect();
        // What came before was told among the errors.
        self.again = Again::default();
        let mut gone = false;
        self.drain(limit, &mut gone).await;
        // Handlers of partitions that were taken away meanwhile are counted already, whether they have ended or not.
        let ours = |owned: &Owned| match owned {
            Owned::Running(running) => u64::from(self.shared.with(|s| s.in_flight_of(running.id))),
            Owned::Starting(_) => 0,
        };
        let left = self.again.left + self.owned.values().map(ours).sum::<u64>();
        let left = left.max(self.shared.with(|s| s.in_flight()));
        // Those that were not tried again for there was no time are to be handled again too.
        let left = left + self.shared.with(|s| s.take_abandoned());
        let last = self.last_commit(&mut gone).await.map(uncommitted);
        self.settle_all();
        let partitions = named(self.owned.keys().chain(&unstarted));
        if !partitions.is_empty() {
            self.shared.events.push(SubscriptionEvent::Revoked { partitions });
        }
        let uncommitted = self.again.uncommitted.take().or(last);
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

    /// Waits for all running handlers until `limit`, while the group goes on. `gone`: the membership has ended.
    async fn drain(&mut self, limit: Instant, gone: &mut bool) {
        loop {
            for revocation in &mut self.revoking {
                revocation.limit = revocation.limit.min(limit);
            }
            self.advance();
            let running = self.shared.with(|s| s.in_flight()) > 0 && self.shared.lanes() > 0;
            if !running || self.env.now() >= limit {
                return;
            }
            self.attend(limit, gone).await;
        }
    }

    /// Commits what is new, behind the commits of revocations under way. Returns why that may not have happened.
    async fn last_commit(&mut self, gone: &mut bool) -> Option<Error> {
        let limit = self.env.now() + FAREWELL;
        let late = || Error::new(ErrorKind::Timeout, "OffsetCommit was not answered in time");
        for revocation in &mut self.revoking {
            revocation.limit = revocation.limit.min(self.env.now());
        }
        loop {
            self.advance();
            if self.revoking.is_empty() && self.committing.is_none() {
                break;
            }
            if self.env.now() >= limit {
                return self.commit_of(|_, _| true).map(|_| late());
            }
            self.attend(limit, gone).await;
        }
        self.committing = self.commit_of(|_, _| true);
        while self.committing.is_some() {
            let fitted = self.metadata_fits;
            tokio::select! { biased;
                sent = super::commit::answer(&mut self.committing) => match self.note(sent) {
                    None if fitted && !self.metadata_fits => self.committing = self.commit_of(|_, _| true),
                    refused => return refused.map(|(error, _)| error),
                },
                event = self.events.recv(), if !*gone => self.farewell_event(event, gone),
                () = self.env.sleep_until(limit) => return Some(late()),
            }
        }
        None
    }

    /// Attends to what happens while the consumer ends, until something has or `limit` is there.
    async fn attend(&mut self, limit: Instant, gone: &mut bool) {
        let due = self.revocation_due().map_or(limit, |due| due.min(limit));
        tokio::select! { biased;
            () = self.shared.signal.notified() => {}
            event = self.events.recv(), if !*gone => self.farewell_event(event, gone),
            sent = super::commit::answer(&mut self.committing) => self.committed(sent),
            () = self.env.sleep_until(due) => {}
        }
    }

    fn farewell_event(&mut self, event: Option<GroupEvent>, gone: &mut bool) {
        match event {
            Some(GroupEvent::Revoke { partitions, deadline, done }) => self.revoke(&partitions, deadline, done),
            Some(GroupEvent::Lost { partitions }) => {
                if partitions.iter().any(|tp| self.owned.contains_key(tp)) {
                    let text = "partitions were lost while the subscription stopped: what was handled since \
                                the last commit may come again";
                    self.again.uncommitted.get_or_insert_with(|| Error::new(ErrorKind::Group, text));
                }
                self.lose(&partitions);
            }
            // What is assigned now goes with the leave.
            Some(GroupEvent::Assigned { .. }) => {}
            Some(GroupEvent::Warning(error)) => self.warn(error),
            Some(GroupEvent::Failed(_)) | None => *gone = true,
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
