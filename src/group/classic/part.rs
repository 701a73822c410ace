//! The ways out of a generation: revocation, loss, leaving, failure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::judge::{Verdict, judge};
use super::machine::{AfterRevoke, Heartbeat, LAST_COMMIT, LEAVE_LIMIT, LeaveWait, Machine, Revocation, State};
use super::{Action, Failure, Token};
use crate::client::types::TopicPartition;
use crate::error::Error;

impl Machine {
    /// Joins anew in good order: under eager assignors everything goes before it, under cooperative ones nothing.
    pub(super) fn rebalance(&mut self, now: Instant) {
        let going = if self.config.is_cooperative() { BTreeSet::new() } else { self.owned.clone() };
        self.revoke(going, AfterRevoke::Rejoin, now);
    }

    /// Gives `partitions` up in good order, before `then`.
    pub(super) fn revoke(&mut self, partitions: BTreeSet<TopicPartition>, then: AfterRevoke, now: Instant) {
        if partitions.is_empty() {
            return self.after_revoke(then, now);
        }
        let limit = match then {
            AfterRevoke::Rejoin => self.config.drain_timeout,
            AfterRevoke::Leave => self.config.stop_timeout,
        };
        let deadline = now + limit;
        let token = self.token();
        let listed = partitions.iter().cloned().collect();
        self.act(Action::Revoke { token, partitions: listed, deadline });
        let revocation = Revocation { token, partitions, until: deadline + LAST_COMMIT, then };
        if self.is_on_the_way() {
            self.parting = Some(revocation);
        } else {
            self.state = State::Revoking(revocation);
        }
    }

    /// Whether JoinGroup or SyncGroup is under way, or due to be sent.
    fn is_on_the_way(&self) -> bool {
        matches!(self.state, State::Joining { .. } | State::Syncing(_))
    }

    pub(super) fn on_revoked(&mut self, token: Token, now: Instant) {
        let revocation = match &self.state {
            State::Revoking(revocation) => Some(revocation),
            _ => self.parting.as_ref(),
        };
        if let Some(Revocation { partitions, then, .. }) = revocation.filter(|revocation| revocation.token == token) {
            let then = *then;
            self.owned.retain(|tp| !partitions.contains(tp));
            self.after_revoke(then, now);
        }
    }

    pub(super) fn after_revoke(&mut self, then: AfterRevoke, now: Instant) {
        match then {
            AfterRevoke::Rejoin => {
                if !self.config.is_cooperative() {
                    self.leave_generation();
                }
                self.state = State::Unjoined { not_before: now };
            }
            AfterRevoke::Leave if self.owned.is_empty() => self.part(now),
            // The stop came while a part was being revoked.
            AfterRevoke::Leave => self.revoke(self.owned.clone(), then, now),
        }
    }

    /// What is owned may be another's already.
    pub(super) fn lose_owned(&mut self) {
        self.lose(self.owned.clone());
    }

    pub(super) fn lose(&mut self, partitions: BTreeSet<TopicPartition>) {
        if !partitions.is_empty() {
            self.owned.retain(|tp| !partitions.contains(tp));
            self.act(Action::Lost { partitions: partitions.into_iter().collect() });
        }
    }

    /// The generation is over without a revocation. Joins anew after a pause, unless the member was about to leave.
    pub(super) fn lose_membership(&mut self, now: Instant, keep_member_id: bool) {
        self.lose_owned();
        self.leave_generation();
        if !keep_member_id {
            self.member_id = "".into();
        }
        match self.state {
            State::Revoking(Revocation { then: AfterRevoke::Leave, .. }) => self.begin_leaving(now),
            State::Leaving { .. } => {}
            _ if self.parting.is_some() => self.begin_leaving(now),
            _ => {
                let not_before = now + self.pause();
                self.state = State::Unjoined { not_before };
            }
        }
    }

    fn leave_generation(&mut self) {
        self.generation = None;
        self.session_from = None;
        self.settled_at = None;
        self.heartbeat = Heartbeat::default();
    }

    pub(super) fn stop(&mut self, now: Instant) {
        match &mut self.state {
            State::Revoking(revocation) => revocation.then = AfterRevoke::Leave,
            State::Leaving { .. } => {}
            _ if self.parting.is_some() => {}
            _ => self.revoke(self.owned.clone(), AfterRevoke::Leave, now),
        }
    }

    pub(super) fn abandon(&mut self, now: Instant) {
        self.lose_owned();
        if self.member_id.is_empty() {
            // A JoinGroup without one would take the place of a successor that has joined meanwhile.
            self.begin_leaving(now);
        } else {
            self.part(now);
        }
    }

    /// Nothing is owned any more. A static member, whose place stays, goes on into the generation that it has asked
    /// for; the coordinator lets nobody wait for one that leaves. Who led before will lead again, once the others have
    /// drained what they own.
    fn part(&mut self, now: Instant) {
        if self.config.instance_id.is_none() || !self.is_on_the_way() {
            return self.begin_leaving(now);
        }
        if !self.parting.as_ref().is_some_and(Revocation::is_over) {
            let (token, partitions) = (self.token(), BTreeSet::new());
            let others = self.config.drain_timeout + self.config.heartbeat_interval;
            let patience = if self.lead.is_some() { others.min(self.config.stop_timeout) } else { Duration::ZERO };
            let until = now + patience + LEAVE_LIMIT;
            self.parting = Some(Revocation { token, partitions, until, then: AfterRevoke::Leave });
        }
    }

    /// The way into a generation has come to its end, whichever: what is left of `parting` is a revocation as any other.
    pub(super) fn go_on_parting(&mut self, parting: Revocation, now: Instant) {
        if parting.is_over() {
            self.begin_leaving(now);
        } else {
            self.state = State::Revoking(parting);
        }
    }

    /// Nothing is owned any more. Static members stay in the group (as Java's do): they are expected back.
    pub(super) fn begin_leaving(&mut self, now: Instant) {
        self.parting = None;
        let wait = match self.state {
            State::Leaving { .. } => return,
            State::Joining { token } if self.member_id.is_empty() => LeaveWait::MemberId(token),
            _ if self.member_id.is_empty() => return self.end(),
            _ => LeaveWait::Turn(now),
        };
        self.leave_generation();
        self.follow();
        if self.config.instance_id.is_some() {
            return self.end();
        }
        self.state = State::Leaving { until: now + LEAVE_LIMIT, wait };
    }

    pub(super) fn send_leave(&mut self) {
        if self.member_id.is_empty() {
            return self.end();
        }
        let token = self.token();
        if let State::Leaving { wait, .. } = &mut self.state {
            *wait = LeaveWait::Answer(token);
        }
        self.act(Action::Leave { token, member_id: self.member_id.clone(), reason: "the member was stopped" });
    }

    pub(super) fn on_left(&mut self, token: Token, result: Result<(), Failure>, now: Instant) {
        let pause = now + self.pause();
        let State::Leaving { wait, .. } = &mut self.state else { return };
        if *wait != LeaveWait::Answer(token) {
            return;
        }
        match result.map_err(|failure| judge("LeaveGroup", &failure, &self.config)) {
            Err(Verdict::FindCoordinator) => self.lose_coordinator(now),
            Err(Verdict::Again | Verdict::Rebalance) => *wait = LeaveWait::Turn(pause),
            // Gone, whether by this request or before it.
            Ok(()) | Err(_) => self.end(),
        }
    }

    pub(super) fn end(&mut self) {
        self.state = State::Left;
        self.act(Action::Ended);
    }

    pub(super) fn fail(&mut self, error: Error) {
        if self.parting.as_ref().is_some_and(Revocation::is_over) {
            // It had gone already.
            return self.end();
        }
        self.lose_owned();
        self.leave_generation();
        self.state = State::Failed;
        self.act(Action::Failed(error));
        self.act(Action::Ended);
    }
}
