//! Keeping the session: where the coordinator is, heartbeats, and what failures of requests in a generation do.

use std::time::Instant;

use super::judge::{Verdict, judge};
use super::machine::{Coordinator, Heartbeat, LeaveWait, Machine, State};
use super::{Action, Failure, Token};
use crate::error::{Error, ErrorKind};
use crate::wire::ErrorCode;

/// A search already retries for a while by itself: the first failed one is worth a warning, then every tenth.
const WARN_EVERY: u32 = 10;

impl Machine {
    pub(super) fn on_coordinator(&mut self, token: Token, result: Result<(), Error>, now: Instant) {
        if !matches!(self.coordinator, Coordinator::Finding(asked) if asked == token) {
            return;
        }
        let Err(error) = result else {
            self.coordinator = Coordinator::Known(token);
            self.failed_searches = 0;
            // Whatever the search took, the session needs a heartbeat at once.
            if self.in_generation() {
                self.heartbeat = Heartbeat { in_flight: None, next: Some(now) };
            }
            return;
        };
        if let Some(code) = error.code()
            && let Verdict::Fatal(error) = judge("FindCoordinator", &Failure::Code(code), &self.config)
        {
            return self.fail(error);
        }
        if let Verdict::Fatal(error) = judge("FindCoordinator", &Failure::Call(error.clone()), &self.config) {
            return self.fail(error);
        }
        self.lose_coordinator(now);
        self.failed_searches = self.failed_searches.wrapping_add(1);
        if self.failed_searches % WARN_EVERY == 1 {
            let group = &self.config.group_id;
            let text = format!("the coordinator of group {group} cannot be reached: still trying");
            self.act(Action::Warning(error.wrap(ErrorKind::Connection, text)));
        }
    }

    pub(super) fn on_heartbeat(&mut self, token: Token, result: Result<(), Failure>, now: Instant) {
        let Some((_, sent)) = self.heartbeat.in_flight.take_if(|(asked, _)| *asked == token) else { return };
        match result {
            Ok(()) => {
                self.session_lives(sent);
                if matches!(self.state, State::Stable | State::Revoking(_)) {
                    self.settled_at = self.settled_at.max(Some(sent));
                }
            }
            Err(failure) => {
                // An announced rebalance is an answer too: it renews the session.
                if matches!(failure, Failure::Code(ErrorCode::REBALANCE_IN_PROGRESS)) {
                    self.session_lives(sent);
                }
                self.on_member_failure("Heartbeat", &failure, now);
            }
        }
    }

    /// A heartbeat or a commit failed.
    pub(super) fn on_member_failure(&mut self, api: &str, failure: &Failure, now: Instant) {
        match judge(api, failure, &self.config) {
            Verdict::Again => self.heartbeat.next = Some(now + self.backoff.next(&mut self.rng)),
            Verdict::FindCoordinator => self.lose_coordinator(now),
            // While joining or syncing, the answer that is waited for will say so; while revoking, that is what is
            // being done.
            Verdict::Rebalance => {
                if matches!(self.state, State::Stable) {
                    self.reason = "the group rebalances";
                    self.rebalance(now);
                }
            }
            // The answer to JoinGroup is on its way, or is lost and the next one comes before the session ends.
            Verdict::NewGeneration if matches!(self.state, State::Unjoined { .. } | State::Joining { .. }) => {}
            Verdict::NewGeneration => {
                self.reason = "the generation was over";
                self.lose_membership(now, true);
            }
            Verdict::NewMember => {
                self.reason = "the coordinator did not know the member";
                self.lose_membership(now, false);
            }
            Verdict::Fatal(error) => self.fail(error),
        }
    }

    /// The coordinator answered a request of this generation sent at `sent`.
    pub(super) fn session_lives(&mut self, sent: Instant) {
        self.session_from = self.session_from.max(Some(sent));
        self.coordinator_backoff.reset();
    }

    /// Looks for the coordinator again, after a pause that grows until it has answered something.
    pub(super) fn lose_coordinator(&mut self, now: Instant) {
        let pause = self.coordinator_backoff.next(&mut self.rng);
        self.coordinator = Coordinator::Unknown { retry_at: Some(now + pause) };
        self.heartbeat.in_flight = None;
        if let State::Leaving { wait: wait @ LeaveWait::Answer(_), .. } = &mut self.state {
            *wait = LeaveWait::Turn(now);
        }
    }

    /// When the coordinator may count this member as gone, so that it must not act as an owner any more.
    pub(super) fn membership_end(&self) -> Option<Instant> {
        let session = self.session_from.map(|from| from + self.config.session_timeout);
        let settled = self.settled_at.filter(|_| !self.owned.is_empty());
        let rebalance = settled.map(|at| at + self.config.rebalance_timeout);
        [session, rebalance].into_iter().flatten().min().filter(|_| self.in_generation())
    }
}
